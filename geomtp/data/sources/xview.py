"""xView: objects of sixty classes in WorldView-3 images, clipped to patches."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomtp.data.sources.picture_files import write_picture
from geomtp.data.sources.public import PublicSource, missing
from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.hash_order import hash_order
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.xview import XVIEW_CLASSES, read_xview
from geomtp.labels.store.building import labels_of
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.rasters import WindowXYXY, read_window
from geomtp.types import ClassMap, SizeHW

CLIP_PX = 416
_PADDING = 128
_TRAIN_SHARE = 700 / 846


class XView(PublicSource):
    """xView: objects of sixty classes, horizontal boxes (Lam et al. 2018), in patches of 416.

    - sensor: WorldView-3, pan-sharpened red, green, blue, 8 bits
    - metres per pixel: 0.3
    - classes: Fixed-wing Aircraft … Tower, in the order of their type_id
    - counts: 846 labelled images of about 3,000 × 3,000, a million objects
    - labels: horizontal boxes
    - licence: CC BY-NC-SA 4.0
    - layout: ``train_images/*.tif`` and ``xView_train.geojson``. Patches of 416 × 416 that hold the
      centre of a box are cut into ``images/{train,val}`` beside the store
    - split: the 700 images whose names hash lowest are "train", the others "val" (the reference
      draws 700 at random, without a seed)
    - mean and std: ImageNet's
    """

    name = "xview"
    classes = ClassMap(tuple(XVIEW_CLASSES.values()))
    gsd_m = 0.3
    licence = "CC BY-NC-SA 4.0"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        images, file = root / "train_images", root / "xView_train.geojson"
        if not images.is_dir() or not file.is_file():
            raise missing(self, root)
        scenes = list(read_xview(images, file, notes))
        order = hash_order(scene.image for scene in scenes)
        training = frozenset(order[: round(_TRAIN_SHARE * len(order))])
        rows = self._rows(images, scenes, training, out / "images", notes)
        return self.write(rows, out / "images", out, notes)

    def _rows(
        self,
        images: Path,
        scenes: list[Annotations],
        training: frozenset[str],
        out: Path,
        notes: ReadNotes,
    ) -> Iterator[ImageLabels]:
        info = self.info(out)
        for scene in self.tracked(scenes):
            split = "train" if scene.image in training else "val"
            for clip in clip_scene(scene, images / scene.image, split, out):
                yield labels_of(clip, None, info, split, notes)


def clip_scene(scene: Annotations, image: Path, folder: str, out: Path) -> Iterator[Annotations]:
    """The patches of an image that hold the centre of a box, written as ``folder/{image}_{n}.png``.

    n counts the patches that are written. A patch that is there already is not written again.
    Raises OSError for an image that cannot be read.
    """
    boxes = _boxes(scene)
    todo: list[tuple[Path, WindowXYXY]] = []
    for number, (window, which) in enumerate(clip_windows(boxes, scene.size_hw)):
        name = f"{folder}/{scene.image.rpartition('.')[0]}_{number}.png"
        if not (out / name).is_file():
            todo.append((out / name, window))
        objects = tuple(
            dataclasses.replace(scene.objects[i], box_xyxy=clip_box(boxes[i], window))
            for i in which
        )
        yield Annotations(name, (CLIP_PX, CLIP_PX), objects)
    if todo:
        pixels = read_window(image)
        height, width = pixels.shape[:2]
        missing_hw = (max(0, CLIP_PX - height), max(0, CLIP_PX - width))
        pixels = np.pad(
            pixels, ((0, missing_hw[0]), (0, missing_hw[1]), (0, 0)), constant_values=_PADDING
        )
        for path, (x1, y1, x2, y2) in todo:
            write_picture(path, pixels[y1:y2, x1:x2])


def clip_starts(length: int) -> list[int]:
    """Where windows of 416 px start along ``length`` px: spread evenly, overlapping the least."""
    over = max(0, length - CLIP_PX)
    starts: list[int] = np.linspace(0, over, math.ceil(over / CLIP_PX) + 1).astype(int).tolist()
    return starts


def clip_windows(
    boxes_xyxy: NDArray[np.float64], size_hw: SizeHW
) -> Iterator[tuple[WindowXYXY, list[int]]]:
    """The windows that hold the centre of a box, row by row, with the numbers of those boxes.

    A centre on the left or upper edge of a window lies in it, on the right or lower one not.
    """
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    for y in clip_starts(size_hw[0]):
        for x in clip_starts(size_hw[1]):
            start = np.array([x, y])
            inside = ((centres >= start) & (centres < start + CLIP_PX)).all(axis=1)
            if inside.any():
                yield (x, y, x + CLIP_PX, y + CLIP_PX), np.flatnonzero(inside).tolist()


def clip_box(
    box_xyxy: NDArray[np.float64], window: WindowXYXY
) -> tuple[float, float, float, float]:
    """A box cut to a window, in its pixels; cut sides end a pixel short of the right and below."""
    x1, y1, x2, y2 = box_xyxy.tolist()
    left, top, right, bottom = window
    x1, y1 = max(x1, left), max(y1, top)
    x2 = right - 1 if x2 >= right else x2
    y2 = bottom - 1 if y2 >= bottom else y2
    return (x1 - left, y1 - top, x2 - left, y2 - top)


def _boxes(scene: Annotations) -> NDArray[np.float64]:
    """The boxes of an image, cut to it: (N, 4)."""
    found = [_box(item) for item in scene.objects]
    boxes = np.array(found, dtype=np.float64).reshape(-1, 4)
    height, width = scene.size_hw
    return np.clip(boxes, 0, (width, height, width, height))


def _box(item: AnnotatedObject) -> tuple[float, float, float, float]:
    if item.box_xyxy is None:
        raise ValueError(f"{item.where}: xView has horizontal boxes")
    return item.box_xyxy
