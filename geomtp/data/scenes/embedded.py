"""The embedded sources: scenes drawn into folders, with label stores beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from geomtp.data.scenes.chips import CHIP_GSD_M, SCENE_CLASSES, chip
from geomtp.data.scenes.scene import CLASSES, GSD_M, Scene, draw_scene
from geomtp.data.sources.source import Source
from geomtp.labels.image_labels import ImageLabels
from geomtp.labels.reports import ReadNotes, ReadReport
from geomtp.labels.run_lengths import rle_of_part
from geomtp.labels.store import LabelStore, write_store
from geomtp.labels.store_format import StoreInfo
from geomtp.rasters import Georeference, write_raster
from geomtp.types import ClassMap

_NEGATIVE_EVERY = 12  # so often a field without objects


@dataclass(frozen=True)
class EmbeddedSource(Source):
    """Procedural overhead scenes of one kind, drawn when the store is built.

    - sensor: none; red, green, blue, 8 bits, with shadows, haze, blur and noise
    - metres per pixel: 0.3
    - classes: those of ``CLASSES[kind]``; one image in twelve is farmland without objects
    - counts: ``train`` and ``val`` images of ``size_px`` pixels, 5…50 objects each at 256
    - labels: exact; masks are the pixels whose centre lies inside, boxes surround the masks,
      rotated boxes are minimum-area boxes of the outlines (also beyond the image's border)
    - licence: MIT, as the package
    - layout: none is needed; images go to the folder that is named or to ``images`` in the store's
    - georeference: GeoTIFF in EPSG:32636 (UTM 36 north) instead of PNG
    - mean and std: measured on 60 scenes
    """

    name: str
    kind: str
    classes: ClassMap
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: int = 96
    val: int = 32
    size_px: int = 256
    seed: int = 0
    georeference: bool = False
    licence: str = "MIT"
    gsd_m: float | None = GSD_M

    def build(self, root: Path | None, out: Path, *, strict: bool = False) -> LabelStore:
        """Draw the images into ``root`` (None: ``out``/images) and write the store ``out``."""
        return self.build_with_report(root, out, strict=strict)[0]

    def build_with_report(
        self, root: Path | None, out: Path, *, strict: bool = False
    ) -> tuple[LabelStore, ReadReport]:
        """As ``build``, with the report of what was drawn."""
        folder = Path(out) / "images" if root is None else Path(root)
        folder.mkdir(parents=True, exist_ok=True)
        return self._build(folder, Path(out), ReadNotes(strict))

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        rows = list(self._rows(root))
        kept: Counter[str] = Counter()
        for row in rows:
            assert row.rbox_labels is not None
            kept.update(self.classes.names[i] for i in row.rbox_labels.tolist())
        empty = sum(row.rbox_labels is not None and len(row.rbox_labels) == 0 for row in rows)
        return write_store(out, rows, self.info(root)), notes.report(len(rows), empty, kept)

    def _rows(self, root: Path) -> Iterator[ImageLabels]:
        suffix = "tif" if self.georeference else "png"
        for split, count, offset in (("train", self.train, 0), ("val", self.val, 500_000)):
            for i in range(count):
                kind = "farmland" if i % _NEGATIVE_EVERY == _NEGATIVE_EVERY - 1 else self.kind
                seed = self.seed * 1_000_000 + offset + i
                scene = draw_scene(kind, self.size_px, seed, classes=self.classes.names)
                image = f"{split}-{i:05d}.{suffix}"
                if self.georeference:
                    number = i if split == "train" else self.train + i
                    write_raster(root / image, scene.image, place_on_map(number, self.size_px))
                else:
                    Image.fromarray(scene.image).save(root / image, compress_level=1)
                yield labels_of_scene(scene, image, split)


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


def _mask_boxes(scene: Scene) -> np.ndarray:
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


def place_on_map(number: int, size_px: int) -> Georeference:
    """A place in UTM zone 36 north for image ``number``; places of different numbers are apart."""
    side_m = size_px * GSD_M
    east, north = 400_000 + (number % 100) * side_m, 4_000_000 - number // 100 * side_m
    return Georeference("EPSG:32636", (GSD_M, 0.0, east, 0.0, -GSD_M, north))


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
        mean=(109.0, 111.0, 98.0),
        std=(48.0, 45.0, 44.0),
        gsd_m=CHIP_GSD_M,
        licence="MIT",
    )
    return write_store(out, rows, info)


EMBEDDED: dict[str, EmbeddedSource] = {
    source.name: source
    for source in (
        EmbeddedSource(
            "embedded_harbour",
            "harbour",
            CLASSES["harbour"],
            mean=(112.5, 113.8, 109.4),
            std=(47.0, 41.3, 38.3),
        ),
        EmbeddedSource(
            "embedded_airfield",
            "airfield",
            CLASSES["airfield"],
            mean=(137.9, 138.7, 131.3),
            std=(26.1, 25.4, 29.3),
        ),
        EmbeddedSource(
            "embedded_town",
            "town",
            CLASSES["town"],
            mean=(103.6, 106.1, 95.1),
            std=(33.4, 28.8, 32.6),
        ),
    )
}
