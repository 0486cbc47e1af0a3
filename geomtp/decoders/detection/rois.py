"""Regions of interest: matching them with objects, and pooling their features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.detection.assignment import assign
from geomtp.decoders.detection.sampling import Sampler
from geomtp.geometry import rotated_roi_align
from geomtp.layers import Linear
from geomtp.parallel import mean_over_processes
from geomtp.types import FeaturePyramid

ROI_SAMPLER = Sampler(count=512, positive_fraction=0.25)
POOLED_LEVELS = 4
FINEST_ROI_PX = 56
"""Regions below twice this side are pooled from the finest level."""


@dataclass(frozen=True)
class SampledRois:
    """The regions of a batch that a step trains on: of each image objects first, then background.

    - boxes: (R, 4 or 5); image: (R,) index in the batch
    - labels: (R,) class id, K for background
    - positives: (P,) indices into the above; objects: (P,) index of each one's object in its image
    """

    boxes: Tensor
    image: Tensor
    labels: Tensor
    positives: Tensor
    objects: Tensor


@torch.no_grad()
def match_and_sample(
    proposals: Sequence[Tensor],
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    num_classes: int,
    overlaps: Callable[[Tensor, Tensor], Tensor],
    low_quality: float | None,
    sampler: Sampler,
    like: Tensor,
) -> SampledRois:
    """Match the proposals of each image with its objects (which join them) and sample.

    A proposal belongs to its best object from an IoU of 0.5 on. ``like`` (0, 4 or 5) says what
    boxes look like where there is no image.
    """
    nothing = torch.zeros(0, dtype=torch.long, device=like.device)
    parts = [(like, nothing, nothing)]
    for image_proposals, image_boxes, image_labels in zip(proposals, boxes, labels, strict=True):
        assigned = assign(
            overlaps(image_boxes, image_proposals),
            positive=0.5,
            negative=0.5,
            low_quality=low_quality,
        )
        themselves = torch.arange(len(image_boxes), device=assigned.device)
        assigned = torch.cat([themselves, assigned])
        chosen = torch.cat(sampler.sample(assigned))
        objects = assigned[chosen]
        found = torch.full_like(objects, num_classes)
        found[objects >= 0] = image_labels[objects[objects >= 0]]
        parts.append((torch.cat([image_boxes, image_proposals])[chosen], found, objects))
    counts = torch.tensor([len(part[0]) for part in parts])
    image = torch.arange(-1, len(proposals)).repeat_interleave(counts).to(like.device)
    rois, found, objects = (torch.cat(column) for column in zip(*parts, strict=True))
    positives = torch.nonzero(objects >= 0)[:, 0]
    return SampledRois(rois, image, found, positives, objects[positives])


def objects_of(rois: SampledRois, boxes: Sequence[Tensor]) -> Tensor:
    """The object's box of each positive region: (P, columns)."""
    if not boxes:
        return rois.boxes[rois.positives]
    counts = [0, *(len(image_boxes) for image_boxes in boxes[:-1])]
    first = torch.tensor(counts, device=rois.image.device).cumsum(0)
    return torch.cat(list(boxes))[first[rois.image[rois.positives]] + rois.objects]


def as_rois(boxes: Tensor, image: Tensor) -> Tensor:
    """(R, 1 + columns): the image's index before each box."""
    return torch.cat([image[:, None].to(boxes), boxes], dim=-1)


def roi_levels(side_px: Tensor) -> Tensor:
    """The level (0…3) that a region is pooled from; ``side_px`` is the root of its area."""
    level = torch.floor(torch.log2(side_px / FINEST_ROI_PX + 1e-6))
    return level.clamp(0, POOLED_LEVELS - 1).long()


def pool_horizontal(pyramid: FeaturePyramid, rois: Tensor, size: int) -> Tensor:
    """(R, C, size, size) of ``rois`` (R, 5): image index, x1 y1 x2 y2 (RoIAlign).

    Pooled as boxes of angle 0: on a CPU that is three to ten times as fast as torchvision's own.
    """
    image, near, far = rois.split([1, 2, 2], dim=-1)
    upright = torch.cat([image, (near + far) / 2, far - near, torch.zeros_like(image)], dim=-1)
    return _pool_by_level(pyramid, upright, size, sampling_ratio=0)


def pool_rotated(pyramid: FeaturePyramid, rois: Tensor, size: int) -> Tensor:
    """(R, C, size, size) of ``rois`` (R, 6): image index, cx cy w h angle (RoI Transformer)."""
    return _pool_by_level(pyramid, rois, size, sampling_ratio=2)


def _pool_by_level(pyramid: FeaturePyramid, rois: Tensor, size: int, sampling_ratio: int) -> Tensor:
    """Pool each region (R, 6) from its level, in the order of ``rois``."""
    levels = roi_levels(rois[:, 3:5].prod(dim=-1).sqrt())
    order, pooled = [], []
    for number in range(POOLED_LEVELS):
        chosen = torch.nonzero(levels == number)[:, 0]
        if len(chosen) or number == 0:  # the finest even when empty: the graph stays whole
            order.append(chosen)
            scale = 1 / pyramid.strides[number]
            level = pyramid.levels[number]
            pooled.append(rotated_roi_align(level, rois[chosen], size, scale, sampling_ratio))
    return torch.cat(pooled).index_select(0, torch.cat(order).argsort())


class SharedFcs(nn.Module):
    """Two fully connected layers on pooled features."""

    def __init__(self, channels: int, width: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.shared_fcs = nn.ModuleList(
            [Linear(channels * size * size, width), Linear(width, width)]
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, size, size) to (R, width)."""
        features = pooled.flatten(1)
        for layer in self.shared_fcs:
            features = F.relu(layer(features), inplace=True)
        return features


class RegionClassifier(nn.Module):
    """The layers of one source: classes, and ``numbers`` of correction for each region."""

    def __init__(self, fc_channels: int, num_classes: int, numbers: int) -> None:
        super().__init__()
        self.fc_cls = nn.Linear(fc_channels, num_classes + 1)
        self.fc_reg = nn.Linear(fc_channels, numbers)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, fc_channels) to class logits (R, K + 1), background last, and (R, numbers)."""
        return self.fc_cls(features), self.fc_reg(features)


def class_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy per sampled region, over all processes."""
    total = F.cross_entropy(logits, labels, reduction="sum")
    return total / region_count(logits)


def region_count(regions: Tensor) -> Tensor:
    """The number of sampled regions, averaged over processes, at least 1."""
    count = regions.new_tensor(float(len(regions)), dtype=torch.float32)
    return mean_over_processes(count).clamp(min=1)
