"""Taizhou: a city's growth between two Landsat images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geomtp.data.sources.source import Source
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.rasters import georeference, read_window, write_raster
from geomtp.types import IGNORE, ClassMap

_BLOCK_PX = 100
_SIDE_PX = 400
_TRAIN_COLUMNS = 2  # of four


class Taizhou(Source):
    """What was built in Taizhou, China, from 2000 to 2003 (Wu et al. 2014; Du et al. 2019).

    - sensor: Landsat 7 ETM+, the six bands of 30 m (blue, green, red, near and two short-wave
      infrared), 8 bits
    - metres per pixel: 30
    - classes: changed
    - counts: one pair of 400 × 400; 4,227 pixels are labelled as changed, 17,163 as unchanged, all
      others are not labelled and ignored
    - labels: change maps
    - licence: MIT (the repository of Chen et al. 2020)
    - layout: ``2000TM`` and ``2003TM`` (ENVI, each with its ``.HDR``), ``change.bmp`` and
      ``unchanged.bmp``. Blocks of 100 × 100 are cut into ``images/`` beside the store
    - split: the western half is "train" (8 blocks, 2,525 changed and 6,931 unchanged pixels), the
      eastern half is "test" (8 blocks, 1,702 and 10,232)
    - mean and std: measured on both dates of the training blocks
    """

    name = "taizhou"
    classes = ClassMap(("changed",), ((220, 50, 40),))
    mean = (87.84, 67.85, 65.80, 58.29, 61.10, 46.42)
    std = (12.52, 11.04, 12.18, 11.46, 14.83, 13.52)
    gsd_m = 30.0
    licence = "MIT"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        rows, kept = [], Counter[str]()
        for row, changed in self._blocks(root, out / "images"):
            rows.append(row)
            kept["changed"] += changed
        store = write_store(out, rows, self.info(out / "images"))
        return store, notes.report(len(rows), 0, kept)

    def _blocks(self, root: Path, images: Path) -> Iterator[tuple[ImageLabels, int]]:
        """The row of each block and how many of its pixels are labelled as changed."""
        changed, unchanged = (read_window(root / f"{n}.bmp") > 0 for n in ("change", "unchanged"))
        truth = np.where(changed, 1, np.where(unchanged, 0, IGNORE)).astype(np.uint8)
        dates = {date: read_window(root / f"{date}TM") for date in ("2000", "2003")}
        place = georeference(root / "2000TM")
        for name, pixels in {**dates, "change": truth}.items():
            if pixels.shape[:2] != (_SIDE_PX, _SIDE_PX):
                raise ValueError(f"{root}: {name} must be {_SIDE_PX} pixels a side: {pixels.shape}")
            (images / name).mkdir(parents=True, exist_ok=True)
        for row, column in np.ndindex(_SIDE_PX // _BLOCK_PX, _SIDE_PX // _BLOCK_PX):
            y, x = row * _BLOCK_PX, column * _BLOCK_PX
            file = f"{row}_{column}.tif"
            for name, pixels in {**dates, "change": truth}.items():
                block = pixels[y : y + _BLOCK_PX, x : x + _BLOCK_PX]
                write_raster(images / name / file, block, place and place.shifted(x, y))
            labels = ImageLabels(
                image=f"2000/{file}",
                size_hw=(_BLOCK_PX, _BLOCK_PX),
                split="train" if column < _TRAIN_COLUMNS else "test",
                image_after=f"2003/{file}",
                change=f"change/{file}",
            )
            yield labels, int(changed[y : y + _BLOCK_PX, x : x + _BLOCK_PX].sum())
