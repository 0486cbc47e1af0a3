"""Windows that slide over an image, and the mean of what is said where they overlap."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW


def slide_windows(size_hw: SizeHW, crop_px: int, stride_px: int) -> list[WindowXYXY]:
    """The windows of an image, row by row: x1 y1 x2 y2 pixels, all of one size.

    They start every ``stride_px`` pixels; the last of a row or column is moved back inside. An
    image that is smaller than a window has windows of its own size. (The grid of mmsegmentation.)
    """
    tops, lefts = (_starts(side, crop_px, stride_px) for side in size_hw)
    height, width = (min(side, crop_px) for side in size_hw)
    return [(x, y, x + width, y + height) for y in tops for x in lefts]


def _starts(length: int, crop_px: int, stride_px: int) -> list[int]:
    last = max(length - crop_px, 0)
    count = -(-last // stride_px) + 1
    return [min(i * stride_px, last) for i in range(count)]


def mean_of_windows(parts: Iterable[tuple[WindowXYXY, Tensor]], size_hw: SizeHW) -> Tensor:
    """The mean of the maps (K, h, w) of windows at each pixel of the image: (K, H, W) float32.

    Raises ValueError where the windows leave pixels out.
    """
    total = torch.zeros(())
    count = torch.zeros(size_hw)
    for (x1, y1, x2, y2), maps in parts:
        if total.ndim == 0:
            total, count = maps.new_zeros(len(maps), *size_hw), count.to(maps.device)
        total[:, y1:y2, x1:x2] += maps
        count[y1:y2, x1:x2] += 1
    if (count == 0).any():
        raise ValueError(f"the windows do not cover all of an image of {size_hw[1]} × {size_hw[0]}")
    return total / count
