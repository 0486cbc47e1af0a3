"""The rotated rectangle of smallest area around points."""

from __future__ import annotations

import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import regularise, require_columns


def rboxes_from_quads(quads: Tensor) -> Tensor:
    """The rotated rectangles of smallest area around quadrilaterals (N, 4, 2): (N, 5), le90.

    The four points may come in any order and be concave, crossing, collinear or equal; a quad
    without area gives h = 0. Computed in float64, returned in the type of ``quads``.

    One side of the smallest rectangle lies on an edge of the convex hull (Freeman and Shapira
    1975). The hull's edges are among the six lines through two of the four points, and a
    direction that is not one of its edges only gives a larger rectangle: the hull is never built.
    Where two edges give the same area, which is common, the longer edge is taken (the reference
    leaves that to rounding).

    Raises ValueError for another shape.
    """
    if quads.ndim != 3 or quads.shape[1:] != (4, 2) or not quads.is_floating_point():
        raise ValueError(
            f"quads must be a float tensor of shape (N, 4, 2), "
            f"got {tuple(quads.shape)} {quads.dtype}"
        )
    points = quads.double()
    start, end = [0, 1, 2, 3, 0, 1], [1, 2, 3, 0, 2, 3]
    directions = points[:, end] - points[:, start]
    return regularise(_smallest_rectangles(points, directions).to(quads.dtype))


def minimum_area_rbox(points_xy: Tensor) -> Tensor:
    """The rotated rectangle of smallest area around points (P, 2), P ≥ 1: (5,), le90.

    Raises ValueError for another shape or no points.
    """
    require_columns("points_xy", points_xy, 2)
    if len(points_xy) == 0:
        raise ValueError("points_xy must hold at least one point, got none")
    hull = points_xy.new_tensor(_convex_hull(points_xy.tolist()), dtype=torch.float64)
    directions = hull.roll(-1, dims=0) - hull
    return regularise(_smallest_rectangles(hull[None], directions[None]).to(points_xy.dtype))[0]


def _smallest_rectangles(points: Tensor, directions: Tensor) -> Tensor:
    """The smallest of the rectangles around points (N, P, 2) that have a side along one of
    directions (N, D, 2): (N, 5), not regularised. Directions of length 0 count as the x axis.
    """
    length = directions.norm(dim=2, keepdim=True)
    x_axis = directions.new_tensor([1.0, 0.0])
    along = torch.where(length > 0, directions / length.clamp(min=1e-300), x_axis)
    across = torch.stack([-along[..., 1], along[..., 0]], dim=2)
    origin = points[:, :1]
    # (N, D, P): where each point lies along and across each direction
    low_u, high_u = torch.aminmax(along @ (points - origin).mT, dim=2)
    low_v, high_v = torch.aminmax(across @ (points - origin).mT, dim=2)
    w, h = high_u - low_u, high_v - low_v
    area = w * h
    # Two adjacent edges often give exactly the same area; the longer one decides, not rounding.
    smallest = area <= area.amin(dim=1, keepdim=True) * (1 + 1e-9)
    best = torch.where(smallest, length[..., 0], -1.0).argmax(dim=1)
    row = torch.arange(len(points), device=points.device)
    middle_u, middle_v = (low_u + high_u)[row, best] / 2, (low_v + high_v)[row, best] / 2
    along, across = along[row, best], across[row, best]
    centre = origin[:, 0] + along * middle_u[:, None] + across * middle_v[:, None]
    angle = torch.atan2(along[:, 1], along[:, 0])
    size = torch.stack([w[row, best], h[row, best], angle], dim=1)
    return torch.cat([centre, size], dim=1)


def _convex_hull(points: list[list[float]]) -> list[list[float]]:
    """The convex hull's corners in order (Andrew's monotone chain); one or two if degenerate."""
    ordered = sorted({(x, y) for x, y in points})
    halves = []
    for sweep in (ordered, ordered[::-1]):
        half: list[tuple[float, float]] = []
        for point in sweep:
            while len(half) > 1 and _turn(half[-2], half[-1], point) <= 0:
                half.pop()
            half.append(point)
        halves.append(half)
    hull = halves[0][:-1] + halves[1][:-1] or ordered
    return [list(corner) for corner in hull]


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    """Twice the signed area of the triangle a b c."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
