"""What is kept of the horizontal boxes that a detector finds in an image."""

from __future__ import annotations

from torch import Tensor
from torchvision.ops import batched_nms

from geomtp.types import SizeHW


def best_boxes(
    boxes_xyxy: Tensor, scores: Tensor, labels: Tensor, *, nms_iou: float, most: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (N, 4), scores and labels (N,) by falling score, at most ``most``.

    Of two boxes of one class that overlap by more than ``nms_iou`` the better is kept.
    """
    kept = batched_nms(boxes_xyxy, scores, labels, nms_iou)[:most]
    return boxes_xyxy[kept], scores[kept], labels[kept]


def scaled_boxes(boxes_xyxy: Tensor, size_hw: SizeHW, output_hw: SizeHW) -> Tensor:
    """Boxes of an image of ``size_hw`` in pixels of the same image at ``output_hw``."""
    scale_y, scale_x = output_hw[0] / size_hw[0], output_hw[1] / size_hw[1]
    return boxes_xyxy * boxes_xyxy.new_tensor([scale_x, scale_y, scale_x, scale_y])
