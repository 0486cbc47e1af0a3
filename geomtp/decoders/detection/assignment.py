"""Which box belongs to which object."""

from __future__ import annotations

import torch
from torch import Tensor

BACKGROUND = -1
BETWEEN = -2
"""Neither object nor background: too close to tell; never sampled."""


def assign(
    overlaps: Tensor, *, positive: float, negative: float, low_quality: float | None
) -> Tensor:
    """(N,) int64: the object of each box, BACKGROUND or BETWEEN.

    - overlaps: (G, N), IoU of each object with each box
    - positive: from this IoU on, a box belongs to its best object; below ``negative`` to none
    - low_quality: every box that ties an object's best IoU belongs to that object too, if that IoU
      is at least this; None leaves such boxes alone. Later objects win.

    Source: Faster R-CNN (arXiv 1506.01497), as the reference's maximum-IoU assigner does it.
    """
    objects, boxes = overlaps.shape
    assigned = overlaps.new_full((boxes,), BETWEEN, dtype=torch.long)
    if objects == 0 or boxes == 0:
        return assigned.fill_(BACKGROUND)
    best_iou, best_object = overlaps.max(dim=0)
    assigned[best_iou < negative] = BACKGROUND
    assigned = torch.where(best_iou >= positive, best_object, assigned)
    if low_quality is not None:
        best_of_object = overlaps.max(dim=1, keepdim=True).values
        ties = (overlaps == best_of_object) & (best_of_object >= low_quality)
        number = torch.arange(objects, device=overlaps.device)[:, None]
        last = torch.where(ties, number, -1).max(dim=0).values
        assigned = torch.where(last >= 0, last, assigned)
    return assigned


def box_overlaps(objects_xyxy: Tensor, boxes_xyxy: Tensor) -> Tensor:
    """IoU (G, N) of two sets of horizontal boxes; 0 for boxes without area."""
    top_left = torch.maximum(objects_xyxy[:, None, :2], boxes_xyxy[None, :, :2])
    bottom_right = torch.minimum(objects_xyxy[:, None, 2:], boxes_xyxy[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=-1)
    areas = [(b[:, 2] - b[:, 0]) * (b[:, 3] - b[:, 1]) for b in (objects_xyxy, boxes_xyxy)]
    union = areas[0][:, None] + areas[1][None, :] - shared
    return shared / union.clamp(min=1e-6)
