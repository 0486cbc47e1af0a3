"""The pixels of an image as segmenters want them: red, green, blue, 8 bits, window by window."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.rasters import WindowXYXY, raster_info, read_window
from geomtp.types import SizeHW

_WHOLE_BYTES = 256_000_000  # below this an image is decoded once and kept; pictures must be anyway
_STRETCH = (2, 98)  # percentiles of each band that become 0 and 255


class ImagePixels:
    """The image ``path``, whose windows are read as (H, W, 3) uint8.

    8-bit bands are taken as they are; others are stretched between the 2nd and 98th percentile of
    each band in the window. Of more than three bands the first three are taken for red, green and
    blue; with fewer the first serves for all. Small images are held in memory, large ones (as far
    as their format allows it) read by window.

    Raises ValueError when the image's size is not ``size_hw``; FileNotFoundError or OSError for a
    missing or damaged file.
    """

    def __init__(self, path: Path, size_hw: SizeHW) -> None:
        info = raster_info(path)
        if info.size_hw != size_hw:
            raise ValueError(
                f"{path} is {info.size_hw[1]} wide and {info.size_hw[0]} high, its annotations are "
                f"for {size_hw[1]} × {size_hw[0]}: are they of another version of the image?"
            )
        self._path = path
        self._bands = (0, 1, 2) if info.bands >= 3 else (0,)
        size = size_hw[0] * size_hw[1] * len(self._bands) * np.dtype(info.dtype).itemsize
        self._whole = read_window(path, bands=self._bands) if size <= _WHOLE_BYTES else None

    def read(self, window_xyxy: WindowXYXY) -> NDArray[np.uint8]:
        """The pixels of a window: (y2 - y1, x2 - x1, 3)."""
        x1, y1, x2, y2 = window_xyxy
        if self._whole is not None:
            pixels = self._whole[y1:y2, x1:x2]
        else:
            pixels = read_window(self._path, window_xyxy, self._bands)
        if pixels.dtype != np.uint8:
            pixels = _stretched(pixels)
        return np.ascontiguousarray(pixels if pixels.shape[2] == 3 else pixels.repeat(3, axis=2))


def _stretched(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    values = pixels.astype(np.float32)
    values[~np.isfinite(values)] = 0
    low, high = np.percentile(values, _STRETCH, axis=(0, 1))
    shares = (values - low) / np.maximum(high - low, 1e-6)
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)
