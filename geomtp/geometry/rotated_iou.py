"""Exact overlap of rotated boxes, in float64 and without sorting vertices.

The intersection of box a with box b is found in the frame of b, scaled so that b is the square
[-1, 1]². There a is a parallelogram, and by Green's theorem the area of a ∩ [-1, 1]² is the
integral of clamp(x) dy along those parts of a's border whose y lies in [-1, 1]. Each edge has a
closed formula::

    Σ over the 4 edges   (y_b - y_a) · mean of clamp(x) between x_a and x_b

where y_a, y_b are the y of the edge's two ends, clamped to [-1, 1], and x_a, x_b the x of the edge
there. Nothing branches and only the border of a is walked, so coincident edges, touching corners
and boxes inside each other need no care, and all pairs are computed side by side.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from geomtp.geometry.box_pairs import pairs_between
from geomtp.geometry.rotated_boxes import enclosing_boxes, require_columns
from geomtp.geometry.threads import one_thread

PAIRS_AT_ONCE = 1 << 13
"""Pairs clipped together; their temporaries stay in a processor core's cache."""

SMALLEST = 1e-150
"""Half a side of a box without area counts as this long while clipping (never in the result)."""

NOTHING = 1e-12
"""An intersection that is this part of the smaller box is a rounding error."""


@torch.no_grad()
@one_thread()
def rotated_iou(
    a_cxcywha: Tensor,
    b_cxcywha: Tensor,
    mode: Literal["iou", "iof"] = "iou",
    smallest_side_px: float = 0.0,
) -> Tensor:
    """Overlap of every box of ``a`` (N, 5) with every box of ``b`` (M, 5): (N, M), 0…1.

    ``mode`` "iou" divides the intersection by the union, "iof" by the area of the box of ``a``.
    Any description of a rectangle will do (le90 or not). Computed in float64, returned in the type
    of ``a``, without gradient. Only pairs whose enclosing boxes overlap are clipped.

    Sides shorter than ``smallest_side_px`` count as that long: with 0 boxes without area overlap
    nothing, the reference's assigner takes 0.001.

    Raises ValueError for other shapes or an unknown mode.
    """
    _require_mode(mode)
    require_columns("a_cxcywha", a_cxcywha, 5)
    require_columns("b_cxcywha", b_cxcywha, 5)
    overlaps = a_cxcywha.new_zeros(len(a_cxcywha), len(b_cxcywha))
    a, b = (_widened(boxes.double(), smallest_side_px) for boxes in (a_cxcywha, b_cxcywha))
    frames_a, frames_b = frames(a), frames(b)
    for i, j in pairs_between(enclosing_boxes(a), enclosing_boxes(b)):
        overlap = overlap_of_pairs(frames_a, i, frames_b, j, mode)
        overlaps.view(-1)[i * len(b_cxcywha) + j] = overlap.to(overlaps.dtype)
    return overlaps


@torch.no_grad()
@one_thread()
def rotated_iou_pairs(
    a_cxcywha: Tensor,
    b_cxcywha: Tensor,
    mode: Literal["iou", "iof"] = "iou",
    smallest_side_px: float = 0.0,
) -> Tensor:
    """Overlap of each box of ``a`` with the box of ``b`` in the same row: (N,), as ``rotated_iou``.

    Raises ValueError for other shapes, different lengths or an unknown mode.
    """
    _require_mode(mode)
    require_columns("a_cxcywha", a_cxcywha, 5)
    require_columns("b_cxcywha", b_cxcywha, 5)
    if len(a_cxcywha) != len(b_cxcywha):
        raise ValueError(f"pairs need as many boxes: {len(a_cxcywha)} and {len(b_cxcywha)}")
    a, b = (_widened(boxes.double(), smallest_side_px) for boxes in (a_cxcywha, b_cxcywha))
    row = torch.arange(len(a), device=a.device)
    return overlap_of_pairs(frames(a), row, frames(b), row, mode).to(a_cxcywha.dtype)


@torch.no_grad()
@one_thread()
def largest_rotated_iou(
    a_cxcywha: Tensor, b_cxcywha: Tensor, labels_a: Tensor, labels_b: Tensor
) -> tuple[Tensor, Tensor]:
    """Which box of ``b`` (M, 5) each box of ``a`` (N, 5) overlaps most: IoU (N,) and index (N,).

    Only boxes of the same label (N,), (M,) meet. Of equal overlaps the first box of ``b`` counts;
    −1 and −1 where no enclosing boxes overlap. Float64 and int64; the whole matrix is never made.
    """
    require_columns("a_cxcywha", a_cxcywha, 5)
    require_columns("b_cxcywha", b_cxcywha, 5)
    a, b = (_widened(boxes.double(), 0.0) for boxes in (a_cxcywha, b_cxcywha))
    frames_a, frames_b = frames(a), frames(b)
    found = [
        (i, j, overlap_of_pairs(frames_a, i, frames_b, j))
        for i, j in pairs_between(enclosing_boxes(a), enclosing_boxes(b), labels_a, labels_b)
    ]
    largest, which = a.new_full((len(a),), -1.0), labels_a.new_full((len(a),), -1)
    if found:
        i, j, overlap = (torch.cat(column) for column in zip(*found, strict=True))
        # By box of a, then by falling overlap, then by box of b; the first of each box of a counts.
        order = j.argsort()
        order = order[overlap[order].argsort(descending=True, stable=True)]
        order = order[i[order].argsort(stable=True)]
        best = order[i[order].diff(prepend=i.new_full((1,), -1)) > 0]
        largest[i[best]], which[i[best]] = overlap[best], j[best]
    return largest, which


