"""Which part of a large image each object is looked at in."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW

_OVERLAP = 0.25  # of neighbouring windows; an object of this share fits wholly into one of them


def prompt_windows(
    boxes_xyxy: NDArray[np.float64],
    size_hw: SizeHW,
    window_px: int,
    *,
    zoom_below_px: float = 0,
    zoom_px: int = 256,
) -> list[tuple[WindowXYXY, list[int]]]:
    """Windows, and the boxes (N, 4) that are looked at in each: every box in exactly one.

    An image that fits into ``window_px`` is one window. Otherwise windows of this size lie in a
    grid with overlaps of a quarter, and a box belongs to the one whose centre is nearest. Boxes
    that stick out of it are looked at in windows twice as large, and so on. Boxes with a long side
    below ``zoom_below_px`` use windows of ``zoom_px``, which a model then sees enlarged.

    Only windows with boxes come back, sorted by size and place; indices rise in each.
    """
    groups: dict[tuple[int, WindowXYXY], list[int]] = {}
    for index, box in enumerate(boxes_xyxy.tolist()):
        x1, y1, x2, y2 = box
        size = zoom_px if max(x2 - x1, y2 - y1) < zoom_below_px else window_px
        window = _nearest(box, size_hw, size)
        while not _contains(window, box) and size < max(size_hw):
            size *= 2
            window = _nearest(box, size_hw, size)
        groups.setdefault((size, window), []).append(index)
    return [(window, groups[size, window]) for size, window in sorted(groups)]


def _nearest(box_xyxy: list[float], size_hw: SizeHW, size: int) -> WindowXYXY:
    x1, y1, x2, y2 = box_xyxy
    left, right = _along((x1 + x2) / 2, size_hw[1], size)
    top, bottom = _along((y1 + y2) / 2, size_hw[0], size)
    return (left, top, right, bottom)


def _along(centre: float, length: int, size: int) -> tuple[int, int]:
    """Start and end of the window of a row of them that has the nearest centre."""
    if size >= length:
        return (0, length)
    step = max(round(size * (1 - _OVERLAP)), 1)
    last = length - size
    at = round((centre - size / 2) / step) * step
    starts = {min(max(at + k * step, 0), last) for k in (-1, 0, 1)} | {last}
    start = min(sorted(starts), key=lambda s: abs(s + size / 2 - centre))
    return (start, start + size)


def _contains(window_xyxy: WindowXYXY, box_xyxy: list[float]) -> bool:
    return (
        window_xyxy[0] <= box_xyxy[0]
        and window_xyxy[1] <= box_xyxy[1]
        and window_xyxy[2] >= box_xyxy[2]
        and window_xyxy[3] >= box_xyxy[3]
    )
