"""The feature pyramid network of the detectors (Lin et al. 2017, arXiv 1612.03144)."""

from __future__ import annotations

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
    """Equal channels on all levels, coarse added into fine, and one coarser level by subsampling.

    Gives len(in_channels) + 1 levels of ``channels`` channels; no norm, no activation.

    Each convolution starts by keeping the variance of its input, since no activation follows. As
    the reference starts them (``start_as_reference``) the levels come out six times as large, and
    at high learning rates the heads that read them lose most of their units.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(
            conv_for_relu(width, channels, 1, bias=True) for width in in_channels
        )
        self.fpn_convs = nn.ModuleList(
            conv_for_relu(channels, channels, 3, bias=True) for _ in in_channels
        )
        for conv in (*self.lateral_convs, *self.fpn_convs):
            nn.init.kaiming_normal_(conv.weight, mode="fan_in", nonlinearity="linear")

    def start_as_reference(self) -> None:
        """Draw the weights anew as the reference does: Kaiming normal by fan-out, for a ReLU."""
        for conv in (*self.lateral_convs, *self.fpn_convs):
            nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pyramid: FeaturePyramid) -> FeaturePyramid:
        """Levels (B, C_i, H_i, W_i) to (B, channels, H_i, W_i) and one of half the last size."""
        laterals = [
            conv(level) for conv, level in zip(self.lateral_convs, pyramid.levels, strict=True)
        ]
        for finer in range(len(laterals) - 2, -1, -1):
            size_hw = laterals[finer].shape[-2:]
            laterals[finer] = laterals[finer] + F.interpolate(laterals[finer + 1], size=size_hw)
        levels: list[Tensor] = [
            conv(lateral) for conv, lateral in zip(self.fpn_convs, laterals, strict=True)
        ]
        levels.append(levels[-1][:, :, ::2, ::2])
        strides = (*pyramid.strides, 2 * pyramid.strides[-1])
        return FeaturePyramid(tuple(levels), strides)
