"""Exact overlap of rotated boxes, in float64 and without sorting vertices.

The intersection of box a with box b is found in the frame of b, scaled so that b becomes the square
[-1, 1]². There a is a parallelogram with corners p, and by Green's theorem the area of
a ∩ [-1, 1]² is the integral along the border of a of clamp(x) over those parts whose y lies in
[-1, 1] — one closed formula for each of the four edges, without branches, so coincident edges,
touching corners and boxes inside each other need no care:

    Σ over edges   (y_b - y_a) · mean of clamp(x) from x_a to x_b,

where y_a, y_b are the y of the edge's ends clamped to [-1, 1] and x_a, x_b the x of the edge there.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import enclosing_boxes, require_columns

PAIRS_AT_ONCE = 1 << 15
"""Pairs clipped together: their temporaries (about 2 kB each) stay in the cache."""


def rotated_iou(
    a_cxcywha: Tensor, b_cxcywha: Tensor, mode: Literal["iou", "iof"] = "iou"
) -> Tensor:
    """Overlap of every box of ``a`` (N, 5) with every box of ``b`` (M, 5): (N, M), 0…1.

    ``mode`` "iou" divides the intersection by the union, "iof" by the area of the box of ``a``.
    Any description of a rectangle will do (le90 or not). Boxes without area overlap nothing: 0.
    Computed in float64, returned in the type of ``a``; within 1e-6 of exact polygons.

    Raises ValueError for other shapes.
    """
    require_columns("a_cxcywha", a_cxcywha, 5)
    require_columns("b_cxcywha", b_cxcywha, 5)
    overlaps = a_cxcywha.new_zeros(len(a_cxcywha), len(b_cxcywha))
    hull_a, hull_b = enclosing_boxes(a_cxcywha.double()), enclosing_boxes(b_cxcywha.double())
    rows = max(1, (1 << 22) // max(1, len(b_cxcywha)))
    for start in range(0, len(a_cxcywha), rows):
        near = _touching(hull_a[start : start + rows], hull_b)
        i, j = near.nonzero(as_tuple=True)
        i = i + start
        overlaps[i, j] = rotated_iou_pairs(a_cxcywha[i], b_cxcywha[j], mode).to(overlaps.dtype)
    return overlaps


def _touching(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    a, b = a_xyxy[:, None], b_xyxy[None]
    return ((a[..., :2] < b[..., 2:]) & (b[..., :2] < a[..., 2:])).all(dim=2)


def rotated_iou_pairs(
    a_cxcywha: Tensor, b_cxcywha: Tensor, mode: Literal["iou", "iof"] = "iou"
) -> Tensor:
    """Overlap of each box of ``a`` with the box of ``b`` in the same row: (N,), see ``rotated_iou``.

    Raises ValueError for other shapes, different lengths or an unknown mode.
    """
    require_columns("a_cxcywha", a_cxcywha, 5)
    require_columns("b_cxcywha", b_cxcywha, 5)
    if mode not in ("iou", "iof"):
        raise ValueError(f"mode must be iou or iof, got {mode!r}")
    a, b = a_cxcywha.double(), b_cxcywha.double()
    inter = torch.cat(
        [
            _intersection(part_a, part_b)
            for part_a, part_b in zip(a.split(PAIRS_AT_ONCE), b.split(PAIRS_AT_ONCE), strict=True)
        ]
    )
    area_a, area_b = a[:, 2] * a[:, 3], b[:, 2] * b[:, 3]
    whole = area_a if mode == "iof" else area_a + area_b - inter
    ratio = inter / whole.clamp(min=1e-300)
    return ratio.clamp_(0, 1).to(a_cxcywha.dtype)


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    """Area of intersection of each pair: (N,)."""
    area_b = b[:, 2] * b[:, 3]
    half_w, half_h = (b[:, 2] / 2).clamp(min=1e-150), (b[:, 3] / 2).clamp(min=1e-150)
    cos_b, sin_b = torch.cos(b[:, 4]), torch.sin(b[:, 4])
    dx, dy = a[:, 0] - b[:, 0], a[:, 1] - b[:, 1]
    cx, cy = (dx * cos_b + dy * sin_b) / half_w, (dy * cos_b - dx * sin_b) / half_h
    turn = a[:, 4] - b[:, 4]
    cos, sin = torch.cos(turn), torch.sin(turn)
    ux, uy = a[:, 2] / 2 * cos / half_w, a[:, 2] / 2 * sin / half_h
    vx, vy = -a[:, 3] / 2 * sin / half_w, a[:, 3] / 2 * cos / half_h
    x = torch.stack([cx - ux - vx, cx + ux - vx, cx + ux + vx, cx - ux + vx])
    y = torch.stack([cy - uy - vy, cy + uy - vy, cy + uy + vy, cy - uy + vy])
    slope_u = (ux / uy).nan_to_num(0.0).clamp(-1e30, 1e30)
    slope_v = (vx / vy).nan_to_num(0.0).clamp(-1e30, 1e30)
    slope = torch.stack([slope_u, slope_v, slope_u, slope_v])
    next_x, next_y = x.roll(-1, 0), y.roll(-1, 0)
    y_a, y_b = y.clamp(-1, 1), next_y.clamp(-1, 1)
    x_a, x_b = x + (y_a - y) * slope, next_x + (y_b - next_y) * slope
    clamped_a, clamped_b = x_a.clamp(-1, 1), x_b.clamp(-1, 1)
    rise = clamped_b - clamped_a
    mean = clamped_a + rise * (x_b - (clamped_a + clamped_b) / 2) / (x_b - x_a + 1e-300)
    return ((y_b - y_a) * mean).sum(dim=0) * area_b / 4


