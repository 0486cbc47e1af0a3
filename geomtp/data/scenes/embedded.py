"""The embedded sources: scenes drawn into folders, with label stores beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from geomtp.data.scenes.scene import CLASSES, GSD_M, draw_scene
from geomtp.data.scenes.stores import labels_of_scene
from geomtp.data.sources.source import Source
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.rasters import Georeference, write_raster
from geomtp.types import ClassMap

_NEGATIVE_EVERY = 12  # so often a field without objects


@dataclass(frozen=True)
class EmbeddedSource(Source):
    """Procedural overhead scenes of one kind, drawn when the store is built.

    - sensor: none; red, green, blue, 8 bits, with shadows, haze, blur and noise
    - metres per pixel: 0.25
    - classes: those of ``CLASSES[kind]``; one image in twelve is farmland without objects
    - counts: ``train`` and ``val`` images of ``size_px`` pixels, about 1…35 objects each at 256
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
    train: int = 160
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


def place_on_map(number: int, size_px: int) -> Georeference:
    """A place in UTM zone 36 north for image ``number``; places of different numbers are apart."""
    side_m = size_px * GSD_M
    east, north = 400_000 + (number % 100) * side_m, 4_000_000 - number // 100 * side_m
    return Georeference("EPSG:32636", (GSD_M, 0.0, east, 0.0, -GSD_M, north))


EMBEDDED: dict[str, EmbeddedSource] = {
    source.name: source
    for source in (
        EmbeddedSource(
            "embedded_harbour",
            "harbour",
            CLASSES["harbour"],
            mean=(115.6, 116.4, 109.7),
            std=(45.3, 39.5, 37.9),
        ),
        EmbeddedSource(
            "embedded_airfield",
            "airfield",
            CLASSES["airfield"],
            mean=(136.7, 136.4, 125.1),
            std=(30.8, 28.5, 34.4),
        ),
        EmbeddedSource(
            "embedded_town",
            "town",
            CLASSES["town"],
            mean=(105.9, 106.2, 92.7),
            std=(33.2, 28.1, 31.1),
        ),
    )
}
