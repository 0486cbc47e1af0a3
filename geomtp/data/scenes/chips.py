"""Small pictures of one scene class each, for classification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from geomtp.data.scenes.scene import draw_scene

SCENE_CLASSES = ("airfield", "farmland", "forest", "harbour", "parking", "residential")
"""Kinds of scenes that chips show, in the order of their ids."""

CHIP_GSD_M = 1.0


def chip(scene_class: str, size_px: int, seed: int) -> NDArray[np.uint8]:
    """One chip at a metre per pixel: (S, S, 3) uint8, RGB. Raises ValueError for other classes."""
    if scene_class not in SCENE_CLASSES:
        known = ", ".join(SCENE_CLASSES)
        raise ValueError(f"unknown scene class {scene_class!r}; known: {known}")
    return draw_scene(scene_class, size_px, seed, classes=(), gsd_m=CHIP_GSD_M).image


def chips(
    count: int, size_px: int = 64, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """``count`` chips (N, S, S, 3) uint8 and their class ids (N,) int64, classes in turn."""
    labels = np.arange(count) % len(SCENE_CLASSES)
    images = [chip(SCENE_CLASSES[k], size_px, seed * 1_000_003 + i) for i, k in enumerate(labels)]
    return np.stack(images), labels.astype(np.int64)
