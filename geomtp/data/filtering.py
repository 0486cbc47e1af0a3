"""Which boxes of an image are still objects in a view of it.

A box is kept when its centre lies inside the view or at least ``visible_fraction`` of it does.
Where boxes and rotated boxes are the same objects row by row, the rotated box decides for both, so
that all tasks are taught the same objects. All boxes here are in pixels of the view.
"""

from __future__ import annotations

from typing import Any

import shapely
import torch
from torch import Tensor

from geomtp.geometry import enclosing_boxes, quads_from_rboxes, rboxes_from_boxes, rotated_iou
from geomtp.types import SizeHW

geos: Any = shapely  # few of its functions carry types

_LEAST_SIDE_PX = 1e-5  # a box that is thinner holds nothing


def clipped(boxes_xyxy: Tensor, size_hw: SizeHW) -> Tensor:
    """Boxes (N, 4) cut off at the borders of the view: (N, 4)."""
    height, width = size_hw
    return boxes_xyxy.clamp(min=0).minimum(boxes_xyxy.new_tensor([width, height, width, height]))


def with_area(boxes_xyxy: Tensor) -> Tensor:
    """Which boxes (N, 4) have width and height: (N,) bool."""
    return (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2] > _LEAST_SIDE_PX).all(dim=1)


def same_objects(
    boxes_xyxy: Tensor, box_labels: Tensor, rboxes_cxcywha: Tensor, rbox_labels: Tensor
) -> bool:
    """Whether two lists describe the same objects in the same order: equal in number and labels,
    and every box touches the rotated one of its row.
    """
    if not torch.equal(box_labels, rbox_labels):
        return False
    around = enclosing_boxes(rboxes_cxcywha)
    apart = (boxes_xyxy[:, :2] > around[:, 2:]) | (boxes_xyxy[:, 2:] < around[:, :2])
    return not bool(apart.any())


def visible_boxes(boxes_xyxy: Tensor, size_hw: SizeHW, visible_fraction: float) -> Tensor:
    """Which boxes (N, 4) are kept: (N,) bool."""
    inside = clipped(boxes_xyxy, size_hw)
    area = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(dim=1)
    seen = (inside[:, 2:] - inside[:, :2]).clamp(min=0).prod(dim=1)
    enough = (seen >= visible_fraction * area) & (seen > 0)
    return _inside((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2, size_hw) | enough


def visible_rboxes(rboxes_cxcywha: Tensor, size_hw: SizeHW, visible_fraction: float) -> Tensor:
    """Which rotated boxes (N, 5) are kept: (N,) bool."""
    height, width = size_hw
    kept = centred_rboxes(rboxes_cxcywha, size_hw)
    unclear = (~kept).nonzero()[:, 0]
    view = rboxes_cxcywha.new_tensor([[width / 2, height / 2, width, height, 0]])
    seen = rotated_iou(rboxes_cxcywha[unclear], view, mode="iof")[:, 0]
    kept[unclear] = (seen >= visible_fraction) & (seen > 0)
    return kept


def upright_where_cut(rboxes_cxcywha: Tensor, size_hw: SizeHW) -> Tensor:
    """Rotated boxes (N, 5), but those that leave the view are upright boxes round what is seen.

    Upright: of angle 0 or, where they are higher than wide, −π/2.
    """
    height, width = size_hw
    around = enclosing_boxes(rboxes_cxcywha)
    cut = (clipped(around, size_hw) != around).any(dim=1)
    quads = geos.polygons(quads_from_rboxes(rboxes_cxcywha[cut]).double().numpy())
    seen = geos.bounds(geos.intersection(quads, geos.box(0, 0, width, height)))
    found = rboxes_cxcywha.clone()
    found[cut] = rboxes_from_boxes(torch.from_numpy(seen).to(found).reshape(-1, 4))
    return found


def overlapping_boxes(boxes_xyxy: Tensor, size_hw: SizeHW) -> Tensor:
    """Which boxes (N, 4) overlap the view, however little: (N,) bool."""
    return with_area(clipped(boxes_xyxy, size_hw))


def centred_rboxes(rboxes_cxcywha: Tensor, size_hw: SizeHW) -> Tensor:
    """Which rotated boxes (N, 5) have their centre in the view: (N,) bool."""
    return _inside(rboxes_cxcywha[:, :2], size_hw)


def _inside(points_xy: Tensor, size_hw: SizeHW) -> Tensor:
    """Which points (N, 2) lie inside the view or on its border: (N,) bool."""
    height, width = size_hw
    inside = (points_xy >= 0) & (points_xy <= points_xy.new_tensor([width, height]))
    return inside.all(dim=1)
