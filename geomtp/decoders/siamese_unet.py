"""Change between two dates: the difference of two pyramids, put together by a UNet."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.decoder import (
    Decoder,
    canvas_hw,
    check_source,
    maps_of_images,
    pixel_loss,
)
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

CHANNELS = (512, 256, 128, 64)
"""Widths of the four blocks of the reference."""


class SiameseUNet(Decoder):
    """What changed, from one encoder's features of both dates (|after − before| on each level).

    - sources: those that are labelled for change; unchanged is the first class, changed the second
    - channels: widths of the blocks, the coarsest first
    - dropout: probability of dropping a whole channel before the classifier
    """

    dates: ClassVar[int] = 2

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        sources: Sequence[str],
        channels: tuple[int, ...] = CHANNELS,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.trunk = UNetTrunk(in_channels, channels)
        self.dropout = nn.Dropout2d(dropout)
        self.classifiers = nn.ModuleDict(
            {source: nn.Conv2d(channels[-1], 2, 1) for source in sources}
        )
        for layer in self.classifiers.values():
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def logits(self, pyramid: FeaturePyramid, source: str) -> Tensor:
        """(B, 2, H, W), 32 pixels a side for each cell of the coarsest level."""
        check_source(source, self.classifiers)
        features = self.dropout(self.trunk(difference(pyramid)))
        logits: Tensor = self.classifiers[source](features)
        return logits

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """``pixel``: see ``pixel_loss``."""
        maps = [target.change for target in targets]
        return {"pixel": pixel_loss(self.logits(pyramid, source), maps, canvas_hw(pyramid))}

    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Predictions with ``change_logits`` (2, H, W) of each image."""
        logits = self.logits(pyramid, source).float()
        maps = maps_of_images(logits, canvas_hw(pyramid), image_sizes_hw, output_sizes_hw)
        return [Predictions(change_logits=image) for image in maps]

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of the change detection framework, which knows one source."""
        first = next(iter(self.classifiers))
        keys = {}
        for key in self.state_dict():
            if key.startswith("trunk."):
                keys[key] = re.sub(r"^trunk\.", "decode_head.", key)
            elif key.startswith(f"classifiers.{first}."):
                keys[key] = key.replace(f"classifiers.{first}.", "decode_head.conv_seg.")
        return keys


def difference(pyramid: FeaturePyramid) -> FeaturePyramid:
    """|second date − first date| of each level: half as many images as ``pyramid`` holds."""
    # (dates, B, C_i, H_i, W_i): a graph holds it for any number of images, unlike two chunks
    dates = [level.unflatten(0, (2, -1)).unbind() for level in pyramid.levels]
    return FeaturePyramid(tuple((after - before).abs() for before, after in dates), pyramid.strides)


class UNetTrunk(nn.Module):
    """Four blocks, each doubling the size and taking in the next finer level."""

    def __init__(self, in_channels: tuple[int, ...], channels: tuple[int, ...]) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        skips = [*reversed(finer), 0]
        below = [coarsest, *channels[:-1]]
        self.blocks = nn.ModuleList(
            UNetBlock(width + skip, out)
            for width, skip, out in zip(below, skips, channels, strict=True)
        )

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """Features (B, channels[-1], H, W), 32 times the size of the coarsest level."""
        *finer, features = pyramid.levels
        for block, skip in zip(self.blocks, [*reversed(finer), None], strict=True):
            features = F.interpolate(features, scale_factor=2.0, mode="nearest")
            if skip is not None:
                skip = F.interpolate(skip, size=features.shape[-2:], mode="bilinear")
                features = torch.cat([features, skip], dim=1)
            features = block(features)
        return F.interpolate(features, scale_factor=2.0, mode="bilinear")


class UNetBlock(nn.Module):
    """Twice a 3×3 convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = _conv_norm_relu(in_channels, out_channels)
        self.conv2 = _conv_norm_relu(out_channels, out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        out: Tensor = self.conv2(self.conv1(maps))
        return out


def _conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
