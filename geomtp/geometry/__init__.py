"""Pure tensor maths: rotated boxes and their rule, their overlap and suppression, pooling, masks."""

from geomtp.geometry.masks import decode_rle, encode_rle, mask_boxes, masks_from_rboxes
from geomtp.geometry.minimum_rectangles import minimum_area_rbox, rboxes_from_quads
from geomtp.geometry.rotated_boxes import (
    enclosing_boxes,
    quads_from_rboxes,
    rboxes_from_boxes,
    regularise,
)
from geomtp.geometry.rotated_iou import rotated_iou, rotated_iou_pairs
from geomtp.geometry.rotated_nms import rotated_nms
from geomtp.geometry.rotated_roi_align import rotated_roi_align

__all__ = [
    "decode_rle",
    "enclosing_boxes",
    "encode_rle",
    "mask_boxes",
    "masks_from_rboxes",
    "minimum_area_rbox",
    "quads_from_rboxes",
    "rboxes_from_boxes",
    "rboxes_from_quads",
    "regularise",
    "rotated_iou",
    "rotated_iou_pairs",
    "rotated_nms",
    "rotated_roi_align",
]
