"""Whether the values of a scene are those that a model knows, and how to bring them there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geomtp.rasters import Scene

PERCENTILES = (2, 98)
"""Of the values of a band: what becomes 0 and 255."""

FAR_OFF = 6.0
"""Means that differ by more standard deviations of the training images are doubted."""

TINY = 0.1
"""Values none of which reaches this share of a standard deviation are of another unit: 0…1, say."""

_SAMPLES, _SAMPLE_PX = 5, 192  # in each direction; their side


@dataclass(frozen=True)
class ValueRange:
    """What becomes 0 and 255 in each band: (C,) each, in the units of the file."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def stretched(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (C, h, w) as 0…255; what lies beyond is cut."""
        low, high = (np.array(part, np.float32)[:, None, None] for part in (self.low, self.high))
        return np.clip((values - low) / np.maximum(high - low, 1e-6), 0, 1) * np.float32(255)


def range_of(scene: Scene) -> ValueRange:
    """From the 2nd to the 98th percentile of each band, in samples spread over the scene."""
    parts = [np.percentile(band, PERCENTILES) for band in _samples(scene)]
    lows, highs = np.array(parts).T.tolist()
    return ValueRange(tuple(lows), tuple(highs))


def doubt(scene: Scene, mean: tuple[float, ...], std: tuple[float, ...]) -> str | None:
    """A sentence where the values of a scene are far from those of training; else None."""
    bytes_alone = all(scene.raster.dtypes[band - 1] == "uint8" for band in scene.bands)
    trained_on_bytes = 1 < max(mean) <= 255
    if bytes_alone and trained_on_bytes:
        return None
    samples = _samples(scene)
    means = [float(band.mean()) for band in samples]
    distances = [abs(m - t) / s for m, t, s in zip(means, mean, std, strict=True)]
    largest = max(float(np.abs(band).max()) for band in samples)
    if max(distances) <= FAR_OFF and not 0 < largest < TINY * min(std):
        return None
    return (
        f"the values of {scene.path} (mean {_text(means)}) are far from those that the model was "
        f"trained on (mean {_text(mean)}): results will be poor; "
        + ("--stretch brings them to 0…255" if trained_on_bytes else "bring them to the same units")
    )


def _samples(scene: Scene) -> list[NDArray[np.float32]]:
    """Values of each band, where it has any, from windows spread over the scene; 0 for none."""
    height, width = scene.size_hw
    tall, wide = min(height, _SAMPLE_PX), min(width, _SAMPLE_PX)
    tops = np.unique(np.linspace(0, height - tall, _SAMPLES).astype(int)).tolist()
    lefts = np.unique(np.linspace(0, width - wide, _SAMPLES).astype(int)).tolist()
    parts = [scene.read((left, top), (tall, wide)) for top in tops for left in lefts]
    bands = [
        np.concatenate([part.values[band][part.known[band]] for part in parts])
        for band in range(len(parts[0].values))
    ]
    return [band if len(band) else np.zeros(1, np.float32) for band in bands]


def _text(values: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
