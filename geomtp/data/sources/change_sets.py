"""OSCD, WHU-CD, LEVIR-CD and CDD: what changed between two dates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.change_patches import (
    KINDS,
    Pair,
    cut_pair,
    pair_size,
    pairs_of,
    row_as_it_is,
)
from geomtp.data.sources.public import PublicSource, missing
from geomtp.labels.hash_order import hash_order
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap

_SIDE_PX = 256


class _ChangeSource(PublicSource):
    """What the four share: ``{train,val,test}/{A,B,label}``, cut into patches where larger.

    - side_px: of a patch; label_names: names that the folder of the maps may have
    """

    classes = ClassMap(("changed",), ((255, 255, 255),))
    side_px = _SIDE_PX
    label_names: tuple[str, ...] = ("label",)

    def info(self, image_root: Path) -> StoreInfo:
        """What the store says of all its images: from 128 on a pixel of a map is changed."""
        values = {value: int(value >= 128) for value in range(256)}
        return dataclasses.replace(super().info(image_root), change_values=values)

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        pairs = pairs_of(root, self.label_names, notes) or self._raw_pairs(root, notes)
        if not pairs:
            raise missing(self, root)
        sizes = [pair_size(pair, notes) for pair in pairs]
        sized = [(p, s) for p, s in zip(pairs, sizes, strict=True) if s is not None]
        if all(max(size_hw) <= self.side_px for _, size_hw in sized):
            as_they_are = (row_as_it_is(pair, root, size_hw) for pair, size_hw in sized)
            return self.write(as_they_are, root, out, notes)
        patches = (
            row
            for pair, size_hw in self.tracked(sized)
            for row in cut_pair(pair, size_hw, self.side_px, out / "images")
        )
        return self.write(self._split(list(patches)), out / "images", out, notes)

    def _raw_pairs(self, root: Path, notes: ReadNotes) -> list[Pair]:
        """The pairs in the layout that was published, if it is another."""
        return []

    def _split(self, rows: list[ImageLabels]) -> list[ImageLabels]:
        """The rows, split where their pairs were not."""
        return rows


class LevirCd(_ChangeSource):
    """LEVIR-CD: new and lost buildings in Texas (Chen and Shi 2020), in patches of 256.

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: 0.5
    - classes: changed
    - counts: 637 pairs of 1024 × 1024: 445 train, 64 val, 128 test, which give 7,120, 1,024 and
      2,048 patches
    - labels: change maps of 0 and 255
    - licence: research only
    - layout: ``{train,val,test}/{A,B,label}/*.png``, or ``{A,B,label}/{train,val,test}_*.png``.
      Patches of 256 × 256 are cut into ``images/`` beside the store, unless the images are that
      small
    - split: the folders
    - mean and std: ImageNet's
    """

    name = "levir_cd"
    gsd_m = 0.5
    licence = "research only"

    def _raw_pairs(self, root: Path, notes: ReadNotes) -> list[Pair]:
        """The published archives unpacked into one folder: the names begin with the split."""
        folders = [root / kind for kind in KINDS]
        if not all(folder.is_dir() for folder in folders):
            return []
        pairs = []
        for name in ImageFolder(folders[0], notes).names():
            split = name.partition("_")[0]
            if split in ("train", "val", "test"):
                pairs.append(Pair(split, Path(name).stem, *(folder / name for folder in folders)))
        return pairs


class Cdd(_ChangeSource):
    """CDD (SVCD): changes between seasons, real images of Google Earth (Lebedev et al. 2018).

    - sensor: Google Earth images, red, green, blue, 8 bits, JPEG
    - metres per pixel: mixed, 0.03…1
    - classes: changed
    - counts: 16,000 pairs of 256 × 256: 10,000 train, 3,000 val, 3,000 test
    - labels: change maps, JPEG: from 128 on a pixel is changed
    - licence: not stated
    - layout: ``{train,val,test}/{A,B,label}/*.jpg``; OUT instead of label, as published
    - split: the folders
    - mean and std: ImageNet's
    """

    name = "cdd"
    licence = "not stated"
    label_names = ("label", "OUT")


class WhuCd(_ChangeSource):
    """WHU-CD: buildings of Christchurch before and after rebuilding (Ji et al. 2019), in patches.

    - sensor: aerial images of 2012 and 2016, red, green, blue, 8 bits
    - metres per pixel: 0.2
    - classes: changed
    - counts: one pair of 32,507 × 15,354, which gives 7,620 patches: 5,334 train, 762 val,
      1,524 test
    - labels: change maps
    - licence: not stated
    - layout: ``{before,after,change label}`` with one TIFF each (also named A, B, label or
      2012, 2016, change_label), cut into 256 × 256 in ``images/`` beside the store; or
      ``{train,val,test}/{A,B,label}``
    - split: of the patches 70 % by hash train, 10 % val, 20 % test, as many as the reference has
      (its lists are not published), or the folders
    - mean and std: ImageNet's
    """

    name = "whu_cd"
    gsd_m = 0.2
    licence = "not stated"

    def _raw_pairs(self, root: Path, notes: ReadNotes) -> list[Pair]:
        names = (
            ("before", "A", "2012"),
            ("after", "B", "2016"),
            ("change label", "change_label", "label"),
        )
        found = [[root / name for name in several if (root / name).is_dir()] for several in names]
        if not all(found):
            return []
        return [Pair("train", "whu", *(_only_tiff(folders[0]) for folders in found))]

    def _split(self, rows: list[ImageLabels]) -> list[ImageLabels]:
        if any(row.split != "train" for row in rows):
            return rows
        order = {image: i for i, image in enumerate(hash_order(row.image for row in rows))}
        train, val = round(0.7 * len(rows)), round(0.7 * len(rows)) + round(0.1 * len(rows))

        def split_of(place: int) -> str:
            return "train" if place < train else "val" if place < val else "test"

        return [dataclasses.replace(row, split=split_of(order[row.image])) for row in rows]


def _only_tiff(folder: Path) -> Path:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".tif", ".tiff"))
    if len(files) != 1:
        raise ValueError(f"{folder} must hold one TIFF of the whole area, found {len(files)}")
    return files[0]


class Oscd(_ChangeSource):
    """OSCD: changes of cities between two Sentinel-2 images (Daudt et al. 2018), patches of 96.

    - sensor: Sentinel-2, red, green, blue, 8 bits
    - metres per pixel: 10
    - classes: changed
    - counts: 24 pairs of cities, 14 train and 10 test, which give 827 and 385 patches
    - labels: change maps
    - licence: CC BY-NC-SA 4.0
    - layout: ``… Images/CITY/pair/img1.png`` and ``img2.png``, ``… Train Labels/CITY/cm/cm.png``
      and ``… Test Labels/CITY/cm/cm.png``, cut into ``images/`` beside the store; or
      ``{train,test}/{A,B,label}/*.png``
    - split: the cities whose labels lie in the folder of each; the reference validates on test
    - mean and std: ImageNet's
    """

    name = "oscd"
    gsd_m = 10.0
    licence = "CC BY-NC-SA 4.0"
    side_px = 96

    def _raw_pairs(self, root: Path, notes: ReadNotes) -> list[Pair]:
        folders = {path.name.lower(): path for path in root.iterdir() if path.is_dir()}
        images = [path for name, path in sorted(folders.items()) if name.endswith("images")]
        if not images:
            return []
        return [
            Pair(split, city.name, *_dates(images[0] / city.name), city / "cm" / "cm.png")
            for split in ("train", "test")
            for name, labels in sorted(folders.items())
            if name.replace("_", " ").endswith(f"{split} labels")
            for city in _cities(labels)
        ]


def _cities(labels: Path) -> Iterator[Path]:
    return (path for path in sorted(labels.iterdir()) if (path / "cm").is_dir())


def _dates(city: Path) -> tuple[Path, Path]:
    return city / "pair" / "img1.png", city / "pair" / "img2.png"
