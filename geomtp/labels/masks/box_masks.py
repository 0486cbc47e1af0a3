"""Rotated boxes as pixels of a part of the image."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.geometry import enclosing_boxes, masks_from_rboxes
from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW


def inner_window(bounds_xyxy: Sequence[float], size_hw: SizeHW) -> WindowXYXY:
    """The whole pixels around ``bounds_xyxy`` inside the image, at least one pixel."""
    height, width = size_hw
    x1 = min(max(math.floor(bounds_xyxy[0]), 0), width - 1)
    y1 = min(max(math.floor(bounds_xyxy[1]), 0), height - 1)
    x2 = min(max(math.ceil(bounds_xyxy[2]), x1 + 1), width)
    y2 = min(max(math.ceil(bounds_xyxy[3]), y1 + 1), height)
    return (x1, y1, x2, y2)


def box_window(rbox_cxcywha: NDArray[np.float64], size_hw: SizeHW) -> WindowXYXY:
    """The whole pixels around a rotated box (5,) inside the image, at least one pixel."""
    bounds = enclosing_boxes(torch.from_numpy(rbox_cxcywha)[None])[0]
    return inner_window(bounds.tolist(), size_hw)


def box_mask(rbox_cxcywha: NDArray[np.float64], window_xyxy: WindowXYXY) -> NDArray[np.bool_]:
    """The pixels of a window whose centre lies in a rotated box (5,): (y2 - y1, x2 - x1)."""
    x1, y1, x2, y2 = window_xyxy
    moved = torch.from_numpy(rbox_cxcywha - np.array([x1, y1, 0, 0, 0], dtype=np.float64))
    return masks_from_rboxes(moved[None], (y2 - y1, x2 - x1))[0].numpy()


def grown(rbox_cxcywha: NDArray[np.float64], margin_px: float) -> NDArray[np.float64]:
    """A rotated box (5,) with ``margin_px`` more on each of its four sides; below 0: less."""
    result = rbox_cxcywha.copy()
    result[2:4] = np.maximum(result[2:4] + 2 * margin_px, 0)
    return result