def _widened(rboxes: Tensor, smallest_side_px: float) -> Tensor:
    """The boxes with sides of at least this length (negative ones count as 0)."""
    sides = rboxes[:, 2:4].clamp(min=smallest_side_px)
    return torch.cat([rboxes[:, :2], sides, rboxes[:, 4:]], dim=1)


def _require_mode(mode: str) -> None:
    if mode not in ("iou", "iof"):
        raise ValueError(f"mode must be iou or iof, got {mode!r}")


def frames(rboxes: Tensor) -> Tensor:
    """What clipping needs of rotated boxes (N, 5), in float64: (6, N) = cx, cy, half w, half h,
    cosine and sine of the angle.
    """
    cx, cy, w, h, angle = rboxes.double().T
    return torch.stack([cx, cy, w / 2, h / 2, torch.cos(angle), torch.sin(angle)])


def overlap_of_pairs(
    frames_a: Tensor, i: Tensor, frames_b: Tensor, j: Tensor, mode: Literal["iou", "iof"] = "iou"
) -> Tensor:
    """Overlap of box ``i`` (P,) of a with box ``j`` (P,) of b: (P,) float64."""
    overlaps = frames_a.new_empty(len(i))
    for start in range(0, len(i), PAIRS_AT_ONCE):
        piece = slice(start, start + PAIRS_AT_ONCE)
        a = [field.index_select(0, i[piece]) for field in frames_a]
        b = [field.index_select(0, j[piece]) for field in frames_b]
        area_a, area_b = (a[2] * a[3]).mul_(4), (b[2] * b[3]).mul_(4)
        inter = _intersection(a, b)
        # Boxes that do not meet get exactly 0: suppression may ask for anything above it.
        inter.masked_fill_(inter <= torch.minimum(area_a, area_b).mul_(NOTHING), 0.0)
        whole = area_a if mode == "iof" else area_a.add_(area_b).sub_(inter)
        torch.div(inter, whole.clamp_(min=1e-300), out=overlaps[piece])
    return overlaps.clamp_(0, 1)


def _intersection(a: list[Tensor], b: list[Tensor]) -> Tensor:
    """Area of intersection of each pair, by the formula above: (P,)."""
    a_cx, a_cy, a_half_w, a_half_h, a_cos, a_sin = a
    b_cx, b_cy, b_half_w, b_half_h, b_cos, b_sin = b
    scale_x = b_half_w.clamp(min=SMALLEST).reciprocal_()
    scale_y = b_half_h.clamp(min=SMALLEST).reciprocal_()
    dx, dy = a_cx - b_cx, a_cy - b_cy
    cos = torch.addcmul(a_cos * b_cos, a_sin, b_sin)
    sin = torch.addcmul(a_sin * b_cos, a_cos, b_sin, value=-1)
    # centre and half sides of a in the frame of b
    cx = torch.addcmul(dx * b_cos, dy, b_sin).mul_(scale_x)
    cy = torch.addcmul(dy * b_cos, dx, b_sin, value=-1).mul_(scale_y)
    ux, uy = (a_half_w * cos).mul_(scale_x), (a_half_w * sin).mul_(scale_y)
    vx, vy = (a_half_h * sin).mul_(-scale_x), (a_half_h * cos).mul_(scale_y)
    x, y = _corners(cx, ux, vx), _corners(cy, uy, vy)
    # dx/dy of the edges along u and v; a horizontal one never counts, it only must stay finite
    slope = torch.stack([ux, vx]).div_(torch.stack([uy, vy]).add_(1e-300)).clamp_(-1e100, 1e100)
    clamped_y = y.clamp(-1, 1)
    moved = clamped_y - y
    edges = (2, 2, len(cx))  # the four edges as twice (along u, along v)
    x_a = torch.addcmul(x[:4].view(edges), moved[:4].view(edges), slope)
    x_b = torch.addcmul(x[1:].view(edges), moved[1:].view(edges), slope)
    clamped_a, clamped_b = x_a.clamp(-1, 1), x_b.clamp(-1, 1)
    # mean = a + (b - a) · (x_b - (a + b) / 2) / (x_b - x_a), with a and b clamped
    mean = torch.sub(x_b, clamped_a + clamped_b, alpha=0.5)
    mean.mul_(clamped_b.sub_(clamped_a)).div_(x_b.sub_(x_a).add_(1e-300)).add_(clamped_a)
    areas = mean.view(4, -1).mul_(clamped_y[1:] - clamped_y[:4]).sum(dim=0)
    return areas.mul_(b_half_w * b_half_h)


def _corners(centre: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """One coordinate of the corners --, +-, ++, -+ and of the first again: (5, P)."""
    corners = centre.new_empty(5, len(centre))
    plus, minus = u + v, u - v
    torch.sub(centre, plus, out=corners[0])
    torch.add(centre, minus, out=corners[1])
    torch.add(centre, plus, out=corners[2])
    torch.sub(centre, minus, out=corners[3])
    corners[4] = corners[0]
    return corners
