"""Clouds and their shadows in three scenes of three satellites."""

from __future__ import annotations

import dataclasses
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomtp.data.sources.picture_files import write_picture
from geomtp.data.sources.source import Source
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.rasters import write_raster
from geomtp.types import IGNORE, ClassMap

_TILE_PX = 128
_SCENES = {"landsat5": "train", "landsat7": "val", "sentinel2": "test"}
_BANDS = 6
_VALUES = {0: 1, 1: 2, 2: IGNORE, 3: 3, 4: 4}  # of the masks; 2 is snow, of which there is none


class CloudScenes(Source):
    """Clouds, their shadows, water and land in three scenes (ukis-csmask, DLR).

    - sensor: Landsat 5 TM, Landsat 7 ETM+, Sentinel-2 MSI; blue, green, red, near and two
      short-wave infrared bands, reflectance at the top of the atmosphere (0…1.3)
    - metres per pixel: 30 (Landsat); not said of the Sentinel-2 scene
    - classes: shadow, water, land, cloud; there is no background
    - counts: three scenes of 512 × 512, each cut into 16 tiles of 128 × 128
    - labels: class maps of all pixels
    - licence: Apache-2.0 (test data of ukis-csmask)
    - layout: ``landsat5.npz``, ``landsat7.npz``, ``sentinel2.npz``, each with ``img`` and ``msk``.
      Tiles are cut into ``images/`` and ``masks/`` beside the store
    - split: by scene: Landsat 5 is "train", Landsat 7 "val", Sentinel-2 "test"; other folds by
      ``--train-splits`` and ``--validation-split``
    - mean and std: measured on all three scenes
    """

    name = "cloud_scenes"
    classes = ClassMap(
        ("shadow", "water", "land", "cloud"),
        ((90, 60, 120), (40, 110, 200), (140, 160, 90), (250, 250, 250)),
    )
    mean = (0.1802, 0.1835, 0.1806, 0.3362, 0.2599, 0.1773)
    std = (0.1106, 0.1291, 0.1420, 0.1622, 0.1509, 0.1285)
    licence = "Apache-2.0"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        for folder in ("images", "masks"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        rows = [row for scene in _SCENES for row in self._tiles(root, scene, out)]
        store = write_store(out, rows, self.info(out))
        return store, notes.report(len(rows), 0, Counter())

    def _tiles(self, root: Path, scene: str, out: Path) -> Iterator[ImageLabels]:
        pixels, classes = _read(root / f"{scene}.npz")
        height, width = classes.shape
        for y in range(0, height, _TILE_PX):
            for x in range(0, width, _TILE_PX):
                place = np.s_[y : y + _TILE_PX, x : x + _TILE_PX]
                image, mask = f"images/{scene}__{y}_{x}.tif", f"masks/{scene}__{y}_{x}.png"
                write_raster(out / image, pixels[place])
                write_picture(out / mask, classes[place])
                size_hw = classes[place].shape
                yield ImageLabels(image, size_hw, _SCENES[scene], semantic=mask)

    def info(self, image_root: Path) -> StoreInfo:
        """What the store says of all its images."""
        return dataclasses.replace(super().info(image_root), semantic_values=_VALUES)


def _read(path: Path) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The bands (H, W, 6) of a scene and its mask (H, W).

    Raises FileNotFoundError, or ValueError for a file that holds something else.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there: expected {', '.join(_SCENES)} as .npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            pixels, mask = arrays["img"], arrays["msk"]
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} does not hold the arrays img and msk ({error})") from error
    if pixels.ndim != 3 or pixels.shape[2] != _BANDS or mask.shape != (*pixels.shape[:2], 1):
        raise ValueError(
            f"{path}: img must be (H, W, {_BANDS}) and msk (H, W, 1), found {pixels.shape} and "
            f"{mask.shape}"
        )
    return pixels.astype(np.float32), mask[..., 0].astype(np.uint8)
