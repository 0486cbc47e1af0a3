"""Rotated boxes: the one angle rule of this project, conversions at its border, and movements.

A rotated box is (cx, cy, w, h, angle): the centre and the two side lengths in pixels, and the angle
in radians by which the side of length w is turned away from the x axis, positive CLOCKWISE as seen
in the image, because y points down::

      0 ─────────────▶ x
      │         --                       angle +30°: the w side falls to the right
      │        ·    · · .
      │       ·           · · .
      ▼     -+         c        · · .    u = w/2 · ( cos angle, sin angle)   along w
      y        · · .                  +- v = h/2 · (-sin angle, cos angle)   along h
                     · · .           ·
                           · · .    ·    ++ = c + u + v     +- = c + u - v
                                 ++      -- = c - u - v     -+ = c - u + v

Worked: (cx 50, cy 40, w 40, h 20, angle π/6) has u = (17.3205, 10), v = (-5, 8.6603), corners
++ (62.3205, 58.6603), +- (72.3205, 41.3397), -- (37.6795, 21.3397), -+ (27.6795, 38.6603).

The same rectangle has many descriptions. The one kept everywhere is **le90**: w ≥ h and angle in
[-π/2, π/2). ``regularise`` brings any description to it; everything else (quadrilaterals, degrees,
OpenCV's and torchvision's rules) is converted at the border, here.

All functions take float32 or float64 tensors, (N, 5) unless said otherwise, N = 0 included, give
the same type back, and never change their arguments. They raise ValueError for other shapes.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from geomtp.types import SizeHW

Direction = Literal["horizontal", "vertical", "diagonal"]
"""Mirror left and right, top and bottom, or both."""


def require_columns(name: str, tensor: Tensor, columns: int) -> None:
    """Raise ValueError unless ``tensor`` has shape (any, columns) and holds floats."""
    if tensor.ndim != 2 or tensor.shape[1] != columns or not tensor.is_floating_point():
        raise ValueError(
            f"{name} must be a float tensor of shape (N, {columns}), "
            f"got {tuple(tensor.shape)} {tensor.dtype}"
        )


def regularise(rboxes: Tensor) -> Tensor:
    """The same rectangles in le90 form: (N, 5), w ≥ h, angle in [-π/2, π/2).

    The sides are kept where w > h and exchanged (angle + π/2) otherwise, so a square is turned by
    a quarter, as the reference does.
    """
    require_columns("rboxes", rboxes, 5)
    cx, cy, w, h, angle = rboxes.unbind(dim=1)
    keep = w > h
    angle = wrap_half_turn(torch.where(keep, angle, angle + math.pi / 2))
    return torch.stack([cx, cy, torch.where(keep, w, h), torch.where(keep, h, w), angle], dim=1)


def wrap_half_turn(angle_rad: Tensor) -> Tensor:
    """Angles modulo π, in [-π/2, π/2); any shape."""
    wrapped = torch.remainder(angle_rad + math.pi / 2, math.pi) - math.pi / 2
    # The remainder of a tiny negative number rounds to π itself.
    return torch.where(wrapped >= math.pi / 2, wrapped - math.pi, wrapped)


def quads_from_rboxes(rboxes: Tensor) -> Tensor:
    """The corners: (N, 4, 2), x y pixels, in the order ++, +-, --, -+ of the drawing."""
    require_columns("rboxes", rboxes, 5)
    centre, u, v = _centre_and_half_sides(rboxes)
    return torch.stack([centre + u + v, centre + u - v, centre - u - v, centre - u + v], dim=1)


def _centre_and_half_sides(rboxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre c and the half sides u, v of the drawing, each (N, 2)."""
    cos, sin = torch.cos(rboxes[:, 4]), torch.sin(rboxes[:, 4])
    u = torch.stack([cos, sin], dim=1) * (rboxes[:, 2:3] / 2)
    v = torch.stack([-sin, cos], dim=1) * (rboxes[:, 3:4] / 2)
    return rboxes[:, :2], u, v


def enclosing_boxes(rboxes: Tensor) -> Tensor:
    """The smallest horizontal boxes around the rotated ones: (N, 4), x1 y1 x2 y2 pixels."""
    require_columns("rboxes", rboxes, 5)
    centre, u, v = _centre_and_half_sides(rboxes)
    reach = u.abs() + v.abs()
    return torch.cat([centre - reach, centre + reach], dim=1)


def rboxes_from_boxes(boxes_xyxy: Tensor) -> Tensor:
    """Horizontal boxes (N, 4) as rotated ones: (N, 5), le90 (an upright one gets angle -π/2)."""
    require_columns("boxes_xyxy", boxes_xyxy, 4)
    corner, opposite = boxes_xyxy[:, :2], boxes_xyxy[:, 2:]
    angle = torch.zeros_like(boxes_xyxy[:, :1])
    return regularise(torch.cat([(corner + opposite) / 2, opposite - corner, angle], dim=1))


