"""Semantic segmentation: UperNet (Xiao et al. 2018, arXiv 1807.10221)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

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
from geomtp.decoders.fpn import conv_for_relu
from geomtp.decoders.source_statistics import SourceStatistics
from geomtp.layers import mean_of_cells
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

POOL_SIZES = (1, 2, 3, 6)


class UperNet(Decoder):
    """Semantic segmentation with one 1×1 classifier per source, background first.

    - num_classes: classes of each source, without the background
    - channels: width of the trunk (256 in pretraining, 512 in the reference's fine-tuning)
    - dropout: probability of dropping a whole channel before the classifier
    - reference_statistics: one set of running statistics for all sources, as the reference has;
      otherwise each source has its own
    """

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: Mapping[str, int],
        channels: int = 256,
        dropout: float = 0.1,
        reference_statistics: bool = False,
    ) -> None:
        super().__init__()
        self.trunk = UperNetTrunk(in_channels, channels)
        self.statistics = (
            None if reference_statistics else SourceStatistics(self.trunk, list(num_classes))
        )
        self.register_load_state_dict_post_hook(  # type: ignore[no-untyped-call]
            _spread_official_statistics
        )
        self.dropout = nn.Dropout2d(dropout)
        self.classifiers = nn.ModuleDict(
            {source: nn.Conv2d(channels, count + 1, 1) for source, count in num_classes.items()}
        )

    def logits(self, pyramid: FeaturePyramid, source: str) -> Tensor:
        """(B, K + 1, H, W) at the size of the finest level."""
        check_source(source, self.classifiers)
        if self.statistics is None:
            features = self.trunk(pyramid)
        else:
            with self.statistics.of(source, self.trunk):
                features = self.trunk(pyramid)
        logits: Tensor = self.classifiers[source](self.dropout(features))
        return logits

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """``pixel``: see ``pixel_loss``."""
        maps = [target.semantic for target in targets]
        return {"pixel": pixel_loss(self.logits(pyramid, source), maps, canvas_hw(pyramid))}

    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Predictions with ``semantic_logits`` (K + 1, H, W) of each image."""
        logits = self.logits(pyramid, source).float()
        maps = maps_of_images(logits, canvas_hw(pyramid), image_sizes_hw, output_sizes_hw)
        return [Predictions(semantic_logits=image) for image in maps]

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of the pretraining framework."""
        keys = {}
        for key in self.state_dict():
            if key.startswith("statistics."):
                continue
            if match := re.match(r"classifiers\.([^.]+)\.(.*)", key):
                keys[key] = f"semseghead_{source_numbers[match[1]]}.1.{match[2]}"
            else:
                official = re.sub(r"^trunk\.", "semsegdecoder.decode_head.", key)
                official = re.sub(r"psp_modules\.(\d)\.", r"psp_modules.\1.1.", official)
                keys[key] = official
        return keys

    def fine_tuned_keys(self) -> dict[str, str]:
        """Our keys and those of MMSegmentation, where the classifier has the name of the unused."""
        return {
            ours: theirs.removeprefix("semsegdecoder.").replace(
                "semseghead_1.1.", "decode_head.conv_seg."
            )
            for ours, theirs in super().fine_tuned_keys().items()
            if not ours.startswith("trunk.conv_seg.")
        }


def _spread_official_statistics(decoder: nn.Module, incompatible: Any) -> None:
    """Where a file has the trunk's statistics but none by source, every source takes those."""
    assert isinstance(decoder, UperNet)
    missing = incompatible.missing_keys
    own = [key for key in missing if key.endswith(("statistics.means", "statistics.variances"))]
    of_trunk = [key for key in missing if key.endswith(("bn.running_mean", "bn.running_var"))]
    if decoder.statistics is not None and own and not of_trunk:
        decoder.statistics.spread(decoder.trunk)
        for key in own:
            missing.remove(key)


class UperNetTrunk(nn.Module):
    """Pyramid pooling on the coarsest level, a feature pyramid, and the fusion of its levels."""

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        *finer, coarsest = in_channels
        self.psp_modules = nn.ModuleList(ConvNormRelu(coarsest, channels, 1) for _ in POOL_SIZES)
        self.bottleneck = ConvNormRelu(coarsest + len(POOL_SIZES) * channels, channels, 3)
        self.lateral_convs = nn.ModuleList(ConvNormRelu(width, channels, 1) for width in finer)
        self.fpn_convs = nn.ModuleList(ConvNormRelu(channels, channels, 3) for _ in finer)
        self.fpn_bottleneck = ConvNormRelu(len(in_channels) * channels, channels, 3)
        self.conv_seg = UnusedClassifier(channels)

    def forward(self, pyramid: FeaturePyramid) -> Tensor:
        """Fused features (B, channels, H, W) at the size of the finest level."""
        maps = [
            conv(level) for conv, level in zip(self.lateral_convs, pyramid.levels[:-1], strict=True)
        ]
        maps.append(self._pooled(pyramid.levels[-1]))
        for finer in range(len(maps) - 2, -1, -1):
            maps[finer] = maps[finer] + _resized(maps[finer + 1], maps[finer])
        maps[:-1] = [conv(level) for conv, level in zip(self.fpn_convs, maps[:-1], strict=True)]
        fused: Tensor = self.fpn_bottleneck(
            torch.cat([maps[0], *(_resized(level, maps[0]) for level in maps[1:])], dim=1)
        )
        return fused

    def _pooled(self, coarsest: Tensor) -> Tensor:
        parts = [coarsest]
        for size, conv in zip(POOL_SIZES, self.psp_modules, strict=True):
            parts.append(_resized(conv(mean_of_cells(coarsest, size)), coarsest))
        pooled: Tensor = self.bottleneck(torch.cat(parts, dim=1))
        return pooled


class ConvNormRelu(nn.Module):
    """Convolution without bias, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = conv_for_relu(in_channels, out_channels, kernel, bias=False)
        self.bn = BatchNorm(out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return F.relu(self.bn(self.conv(maps)), inplace=True)


class BatchNorm(nn.BatchNorm2d):
    """Batch norm that uses its running statistics where a channel sees a single value.

    The reference stops there (one image, pooled to one cell: quirk 37).
    """

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        if self.training and maps.numel() == maps.shape[1]:
            return F.batch_norm(
                maps, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        return super().forward(maps)


class UnusedClassifier(nn.Module):
    """The one-class classifier that official files hold and no forward pass uses; not trained."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(1, channels, 1, 1))
        self.register_buffer("bias", torch.zeros(1))


def _resized(maps: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(maps, size=like.shape[-2:], mode="bilinear")
