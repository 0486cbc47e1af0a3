"""Mirrored views of an image, and predictions of them turned back."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import flip as flip_rboxes
from geomtp.inference.predict_config import Flip
from geomtp.types import Predictions, SizeHW

_FLIP_DIMS: dict[Flip, tuple[int, ...]] = {
    "horizontal": (-1,),
    "vertical": (-2,),
    "diagonal": (-2, -1),
}


def flipped_pixels(pixels: Tensor, flip: Flip | None) -> Tensor:
    """(…, H, W), mirrored."""
    return pixels if flip is None else pixels.flip(_FLIP_DIMS[flip])


def unflipped(found: Predictions, flip: Flip | None, size_hw: SizeHW) -> Predictions:
    """Predictions of the mirrored image of height and width ``size_hw``, for the image itself."""
    if flip is None:
        return found
    boxes = found.boxes
    if boxes is not None:
        x1, y1, x2, y2 = boxes.unbind(dim=1)
        if flip != "vertical":
            x1, x2 = size_hw[1] - x2, size_hw[1] - x1
        if flip != "horizontal":
            y1, y2 = size_hw[0] - y2, size_hw[0] - y1
        boxes = torch.stack([x1, y1, x2, y2], dim=1)
    semantic, change, masks = found.semantic_logits, found.change_logits, found.masks
    return dataclasses.replace(
        found,
        semantic_logits=None if semantic is None else flipped_pixels(semantic, flip),
        change_logits=None if change is None else flipped_pixels(change, flip),
        boxes=boxes,
        masks=None if masks is None else flipped_pixels(masks, flip),
        rboxes=None if found.rboxes is None else flip_rboxes(found.rboxes, flip, size_hw),
    )
