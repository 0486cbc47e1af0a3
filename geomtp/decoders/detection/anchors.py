"""Anchors: the boxes that a region proposal network starts from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from geomtp.types import FeaturePyramid, SizeHW

RATIOS = (0.5, 1.0, 2.0)
"""Height by width."""


def level_anchors(size_hw: SizeHW, stride: int, scale: float, device: torch.device) -> Tensor:
    """(H·W·3, 4) x1 y1 x2 y2 of one level: rows, columns, then ratios.

    Centred on (x·stride, y·stride), without half a cell of shift, as the reference has it; a square
    anchor has sides of ``scale`` cells.
    """
    ratios = torch.tensor(RATIOS, device=device).sqrt()
    half_width, half_height = scale * stride / ratios / 2, scale * stride * ratios / 2
    shape = torch.stack([-half_width, -half_height, half_width, half_height], dim=-1)
    y = torch.arange(size_hw[0], device=device) * stride
    x = torch.arange(size_hw[1], device=device) * stride
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    centre = torch.stack([grid_x, grid_y, grid_x, grid_y], dim=-1)
    return (centre[:, :, None] + shape).view(-1, 4)


def pyramid_anchors(pyramid: FeaturePyramid, scale: float) -> list[Tensor]:
    """The anchors of each level of ``pyramid``."""
    return [
        level_anchors((level.shape[-2], level.shape[-1]), stride, scale, level.device)
        for level, stride in zip(pyramid.levels, pyramid.strides, strict=True)
    ]


def inside(anchors_xyxy: Tensor, size_hw: SizeHW) -> Tensor:
    """(N,) bool: the anchors that lie wholly in an image of ``size_hw``."""
    height, width = size_hw
    x1, y1, x2, y2 = anchors_xyxy.unbind(-1)
    return (x1 >= 0) & (y1 >= 0) & (x2 < width) & (y2 < height)


def level_numbers(anchors: Sequence[Tensor]) -> Tensor:
    """The level of each of the concatenated ``anchors``: (ΣN,) int64."""
    counts = torch.tensor([len(level) for level in anchors])
    return torch.arange(len(anchors)).repeat_interleave(counts).to(anchors[0].device)
