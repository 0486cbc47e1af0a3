"""Pairs of images of two dates with a map of what changed, cut into patches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomtp.data.sources.picture_files import write_picture
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.rasters import WindowXYXY, read_window
from geomtp.types import SizeHW

KINDS = ("A", "B", "label")
"""The folders of the first date, the second, and the map, also of patches."""


@dataclass(frozen=True)
class Pair:
    """The three files of one place, and the split and the name that it has."""

    split: str
    name: str
    before: Path
    after: Path
    label: Path

    @property
    def files(self) -> tuple[Path, Path, Path]:
        """First date, second date, map."""
        return (self.before, self.after, self.label)


def pairs_of(root: Path, label_names: tuple[str, ...], notes: ReadNotes) -> list[Pair]:
    """The pairs in ``{train,val,test}/{A,B,label}``, by equal names; none without a "train".

    Raises FileNotFoundError for a folder that is missing, ValueError for a file without partner.
    """
    pairs: list[Pair] = []
    if not (root / "train" / "A").is_dir():
        return []
    for split in ("train", "val", "test"):
        part = root / split
        if not part.is_dir():
            continue
        names = [name for name in label_names if (part / name).is_dir()]
        folders = [part / "A", part / "B", part / (names or label_names)[0]]
        by_stem = [{Path(n).stem: f / n for n in ImageFolder(f, notes).names()} for f in folders]
        for folder, found in zip(folders[1:], by_stem[1:], strict=True):
            if lonely := sorted(by_stem[0].keys() ^ found.keys()):
                raise ValueError(
                    f"{folders[0]} and {folder} must hold files of the same names; without "
                    f"partner: {', '.join(lonely[:5])}{', …' if len(lonely) > 5 else ''}"
                )
        for stem in sorted(by_stem[0]):
            pairs.append(Pair(split, stem, *(found[stem] for found in by_stem)))
    return pairs


def pair_size(pair: Pair, notes: ReadNotes) -> SizeHW | None:
    """The size that the three files have; None (noted) where one is damaged.

    Raises ValueError when they differ.
    """
    sizes = [ImageFolder(path.parent, notes).size_hw(path.name) for path in pair.files]
    if None in sizes:
        return None
    if len(set(sizes)) > 1:
        listed = ", ".join(f"{p} {size}" for p, size in zip(pair.files, sizes, strict=True))
        raise ValueError(f"files that belong together must have one height and width: {listed}")
    return sizes[0]


def row_as_it_is(pair: Pair, root: Path, size_hw: SizeHW) -> ImageLabels:
    """The row of a pair that needs no cutting, with paths relative to ``root``."""
    before, after, label = (path.relative_to(root).as_posix() for path in pair.files)
    return ImageLabels(before, size_hw, pair.split, image_after=after, change=label)


def patch_starts(length: int, size: int) -> list[int]:
    """Where patches of ``size`` start along ``length`` px: side by side, the last moved inside."""
    count = max(1, -(-length // size))
    return [max(0, min(i * size, length - size)) for i in range(count)]


def cut_pair(pair: Pair, size_hw: SizeHW, size_px: int, out: Path) -> Iterator[ImageLabels]:
    """The patches of a pair, written as ``{split}/{A,B,label}/{name}_{row}_{column}.png``.

    Patches do not overlap, but the last of a row or column is moved back inside; maps become 0 and
    255. Patches that are there already are not written again. Never more than a row of patches is
    held of a TIFF. Raises OSError for a file that cannot be read, ValueError for one that holds no
    bytes.
    """
    height, width = size_hw
    columns = patch_starts(width, size_px)
    for row, y in enumerate(patch_starts(height, size_px)):
        names = [f"{pair.name}_{row}_{column}.png" for column in range(len(columns))]
        strip = (0, y, width, min(y + size_px, height))
        for kind, path in zip(KINDS, pair.files, strict=True):
            places = [out / pair.split / kind / name for name in names]
            if not all(place.is_file() for place in places):
                pixels = _strip(path, strip, kind)
                for place, x in zip(places, columns, strict=True):
                    write_picture(place, pixels[:, x : x + size_px])
        for name in names:
            before, after, label = (f"{pair.split}/{kind}/{name}" for kind in KINDS)
            size = (strip[3] - y, min(size_px, width))
            yield ImageLabels(before, size, pair.split, image_after=after, change=label)


def _strip(path: Path, window: WindowXYXY, kind: str) -> NDArray[np.uint8]:
    pixels = read_window(path, window, expand_palette=kind != "label")
    if kind != "label":
        return pixels[:, :, :3]
    grey = pixels[:, :, 0]
    return np.where(grey >= (128 if grey.max() > 1 else 1), 255, 0).astype(np.uint8)
