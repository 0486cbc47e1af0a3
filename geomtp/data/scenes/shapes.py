"""The one shape everything in a scene is made of: a convex polygon grown by a radius."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
FloatMap = NDArray[np.float32]


@dataclass(frozen=True)
class Shape:
    """All points within ``radius`` of a convex polygon.

    - corners: (K, 2) x y, clockwise as seen (y down); one corner and a radius make a disc,
      two a capsule
    - radius: same unit as the corners
    """

    corners: Points
    radius: float = 0.0

    def moved(self, x: float, y: float, angle_rad: float, scale: float) -> Shape:
        """The shape scaled, turned clockwise by ``angle_rad``, then shifted by (x, y)."""
        cos, sin = math.cos(angle_rad) * scale, math.sin(angle_rad) * scale
        u, v = self.corners[:, 0], self.corners[:, 1]
        corners = np.stack([cos * u - sin * v + x, sin * u + cos * v + y], axis=1)
        return Shape(corners, self.radius * scale)

    def swept(self, shift_x: float, shift_y: float) -> Shape:
        """The convex hull of the shape and its copy shifted by (shift_x, shift_y)."""
        shifted = self.corners + np.array([shift_x, shift_y])
        return Shape(convex_hull(np.concatenate([self.corners, shifted])), self.radius)

    def signed_distance(self, x: FloatMap, y: FloatMap) -> FloatMap:
        """Distance to the border at the grid of columns ``x`` (W,) and rows ``y`` (H,): (H, W).

        Negative inside. Exact for a grown shape; for a plain polygon the distance outside a corner
        is that to the extended edges, which is all that drawing with smooth edges needs.
        """
        if len(self.corners) == 1:
            (centre,) = self.corners.astype(np.float32)
            squared = np.square(x - centre[0]) + np.square(y - centre[1])[:, None]
            distance: FloatMap = np.sqrt(squared) - np.float32(self.radius)
            return distance
        starts = self.corners
        edges = np.roll(starts, -1, axis=0) - starts
        lengths = np.sqrt(np.square(edges).sum(axis=1))
        across = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / lengths[:, None]  # outward
        inside = _lines(across, starts, x, y).max(axis=0)
        if self.radius == 0:
            return inside
        along = edges / lengths[:, None]
        beside = _lines(along, starts, x, y)  # (K, H, W): distance along each edge from its start
        beyond = np.maximum(-beside, beside - lengths.astype(np.float32)[:, None, None])
        squared = np.square(np.maximum(beyond, 0)) + np.square(_lines(across, starts, x, y))
        outside = np.sqrt(squared.min(axis=0))
        return np.where(inside < 0, inside, outside) - np.float32(self.radius)


def _lines(normals: Points, through: Points, x: FloatMap, y: FloatMap) -> FloatMap:
    """Signed distances (K, H, W) of the grid to the lines of these unit normals and points."""
    offsets = (normals * through).sum(axis=1)
    by_column = normals[:, :1] * x - offsets[:, None]
    by_row = normals[:, 1:] * y
    return by_row.astype(np.float32)[:, :, None] + by_column.astype(np.float32)[:, None, :]


def rectangle(
    length: float, width: float, centre: tuple[float, float] = (0.0, 0.0), rounding: float = 0.0
) -> Shape:
    """A rectangle of ``length`` along x and ``width`` along y, its corners rounded."""
    half_x, half_y = length / 2 - rounding, width / 2 - rounding
    x, y = centre
    corners = [(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)]
    placed = np.array([(x + u, y + v) for u, v in corners])
    if half_x == 0 or half_y == 0:  # rounded so much that only a capsule or a disc is left
        placed = convex_hull(placed)
    return Shape(placed, rounding)


def disc(radius: float, centre: tuple[float, float] = (0.0, 0.0)) -> Shape:
    """All points within ``radius`` of ``centre``."""
    return Shape(np.array([centre]), radius)


def capsule(start: tuple[float, float], stop: tuple[float, float], radius: float) -> Shape:
    """All points within ``radius`` of the segment from ``start`` to ``stop``."""
    return Shape(np.array([start, stop]), radius)


def polygon(*corners: tuple[float, float]) -> Shape:
    """The convex hull of ``corners``."""
    return Shape(convex_hull(np.array(corners)))


def mirrored(shape: Shape) -> Shape:
    """The shape reflected at the x axis."""
    return Shape(shape.corners[::-1] * (1.0, -1.0), shape.radius)


def convex_hull(points: Points) -> Points:
    """Corners (K, 2) of the convex hull, clockwise as seen (y down); (Andrew's monotone chain)."""
    ordered = sorted({(float(x), float(y)) for x, y in points})
    if len(ordered) < 3:
        return np.array(ordered)
    lower, upper = _half_hull(ordered), _half_hull(ordered[::-1])
    return np.array(lower[:-1] + upper[:-1])


def _half_hull(ordered: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    chain: list[tuple[float, float]] = []
    for x, y in ordered:
        while len(chain) > 1:
            (ax, ay), (bx, by) = chain[-2:]
            if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 1e-12:
                break
            chain.pop()
        chain.append((x, y))
    return chain


def minimum_box(shapes: Sequence[Shape]) -> tuple[float, float, float, float, float]:
    """The minimum-area rectangle around ``shapes``: centre x y, width, height, angle (radians).

    Width lies along the angle; no order of width and height is promised. The directions tried are
    angle 0 and the edges of the convex hull (round ends sampled every 30 degrees); the extents are
    exact. Angle 0 wins unless another is smaller by a thousandth, so that a disc's box is upright.
    """
    outline = convex_hull(np.concatenate([_outline(shape) for shape in shapes]))
    edges = np.roll(outline, -1, axis=0) - outline
    angles = np.concatenate([[0.0], np.arctan2(edges[:, 1], edges[:, 0])])
    along = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    low_u, high_u = _extent(shapes, along)
    low_v, high_v = _extent(shapes, across)
    areas = (high_u - low_u) * (high_v - low_v)
    areas[0] *= 0.999
    best = int(np.argmin(areas))
    u, v = (low_u[best] + high_u[best]) / 2, (low_v[best] + high_v[best]) / 2
    x, y = u * along[best] + v * across[best]
    width, height = high_u[best] - low_u[best], high_v[best] - low_v[best]
    return float(x), float(y), float(width), float(height), float(angles[best])


def _outline(shape: Shape) -> Points:
    if shape.radius == 0:
        return shape.corners
    turns = np.arange(12) * (math.pi / 6)
    circle = shape.radius * np.stack([np.cos(turns), np.sin(turns)], axis=1)
    return (shape.corners[:, None] + circle).reshape(-1, 2)


def _extent(shapes: Sequence[Shape], directions: Points) -> tuple[Points, Points]:
    """Lowest and highest coordinate of the shapes along each direction (D,)."""
    lows, highs = [], []
    for shape in shapes:
        along = (directions[:, None] * shape.corners).sum(axis=2)  # (D, K)
        lows.append(along.min(axis=1) - shape.radius)
        highs.append(along.max(axis=1) + shape.radius)
    return np.min(lows, axis=0), np.max(highs, axis=0)
