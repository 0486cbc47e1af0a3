"""Mean and standard deviation of a data set's images, measured on a sample."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geomtp.labels.hash_order import hash_order
from geomtp.rasters import raster_info, read_window
from geomtp.types import SizeHW

_SIDE_PX = 1024  # of a large image, the middle says enough


def measure_mean_std(
    image_root: Path, images: Sequence[str], channels: int, *, sample: int = 100
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel over all pixels of ``sample`` of the images.

    The sample depends on the names only (those that hash lowest), and of each image the middle
    1024 × 1024 pixels are read. Images that cannot be read are passed over. A channel that is the
    same everywhere gets the standard deviation 1.

    Raises ValueError when an image has fewer channels, or none can be read.
    """
    count, total, squares = 0, np.zeros(channels), np.zeros(channels)
    tried = hash_order(images)[:sample]
    for name in tried:
        try:
            window = _middle(raster_info(image_root / name).size_hw)
            pixels = read_window(image_root / name, window, bands=range(channels))
        except OSError:
            continue
        except ValueError as error:
            raise ValueError(
                f"{name} cannot be read with {channels} channels ({error}); say how many the "
                f"images have"
            ) from error
        values = pixels.reshape(-1, channels).astype(np.float64)
        values = values[np.isfinite(values).all(axis=1)]  # no data
        count += len(values)
        total += values.sum(axis=0)
        squares += np.square(values).sum(axis=0)
    if not count:
        first = f", such as {image_root / tried[0]}" if tried else ""
        raise ValueError(f"none of {len(tried)} images can be read to measure their mean{first}")
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    std[std < 1e-6] = 1.0
    return tuple(mean.round(4).tolist()), tuple(std.round(4).tolist())


def _middle(size_hw: SizeHW) -> tuple[int, int, int, int]:
    height, width = size_hw
    y, x = max(height - _SIDE_PX, 0) // 2, max(width - _SIDE_PX, 0) // 2
    return (x, y, x + min(width, _SIDE_PX), y + min(height, _SIDE_PX))
