"""Small label stores on disk, made of rectangles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from geomtp.geometry import encode_rle, mask_boxes, masks_from_rboxes
from geomtp.geometry.rotated_boxes import regularise
from geomtp.labels import ImageLabels, LabelStore, StoreInfo, write_store
from geomtp.types import ClassMap, SizeHW

CLASSES = ClassMap(("car", "ship", "tree"))
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def smooth_image(size_hw: SizeHW, rng: np.random.Generator, channels: int = 3) -> np.ndarray:
    """(H, W, C) uint8 of soft gradients and some noise."""
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    waves = [
        127 + 90 * np.sin(x / rng.uniform(5, 20) + rng.uniform(0, 6)) * np.cos(y / 13 + c)
        for c in range(channels)
    ]
    return np.clip(np.stack(waves, axis=2) + rng.normal(0, 5, (*size_hw, channels)), 0, 255).astype(
        np.uint8
    )


def random_labels(
    name: str, size_hw: SizeHW, count: int, rng: np.random.Generator, split: str = "train"
) -> ImageLabels:
    """``count`` rotated rectangles with their masks and the masks' boxes."""
    import torch

    height, width = size_hw
    low = (0.1 * width, 0.1 * height, 8, 5, -1.5)
    high = (0.9 * width, 0.9 * height, width / 4, height / 6, 1.5)
    rboxes = regularise(torch.from_numpy(rng.uniform(low, high, (count, 5)).astype(np.float32)))
    masks = masks_from_rboxes(rboxes, size_hw)
    labels = rng.integers(0, len(CLASSES), count)
    return ImageLabels(
        image=name,
        size_hw=size_hw,
        split=split,
        boxes=mask_boxes(masks).numpy(),
        box_labels=labels,
        rles=tuple(encode_rle(masks)),
        rboxes=rboxes.numpy(),
        rbox_labels=labels,
    )


def info_of(root: Path, source: str = "made", channels: int = 3) -> StoreInfo:
    mean, std = (MEAN, STD) if channels == 3 else ((120.0,) * channels, (57.0,) * channels)
    return StoreInfo(source, CLASSES, root, mean, std)


def make_store(
    folder: Path,
    sizes_hw: Sequence[SizeHW] = ((96, 128), (80, 80), (128, 96)),
    objects: int = 6,
    seed: int = 0,
    source: str = "made",
    change: Callable[[ImageLabels], ImageLabels] = lambda labels: labels,
) -> LabelStore:
    """One PNG of each size with ``objects`` rectangles; ``change`` edits the rows."""
    rng = np.random.default_rng(seed)
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    for i, size_hw in enumerate(sizes_hw):
        Image.fromarray(smooth_image(size_hw, rng)).save(images / f"{i}.png")
        rows.append(change(random_labels(f"{i}.png", size_hw, objects, rng)))
    return write_store(folder / "store", rows, info_of(images, source))
