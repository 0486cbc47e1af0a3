"""Non-maximum suppression of rotated boxes."""

from __future__ import annotations

import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import require_columns
from geomtp.geometry.rotated_iou import rotated_iou


def rotated_nms(
    boxes_cxcywha: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Indices of the boxes to keep, by falling score (equal scores in their given order): (K,).

    A box (N, 5) is dropped when its IoU with a kept box of higher score is GREATER than
    ``iou_threshold``. With ``labels`` (N,) only boxes of one label suppress each other.

    Raises ValueError for shapes that do not fit.
    """
    require_columns("boxes_cxcywha", boxes_cxcywha, 5)
    order = torch.argsort(scores, descending=True, stable=True)
    boxes = boxes_cxcywha[order]
    rank = torch.arange(len(boxes), device=boxes.device)
    alive = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
    for i in range(len(boxes)):
        if alive[i]:
            rest = rank[i + 1 :][alive[i + 1 :]]
            if labels is not None:
                rest = rest[labels[order[rest]] == labels[order[i]]]
            overlap = rotated_iou(boxes[i : i + 1].double(), boxes[rest])[0]
            alive[rest[overlap > iou_threshold]] = False
    return order[alive]
