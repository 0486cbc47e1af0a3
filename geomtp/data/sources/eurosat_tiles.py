"""EuroSAT: land use in tiles of Sentinel-2, ten classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from geomtp.data.sources.held_out import held_out
from geomtp.data.sources.source import Source
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.rasters import read_window
from geomtp.types import ClassMap

_TILE_PX = 64
_TILES = 10  # along each side of a sheet


class EurosatTiles(Source):
    """A tenth of EuroSAT's classes of land use, on sheets of a hundred tiles (Helber et al. 2019).

    - sensor: Sentinel-2, red, green, blue, 8 bits; compressed again as JPEG sheets
    - metres per pixel: 10
    - classes: the ten of EuroSAT, in alphabetical order
    - counts: 100 tiles of 64 × 64 of each class (27,000 in the full set)
    - labels: one class per tile
    - licence: MIT
    - layout: ``canvas_CLASS_10x10.jpg``, a grid of ten by ten tiles of one class. The tiles are cut
      into ``images/`` beside the store
    - split: of each class the 20 tiles whose names hash lowest are "val"
    - mean and std: measured on the training tiles
    """

    name = "eurosat_tiles"
    classes = ClassMap(
        (
            "AnnualCrop",
            "Forest",
            "HerbaceousVegetation",
            "Highway",
            "Industrial",
            "Pasture",
            "PermanentCrop",
            "Residential",
            "River",
            "SeaLake",
        )
    )
    mean = (85.64, 95.51, 102.87)
    std = (49.95, 34.94, 30.15)
    gsd_m = 10.0
    licence = "MIT"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        rows = list(self._rows(root, out / "images"))
        kept = Counter(self.classes.names[row.scene_class or 0] for row in rows)
        store = write_store(out, rows, self.info(out / "images"))
        return store, notes.report(len(rows), 0, kept)

    def _rows(self, root: Path, images: Path) -> Iterator[ImageLabels]:
        for number, name in enumerate(self.classes.names):
            sheet = read_window(root / f"canvas_{name}_{_TILES}x{_TILES}.jpg")
            if sheet.shape != (_TILES * _TILE_PX, _TILES * _TILE_PX, 3):
                raise ValueError(
                    f"the sheet of {name} must hold {_TILES} × {_TILES} tiles of {_TILE_PX} "
                    f"pixels in three colours, found an image of shape {sheet.shape}"
                )
            (images / name).mkdir(parents=True, exist_ok=True)
            tiles = {f"{name}/{i:03d}.png": divmod(i, _TILES) for i in range(_TILES**2)}
            validation = held_out(tiles, share=0.2)
            for tile, (row, column) in tiles.items():
                y, x = row * _TILE_PX, column * _TILE_PX
                Image.fromarray(sheet[y : y + _TILE_PX, x : x + _TILE_PX]).save(images / tile)
                yield ImageLabels(
                    image=tile,
                    size_hw=(_TILE_PX, _TILE_PX),
                    split="val" if tile in validation else "train",
                    scene_class=number,
                )
