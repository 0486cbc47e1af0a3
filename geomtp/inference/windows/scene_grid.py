"""How a scene is cut into windows and blocks."""

from __future__ import annotations

import math

import numpy as np

from geomtp.inference.predict_config import Predict
from geomtp.inference.windows.blocks import Grid
from geomtp.inference.windows.window_model import WindowModel
from geomtp.rasters import Georeference, Scene
from geomtp.rasters.ground_sizes import metres_per_pixel
from geomtp.types import MAP_TASKS

SUMS_BYTES = 256 * 2**20
"""Most memory for the probabilities of a block; bounds the side of blocks."""

_CELLS = (2, 8)  # fewest and most cells along a block


def scene_grid(config: Predict, model: WindowModel, window: int, scene: Scene) -> Grid:
    """The blocks and windows of ``scene``, with windows of side ``window``.

    Raises ValueError where metres per pixel were asked for and the scene has no place.
    """
    overlap = 2 * round(window * config.overlap / 2)
    stride = max(window - overlap, -(-window // 2))
    counts = {"semantic": len(model.classes) + 1, "change": 2}
    values = sum(counts[task] for task in model.tasks if task in MAP_TASKS)
    factor = _factor(config.gsd, scene)
    most_px = np.sqrt(SUMS_BYTES / 4 / max(values, 1)) * factor
    cells = int(np.clip(most_px // stride - 1, *_CELLS))
    factors = tuple(factor * scale for scale in config.scales)
    if len(factors) > 1:  # two cells of the coarsest look at least
        cells = max(cells, math.ceil(2 * factors[0] / min(factors)))
    return Grid(scene.size_hw, window, stride, factors, cells)


def _factor(gsd_m: float | None, scene: Scene) -> float:
    if gsd_m is None:
        return 1.0
    place = scene.place
    if place is None:
        raise ValueError(
            f"{scene.path} does not say where on Earth it lies, so its metres per pixel are not "
            f"known: leave out --gsd, or give a factor of its size by --scales"
        )
    return ground_sampling_m(place, scene.size_hw) / gsd_m


def ground_sampling_m(place: Georeference, size_hw: tuple[int, int]) -> float:
    """The side of a pixel in the middle of a raster, in metres on the ground."""
    middle = (size_hw[1] / 2, size_hw[0] / 2)
    return float(np.sqrt(abs(np.linalg.det(metres_per_pixel(place, middle)))))