def flip(rboxes: Tensor, direction: Direction, size_hw: SizeHW) -> Tensor:
    """The boxes of the mirrored image of height and width ``size_hw``: (N, 5), le90.

    Raises ValueError for another direction.
    """
    require_columns("rboxes", rboxes, 5)
    if direction not in ("horizontal", "vertical", "diagonal"):
        raise ValueError(f"direction must be horizontal, vertical or diagonal, got {direction!r}")
    cx, cy, w, h, angle = rboxes.unbind(dim=1)
    if direction != "vertical":
        cx = size_hw[1] - cx
    if direction != "horizontal":
        cy = size_hw[0] - cy
    if direction != "diagonal":  # two mirrors are a half turn, which leaves the rectangle's angle
        angle = -angle
    return regularise(torch.stack([cx, cy, w, h, angle], dim=1))


def rotate(rboxes: Tensor, centre_xy: tuple[float, float], angle_rad: float) -> Tensor:
    """The boxes turned about ``centre_xy`` by ``angle_rad``, clockwise as seen: (N, 5), le90."""
    require_columns("rboxes", rboxes, 5)
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    dx, dy = rboxes[:, 0] - centre_xy[0], rboxes[:, 1] - centre_xy[1]
    cx = centre_xy[0] + cos * dx - sin * dy
    cy = centre_xy[1] + sin * dx + cos * dy
    w, h, angle = rboxes[:, 2], rboxes[:, 3], rboxes[:, 4] + angle_rad
    return regularise(torch.stack([cx, cy, w, h, angle], dim=1))


def translate(rboxes: Tensor, shift_xy: tuple[float, float]) -> Tensor:
    """The boxes moved by ``shift_xy`` pixels: (N, 5)."""
    require_columns("rboxes", rboxes, 5)
    return torch.cat([rboxes[:, :2] + rboxes.new_tensor(shift_xy), rboxes[:, 2:]], dim=1)


def rescale(rboxes: Tensor, scale_xy: tuple[float, float]) -> Tensor:
    """The boxes of the image resized by ``scale_xy``: (N, 5), le90.

    A resize that differs in x and y turns a rectangle into a parallelogram, which no rotated box
    describes. As the reference does, w and h become the lengths of its two sides and the angle
    is that of the normal of the h side. (Convert to quadrilaterals, scale those and
    take ``rboxes_from_quads`` for the enclosing rectangle.)
    """
    require_columns("rboxes", rboxes, 5)
    scale_x, scale_y = scale_xy
    cos, sin = torch.cos(rboxes[:, 4]), torch.sin(rboxes[:, 4])
    w = rboxes[:, 2] * torch.hypot(scale_x * cos, scale_y * sin)
    h = rboxes[:, 3] * torch.hypot(scale_x * sin, scale_y * cos)
    angle = torch.atan2(scale_x * sin, scale_y * cos)
    return regularise(
        torch.stack([rboxes[:, 0] * scale_x, rboxes[:, 1] * scale_y, w, h, angle], dim=1)
    )


def points_inside(points_xy: Tensor, rboxes: Tensor) -> Tensor:
    """Which points (P, 2) lie inside or on the border of which boxes (N, 5): (P, N) bool."""
    require_columns("points_xy", points_xy, 2)
    require_columns("rboxes", rboxes, 5)
    cos, sin = torch.cos(rboxes[:, 4]), torch.sin(rboxes[:, 4])
    dx = points_xy[:, None, 0] - rboxes[None, :, 0]
    dy = points_xy[:, None, 1] - rboxes[None, :, 1]
    along_w = (dx * cos + dy * sin).abs() <= rboxes[:, 2] / 2
    along_h = (dy * cos - dx * sin).abs() <= rboxes[:, 3] / 2
    return along_w & along_h


def to_opencv(rboxes: Tensor) -> Tensor:
    """(N, 5) as OpenCV's ``minAreaRect`` (4.5 and later): angle in DEGREES, in (0, 90]."""
    cx, cy, w, h, angle = regularise(rboxes).unbind(dim=1)
    degrees = torch.rad2deg(angle)
    keep = degrees > 0
    degrees = torch.where(keep, degrees, degrees + 90)
    return torch.stack([cx, cy, torch.where(keep, w, h), torch.where(keep, h, w), degrees], dim=1)


def from_opencv(rects_deg: Tensor) -> Tensor:
    """OpenCV's (cx, cy, w, h, degrees), (N, 5), of any version's range, as le90 rotated boxes."""
    require_columns("rects_deg", rects_deg, 5)
    return regularise(torch.cat([rects_deg[:, :4], torch.deg2rad(rects_deg[:, 4:])], dim=1))


def to_torchvision(rboxes: Tensor) -> Tensor:
    """(N, 5) as torchvision's ``CXCYWHR``: angle in DEGREES, positive counter-clockwise."""
    require_columns("rboxes", rboxes, 5)
    return torch.cat([rboxes[:, :4], -torch.rad2deg(rboxes[:, 4:])], dim=1)


def from_torchvision(boxes_cxcywhr: Tensor) -> Tensor:
    """Boxes in torchvision's ``CXCYWHR``, (N, 5), as le90 rotated boxes."""
    require_columns("boxes_cxcywhr", boxes_cxcywhr, 5)
    return regularise(
        torch.cat([boxes_cxcywhr[:, :4], -torch.deg2rad(boxes_cxcywhr[:, 4:])], dim=1)
    )
