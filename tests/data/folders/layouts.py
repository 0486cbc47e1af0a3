"""Small data sets as people lay them out in folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.labels.layouts import text

QUAD = "{x1} {y1} {x2} {y1} {x2} {y2} {x1} {y2} {name} 0\n"


def picture(path: Path, colour=(90, 120, 60), size_hw=(48, 64), seed=0) -> Path:
    """A noisy picture of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    pixels = np.clip(rng.normal(colour, 20, (*size_hw, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path, values: dict[int, tuple[slice, slice]], size_hw=(48, 64)) -> Path:
    """A grey mask of 0, and of each value in its rectangle."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros(size_hw, dtype=np.uint8)
    for value, place in values.items():
        pixels[place] = value
    Image.fromarray(pixels).save(path)
    return path


LEFT, RIGHT = (slice(5, 30), slice(4, 30)), (slice(10, 40), slice(36, 60))


def class_folders(root: Path, count=6) -> Path:
    for k, name in enumerate(("field", "water")):
        for i in range(count):
            picture(root / name / f"{i}.png", (60 + 120 * k, 90, 60), seed=i)
    return root


def masked_images(root: Path, count=6, value=1, folders=("images", "masks")) -> Path:
    for i in range(count):
        picture(root / folders[0] / f"{i}.png", seed=i)
        mask(root / folders[1] / f"{i}.png", {value: LEFT})
    return root


def pairs(root: Path, count=6, value=255, folders=("before", "after", "masks")) -> Path:
    for i in range(count):
        picture(root / folders[0] / f"{i}.png", seed=i)
        picture(root / folders[1] / f"{i}.png", (120, 90, 60), seed=i + 50)
        mask(root / folders[2] / f"{i}.png", {value: LEFT})
    return root


def coco_json(path: Path, images: list[str]) -> None:
    boxes = [(4, 5, 26, 25), (36, 10, 24, 30)]
    content = {
        "images": [
            {"id": i, "file_name": name, "width": 64, "height": 48} for i, name in enumerate(images)
        ],
        "categories": [{"id": 1, "name": "house"}, {"id": 2, "name": "tank"}],
        "annotations": [
            {
                "id": 2 * i + k,
                "image_id": i,
                "category_id": k + 1,
                "bbox": list(box),
                "segmentation": [
                    [
                        box[0], box[1], box[0] + box[2], box[1],
                        box[0] + box[2], box[1] + box[3], box[0], box[1] + box[3],
                    ]
                ],
            }
            for i in range(len(images))
            for k, box in enumerate(boxes)
        ],
    }  # fmt: skip
    text(path, content)


def coco(root: Path, count=6) -> Path:
    names = [f"{i}.png" for i in range(count)]
    for i, name in enumerate(names):
        picture(root / "images" / name, seed=i)
    coco_json(root / "annotations.json", names)
    return root


def dota(root: Path, count=6) -> Path:
    for i in range(count):
        picture(root / "images" / f"{i}.png", seed=i)
        lines = QUAD.format(x1=4, y1=5, x2=30, y2=30, name="house")
        lines += QUAD.format(x1=36, y1=10, x2=60, y2=40, name="tank")
        text(root / "labelTxt" / f"{i}.txt", lines)
    return root


HOUSE, TANK = "0 0.1 0.1 0.5 0.2 0.45 0.6 0.05 0.5\n", "1 0.75 0.5 0.375 0.625\n"


def yolo(root: Path, count=6, tank=TANK, split="{}") -> Path:
    """A slanted house and an upright tank in each image; ``split``: a folder below the two."""
    for i in range(count):
        picture(root / "images" / split.format(f"{i}.png"), seed=i)
        text(root / "labels" / split.format(f"{i}.txt"), HOUSE + tank)
    text(root / "data.yaml", "path: .\ntrain: images\nnames: {0: house, 1: tank, 2: mast}\n")
    return root
