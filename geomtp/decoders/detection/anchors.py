"""Anchors: the boxes that a region proposal network starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geomtp.types import FeaturePyramid, SizeHW

RATIOS = (0.5, 1.0, 2.0)
"""Height by width."""


def level_anchors(
    size_hw: SizeHW, stride: int, scale: float, device: torch.device, octaves: int = 1
) -> Tensor:
    """(H·W·3·octaves, 4) x1 y1 x2 y2 of one level: rows, columns, ratios, then sizes.

    Centred on (x·stride, y·stride), without half a cell of shift, as the reference has it; the
    smallest square anchor has sides of ``scale`` cells, and ``octaves`` sizes fill the space up to
    twice that.
    """
    ratios = torch.tensor(RATIOS, device=device).sqrt()[:, None]
    sides = scale * stride * 2 ** (torch.arange(octaves, device=device) / octaves)
    half_width, half_height = (sides / ratios / 2).flatten(), (sides * ratios / 2).flatten()
    shape = torch.stack([-half_width, -half_height, half_width, half_height], dim=-1)
    y = torch.arange(size_hw[0], device=device) * stride
    x = torch.arange(size_hw[1], device=device) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    centre = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1)
    return (centre[:, :, None] + shape).view(-1, 4)


def pyramid_anchors(pyramid: FeaturePyramid, scale: float, octaves: int = 1) -> list[Tensor]:
    """The anchors of each level of ``pyramid``."""
    return [
        level_anchors((level.shape[-2], level.shape[-1]), stride, scale, level.device, octaves)
        for level, stride in zip(pyramid.levels, pyramid.strides, strict=True)
    ]


def by_anchor(maps: Tensor, size: int) -> Tensor:
    """(B, anchors·size, H, W), what a convolution says of a level, as (B, H·W·anchors, size)."""
    return maps.permute(0, 2, 3, 1).flatten(1).float().unflatten(1, (-1, size))


def inside(anchors_xyxy: Tensor, size_hw: SizeHW) -> Tensor:
    """(N,) bool: the anchors that lie wholly in an image of ``size_hw``."""
    height, width = size_hw
    x1, y1, x2, y2 = anchors_xyxy.unbind(-1)
    return (x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height)


def level_numbers(anchors: Sequence[Tensor]) -> Tensor:
    """The level of each of the concatenated ``anchors``: (ΣN,) int64."""
    counts = torch.tensor([len(level) for level in anchors])
    return torch.arange(len(anchors)).repeat_interleave(counts).to(anchors[0].device)
