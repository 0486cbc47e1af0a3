"""A small annotated data set on disk: bright rotated rectangles, as DOTA's text files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from geomtp.geometry import masks_from_rboxes
from geomtp.geometry.rotated_boxes import quads_from_rboxes

NAMES = ("ship", "plane", "storage tank")


def draw_scenes(folder: Path, count: int = 10, *, size_px: int = 64, seed: int = 0) -> None:
    """``folder/images/NN.png`` and ``folder/labels/NN.txt``; the first image holds no object."""
    rng = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for i in range(count):
        objects = rng.integers(1, 5) if i else 0
        rboxes = np.stack([
            rng.uniform(0.2, 0.8, objects) * size_px, rng.uniform(0.2, 0.8, objects) * size_px,
            rng.uniform(12, 24, objects), rng.uniform(5, 10, objects),
            rng.uniform(-1.5, 1.5, objects),
        ], axis=1)  # fmt: skip
        pixels = rng.integers(40, 90, (size_px, size_px, 3), dtype=np.uint8)
        for mask in masks_from_rboxes(torch.from_numpy(rboxes), (size_px, size_px)).numpy():
            pixels[mask] = rng.integers(150, 255, 3)
        Image.fromarray(pixels).save(folder / f"images/{i:02d}.png")
        quads = quads_from_rboxes(torch.from_numpy(rboxes)).reshape(-1, 8).tolist()
        lines = [
            " ".join(f"{number:.2f}" for number in quad) + f" {rng.choice(NAMES)} 0"
            for quad in quads
        ]
        (folder / f"labels/{i:02d}.txt").write_text("\n".join(lines))
