"""The feature pyramid network of the detectors (Lin et al. 2017, arXiv 1612.03144)."""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.types import FeaturePyramid


def conv_for_relu(in_channels: int, out_channels: int, kernel: int, *, bias: bool) -> nn.Conv2d:
    """A same-size convolution, Kaiming normal by fan-out, its bias zero."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


class FeaturePyramidNetwork(nn.Module):
    """Equal channels on all levels, coarse added into fine, and coarser levels on top.

    - first_level: the finest level that is used; the convolutions of a level have its number, so
      that networks which begin elsewhere agree on the levels that both have
    - extra_convs: 0 gives one coarser level by subsampling the last; n give n coarser levels, each
      by a convolution of stride 2, the first of them on the coarsest input (RetinaNet)

    Gives levels of ``channels`` channels; no norm, no activation.

    Each convolution starts by keeping the variance of its input, since no activation follows. As
    the reference starts them (``start_as_reference``) the levels come out six times as large, and
    at high learning rates the heads that read them lose most of their units.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: int,
        *,
        first_level: int = 0,
        extra_convs: int = 0,
    ) -> None:
        super().__init__()
        levels = range(first_level, len(in_channels))
        self.lateral_convs = nn.ModuleDict(
            {str(i): conv_for_relu(in_channels[i], channels, 1, bias=True) for i in levels}
        )
        self.fpn_convs = nn.ModuleDict(
            {str(i): conv_for_relu(channels, channels, 3, bias=True) for i in levels}
        )
        for extra in range(extra_convs):
            width = channels if extra else in_channels[-1]
            conv = nn.Conv2d(width, channels, 3, stride=2, padding=1)
            nn.init.zeros_(cast(Tensor, conv.bias))
            self.fpn_convs[str(len(in_channels) + extra)] = conv
        for conv in self._convs():
            nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="linear")

    def start_as_reference(self) -> None:
        """Draw the weights anew as the reference does: Kaiming normal by fan-out, for a ReLU."""
        for conv in self._convs():
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def _convs(self) -> list[nn.Conv2d]:
        both = (*self.lateral_convs.values(), *self.fpn_convs.values())
        return [cast(nn.Conv2d, conv) for conv in both]

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Levels (B, C_i, H_i, W_i) to (B, channels, H_i, W_i), and coarser ones of half the size.

        Levels finer than ``first_level`` are left out.
        """
        names = list(self.lateral_convs)
        laterals = [self.lateral_convs[name](pyramid.levels[int(name)]) for name in names]
        for finer in range(len(laterals) - 2, -1, -1):
            size_hw = laterals[finer].shape[-2:]
            laterals[finer] = laterals[finer] + F.interpolate(laterals[finer + 1], size=size_hw)
        levels: list[Tensor] = [
            self.fpn_convs[name](lateral) for name, lateral in zip(names, laterals, strict=True)
        ]
        strides = list(pyramid.strides[int(names[0]) :])
        coarser = self._coarser(pyramid.levels[-1], levels[-1])
        strides += [strides[-1] * 2 ** (1 + i) for i in range(len(coarser))]
        return FeaturePyramid((*levels, *coarser), tuple(strides))

    def _coarser(self, last_input: Tensor, last_output: Tensor) -> list[Tensor]:
        """The levels on top of the last."""
        extra = list(self.fpn_convs)[len(self.lateral_convs) :]
        if not extra:
            return [last_output[:, :, ::2, ::2]]
        levels = [last_input]
        for name in extra:
            levels.append(self.fpn_convs[name](levels[-1]))
        return levels[1:]
