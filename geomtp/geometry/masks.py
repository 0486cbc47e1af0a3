"""Masks of instances: COCO run-lengths, boxes around masks, masks of polygons and rotated boxes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import points_inside
from geomtp.types import SizeHW


def encode_rle(masks: Tensor | np.ndarray) -> list[bytes]:
    """Masks (N, H, W) as COCO's compressed run-lengths, one ``bytes`` each."""
    from faster_coco_eval.core import mask as coco

    array = np.asarray(masks.cpu() if isinstance(masks, Tensor) else masks)
    columns_first = np.asfortranarray(array.transpose(1, 2, 0), dtype=np.uint8)
    return [rle["counts"] for rle in coco.encode(columns_first)]


def decode_rle(rles: Sequence[bytes], size_hw: SizeHW) -> Tensor:
    """The masks of COCO run-lengths: (N, H, W) bool."""
    from faster_coco_eval.core import mask as coco

    if not rles:
        return torch.zeros(0, *size_hw, dtype=torch.bool)
    decoded = coco.decode([{"size": list(size_hw), "counts": rle} for rle in rles])
    return torch.from_numpy(np.ascontiguousarray(decoded.transpose(2, 0, 1))).bool()


def mask_boxes(masks: Tensor) -> Tensor:
    """Boxes around masks (N, H, W): (N, 4), x1 y1 first foreground column and row, x2 y2 the last
    plus one; zeros where a mask is empty.
    """
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    for axis, along in ((0, masks.any(dim=1)), (1, masks.any(dim=2))):
        size = along.shape[1]
        first = along.int().argmax(dim=1)
        last = size - along.flip(1).int().argmax(dim=1)
        empty = ~along.any(dim=1)
        boxes[:, axis] = first.masked_fill(empty, 0)
        boxes[:, axis + 2] = last.masked_fill(empty, 0)
    return boxes


def masks_from_rboxes(rboxes: Tensor, size_hw: SizeHW) -> Tensor:
    """The pixels whose centre lies inside each rotated box (N, 5): (N, H, W) bool."""
    height, width = size_hw
    y, x = torch.meshgrid(
        torch.arange(height, device=rboxes.device) + 0.5,
        torch.arange(width, device=rboxes.device) + 0.5,
        indexing="ij",
    )
    centres = torch.stack([x.flatten(), y.flatten()], dim=1).to(rboxes.dtype)
    return points_inside(centres, rboxes).T.reshape(-1, height, width)
