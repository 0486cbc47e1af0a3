"""Boxes as corrections to other boxes, and back."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from geomtp.geometry import enclosing_boxes, quads_from_rboxes, regularise
from geomtp.types import SizeHW

MAX_LOG_SCALE = abs(math.log(16 / 1000))
"""Sizes change at most by this factor's exponential, 62.5."""


class ProposalCoder(ABC):
    """Corrections that turn horizontal anchors into proposals; ``size`` numbers each."""

    size: int

    @abstractmethod
    def encode(self, anchors_xyxy: Tensor, boxes: Tensor) -> Tensor:
        """(N, size): the corrections that turn each anchor into its box."""

    @abstractmethod
    def decode(self, anchors_xyxy: Tensor, deltas: Tensor, size_hw: SizeHW) -> Tensor:
        """The proposals (N, 4 or 5) of an image of ``size_hw``."""

    @abstractmethod
    def enclosing(self, boxes: Tensor) -> Tensor:
        """The enclosing horizontal boxes (N, 4) of proposals or objects."""

    @abstractmethod
    def sides(self, boxes: Tensor) -> Tensor:
        """Width and height (N, 2) of proposals; a saturated correction can leave one at 0."""


class HorizontalCoder(ProposalCoder):
    """Shift and log scale of a horizontal box, divided by ``stds``; decoding clips to the image.

    Source: R-CNN (arXiv 1311.2524), appendix C.
    """

    size = 4

    def __init__(self, stds: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self.stds = stds

    def encode(self, anchors_xyxy: Tensor, boxes: Tensor) -> Tensor:
        """(N, 4): dx, dy in sides of the anchor, log scales of width and height."""
        centre, size = _centre_and_size(anchors_xyxy)
        box_centre, box_size = _centre_and_size(boxes)
        deltas = torch.cat([(box_centre - centre) / size, (box_size / size).log()], dim=-1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(self, anchors_xyxy: Tensor, deltas: Tensor, size_hw: SizeHW) -> Tensor:
        """(N, 4) or, for deltas (N, K, 4) and anchors (N, 1, 4), (N, K, 4)."""
        deltas = deltas * deltas.new_tensor(self.stds)
        centre, size = _centre_and_size(anchors_xyxy)
        centre = centre + deltas[..., :2] * size
        half = size * deltas[..., 2:].clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp() / 2
        boxes = torch.cat([centre - half, centre + half], dim=-1)
        limit = boxes.new_tensor([size_hw[1], size_hw[0], size_hw[1], size_hw[0]])
        return torch.minimum(boxes.clamp(min=0), limit)

    def enclosing(self, boxes: Tensor) -> Tensor:
        """The boxes themselves."""
        return boxes

    def sides(self, boxes: Tensor) -> Tensor:
        """Width and height (N, 2)."""
        return boxes[:, 2:] - boxes[:, :2]


class MidpointOffsetCoder(ProposalCoder):
    """A rotated box as its enclosing box and where it touches the top and the right side.

    Source: Oriented R-CNN (arXiv 2108.05699), section 3.1.
    """

    size = 6
    stds = (1.0, 1.0, 1.0, 1.0, 0.5, 0.5)

    def encode(self, anchors_xyxy: Tensor, boxes: Tensor) -> Tensor:
        """(N, 6): corrections of the enclosing box, then the offsets of top and right contact."""
        rboxes = regularise(boxes)
        quads = quads_from_rboxes(rboxes)
        outer = enclosing_boxes(rboxes)
        x, y = quads.unbind(-1)
        # Of an axis-aligned box two vertices touch a side: the reference takes the farther one.
        at_top = (y - outer[:, 1:2]).abs() <= 0.1
        at_right = (x - outer[:, 2:3]).abs() <= 0.1
        top_x = torch.where(at_top, x, -1000.0).max(dim=-1).values
        right_y = torch.where(at_right, y, -1000.0).max(dim=-1).values
        centre, size = _centre_and_size(outer)
        contact = (torch.stack([top_x, right_y], dim=-1) - centre) / size
        horizontal = HorizontalCoder().encode(anchors_xyxy, outer)
        deltas = torch.cat([horizontal, contact], dim=-1)
        return deltas / deltas.new_tensor(self.stds)

    def decode(self, anchors_xyxy: Tensor, deltas: Tensor, size_hw: SizeHW) -> Tensor:
        """Rotated boxes (N, 5), le90; not clipped to the image."""
        deltas = deltas * deltas.new_tensor(self.stds)
        centre, size = _centre_and_size(anchors_xyxy)
        centre = centre + deltas[:, :2] * size
        size = size * deltas[:, 2:4].clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp()
        contact = deltas[:, 4:6].clamp(-0.5, 0.5) * size
        # Half-diagonals to the top and to the right contact; the other two are their opposites.
        top = torch.stack([contact[:, 0], -size[:, 1] / 2], dim=-1)
        right = torch.stack([size[:, 0] / 2, contact[:, 1]], dim=-1)
        lengths = torch.stack([top.norm(dim=-1), right.norm(dim=-1)], dim=-1)
        longest = lengths.max(dim=-1, keepdim=True).values
        top = top * (longest / lengths[:, :1])
        right = right * (longest / lengths[:, 1:])
        # Equal diagonals that halve each other make a rectangle: its sides are known.
        along, across = right - top, right + top
        angle = torch.atan2(along[:, 1], along[:, 0])
        sides = torch.stack([along.norm(dim=-1), across.norm(dim=-1), angle], dim=-1)
        return regularise(torch.cat([centre, sides], dim=-1))

    def enclosing(self, boxes: Tensor) -> Tensor:
        """The enclosing horizontal boxes (N, 4)."""
        return enclosing_boxes(boxes)

    def sides(self, boxes: Tensor) -> Tensor:
        """Width and height (N, 2), the longer first."""
        return boxes[:, 2:4]


class RotatedCoder:
    """Corrections of rotated boxes in the proposal's own frame, sides exchanged where shorter.

    Source: RoI Transformer (arXiv 1812.00155) with the reference's edge swap and le90 angles.
    """

    size = 5
    stds = (0.1, 0.1, 0.2, 0.2, 0.1)

    def encode(self, proposals: Tensor, boxes: Tensor) -> Tensor:
        """(N, 5): dx, dy along the proposal's sides, log scales, and the turn."""
        boxes = regularise(boxes)
        shift = _turned(boxes[:, :2] - proposals[:, :2], -proposals[:, 4])
        straight = _quarter(boxes[:, 4] - proposals[:, 4])
        swapped = _quarter(boxes[:, 4] - proposals[:, 4] + math.pi / 2)
        keep = (straight.abs() < swapped.abs())[:, None]
        size = torch.where(keep, boxes[:, 2:4], boxes[:, [3, 2]])
        turn = torch.where(keep[:, 0], straight, swapped)
        deltas = torch.cat(
            [shift / proposals[:, 2:4], (size / proposals[:, 2:4]).log(), turn[:, None]], dim=-1
        )
        return deltas / deltas.new_tensor(self.stds)

    def decode(self, proposals: Tensor, deltas: Tensor, size_hw: SizeHW | None) -> Tensor:
        """Rotated boxes (N, 5), le90, their centres clamped into the image (if a size is given)."""
        deltas = deltas * deltas.new_tensor(self.stds)
        shift = _turned(deltas[:, :2] * proposals[:, 2:4], proposals[:, 4])
        centre = proposals[:, :2] + shift
        if size_hw is not None:
            limit = centre.new_tensor([size_hw[1] - 1, size_hw[0] - 1])
            centre = torch.minimum(centre.clamp(min=0), limit)
        scale = deltas[:, 2:4].clamp(-MAX_LOG_SCALE, MAX_LOG_SCALE).exp()
        angle = proposals[:, 4:] + deltas[:, 4:]
        return regularise(torch.cat([centre, proposals[:, 2:4] * scale, angle], dim=-1))


def _centre_and_size(boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    near, far = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return (near + far) / 2, far - near


def _turned(vectors: Tensor, angle_rad: Tensor) -> Tensor:
    """``vectors`` (N, 2) turned clockwise (as seen, y down) by ``angle_rad`` (N,)."""
    cos, sin = angle_rad.cos(), angle_rad.sin()
    x, y = vectors.unbind(-1)
    return torch.stack([x * cos - y * sin, x * sin + y * cos], dim=-1)


def _quarter(angle_rad: Tensor) -> Tensor:
    """Angles folded into [−π/2, π/2)."""
    return (angle_rad + math.pi / 2) % math.pi - math.pi / 2
