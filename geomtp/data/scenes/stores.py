"""Scenes and chips as rows of label stores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomtp.data.scenes.chips import CHIP_GSD_M, SCENE_CLASSES, chip
from geomtp.data.scenes.pairs import change_pair
from geomtp.data.scenes.scene import GSD_M, Scene
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.types import ClassMap


def labels_of_scene(scene: Scene, image: str, split: str = "train") -> ImageLabels:
    """The row of a label store for ``scene``, whose picture is the file ``image``.

    The masks are disjoint, so the semantic map painted from them is the scene's.
    """
    boxes = _mask_boxes(scene)
    rles = []
    for number, (x1, y1, x2, y2) in enumerate(boxes.tolist(), start=1):
        part = scene.instances[y1:y2, x1:x2] == number
        rles.append(rle_of_part(part, (x1, y1), scene.instances.shape))
    return ImageLabels(
        image=image,
        size_hw=(scene.instances.shape[0], scene.instances.shape[1]),
        split=split,
        boxes=boxes.astype(np.float32),
        box_labels=scene.labels,
        rles=tuple(rles),
        rboxes=scene.rboxes,
        rbox_labels=scene.labels,
    )


def _mask_boxes(scene: Scene) -> NDArray[np.int64]:
    """Boxes around the masks, (N, 4) int64, in one pass over the pixels."""
    height, width = scene.instances.shape
    ys, xs = np.nonzero(scene.instances)
    index = scene.instances[ys, xs] - 1
    boxes = np.tile(np.array([width, height, 0, 0]), (len(scene.labels), 1))
    np.minimum.at(boxes[:, 0], index, xs)
    np.minimum.at(boxes[:, 1], index, ys)
    np.maximum.at(boxes[:, 2], index, xs + 1)
    np.maximum.at(boxes[:, 3], index, ys + 1)
    return boxes


def build_chips(
    out: Path, *, train: int = 240, val: int = 60, size_px: int = 64, seed: int = 0
) -> LabelStore:
    """Draw chips of all scene classes in turn and write their store ``out`` (``scene_class``)."""
    folder = Path(out) / "images"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count, offset in (("train", train, 0), ("val", val, 500_000)):
        for i in range(count):
            scene_class, image = i % len(SCENE_CLASSES), f"{split}-{i:05d}.png"
            picture = chip(SCENE_CLASSES[scene_class], size_px, seed * 1_000_000 + offset + i)
            Image.fromarray(picture).save(folder / image, compress_level=1)
            rows.append(ImageLabels(image, (size_px, size_px), split, scene_class=scene_class))
    info = StoreInfo(
        source="embedded_chips",
        classes=ClassMap(SCENE_CLASSES),
        image_root=folder,
        mean=(102.4, 105.9, 91.1),
        std=(40.0, 34.4, 38.5),
        gsd_m=CHIP_GSD_M,
        licence="MIT",
    )
    return write_store(out, rows, info)


def build_pairs(
    out: Path, *, train: int = 120, val: int = 30, size_px: int = 128, seed: int = 0
) -> LabelStore:
    """Draw towns on two dates and write their store ``out`` (``image_after``, ``change``)."""
    folder = Path(out) / "images"
    for name in ("before", "after", "change"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    rows = []
    for split, count, offset in (("train", train, 0), ("val", val, 500_000)):
        for i in range(count):
            pair, file = (
                change_pair("town", size_px, seed * 1_000_000 + offset + i),
                f"{split}-{i:05d}.png",
            )
            pictures = {
                "before": pair.before,
                "after": pair.after,
                "change": pair.change.astype(np.uint8),
            }
            for name, picture in pictures.items():
                Image.fromarray(picture).save(folder / name / file, compress_level=1)
            labels = ImageLabels(
                f"before/{file}",
                (size_px, size_px),
                split,
                image_after=f"after/{file}",
                change=f"change/{file}",
            )
            rows.append(labels)
    info = StoreInfo(
        source="embedded_pairs",
        classes=ClassMap(("changed",)),
        image_root=folder,
        mean=(105.9, 106.2, 92.7),
        std=(33.2, 28.1, 31.1),
        gsd_m=GSD_M,
        licence="MIT",
    )
    return write_store(out, rows, info)
