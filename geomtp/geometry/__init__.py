"""Pure tensor maths: rotated boxes and their angle rule, overlap, suppression, pooling, masks.

Movements of rotated boxes (flip, rotate, translate, rescale) and foreign angle rules are in the
module ``geomtp.geometry.rotated_boxes``.
"""

from geomtp.geometry.mask_polygons import polygons_from_mask, rle_from_polygons
from geomtp.geometry.masks import (
    decode_rle,
    decode_rle_crop,
    encode_rle,
    mask_boxes,
    masks_from_rboxes,
    rle_area,
)
from geomtp.geometry.minimum_rectangles import minimum_area_rbox, rboxes_from_quads
from geomtp.geometry.rotated_boxes import (
    enclosing_boxes,
    points_inside,
    quads_from_rboxes,
    rboxes_from_boxes,
    regularise,
)
from geomtp.geometry.rotated_iou import (
    largest_rotated_iou,
    rotated_iou,
    rotated_iou_pairs,
)
from geomtp.geometry.rotated_nms import rotated_nms
from geomtp.geometry.rotated_roi_align import rotated_roi_align
from geomtp.geometry.sweep_nms import NmsSweep, sweep_nms

__all__ = [
    "NmsSweep",
    "decode_rle",
    "decode_rle_crop",
    "enclosing_boxes",
    "encode_rle",
    "largest_rotated_iou",
    "mask_boxes",
    "masks_from_rboxes",
    "minimum_area_rbox",
    "points_inside",
    "polygons_from_mask",
    "quads_from_rboxes",
    "rboxes_from_boxes",
    "rboxes_from_quads",
    "regularise",
    "rle_area",
    "rle_from_polygons",
    "rotated_iou",
    "rotated_iou_pairs",
    "rotated_nms",
    "rotated_roi_align",
    "sweep_nms",
]
