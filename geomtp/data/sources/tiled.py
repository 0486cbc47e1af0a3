"""Data sets of large images with rotated boxes, which are cut into tiles."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from geomtp.data.sources.public import PublicSource, missing
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.dota import read_dota
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.building import labels_of
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.labels.tiles.tiling import Tiling, cut

EmptyTiles = Literal["none", "val", "all"]
"""Of which labelled images tiles without objects are kept."""

Scene = tuple[str, Path, Annotations]
"""A split, the folder of the images, and what is annotated in one of them."""


@dataclass(frozen=True)
class TiledSource(PublicSource):
    """A data set whose images are cut; tiles that were cut already (``annfiles``) are read as such.

    - tiling: how they are cut, but for its ``keep_empty``
    - empty_tiles: which tiles without objects are kept beside those of the test images: "val",
      where a detector may find what is not there; "all", to train on them too; or "none"
    """

    tiling: Tiling = Tiling()  # noqa: RUF009 (frozen)
    empty_tiles: EmptyTiles = "val"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        if (root / "trainval" / "annfiles").is_dir():
            return self.write(self._tiles_as_cut(root, notes), root, out, notes)
        scenes = list(self.scenes(root, notes))
        if not scenes:
            raise missing(self, root)
        rows = self._tiles(scenes, out / "images", notes)
        return self.write(rows, out / "images", out, notes)

    def scenes(self, root: Path, notes: ReadNotes) -> Iterator[Scene]:
        """The annotated images of "train" and "val", and those of "test", which have no labels."""
        raise NotImplementedError

    def _tiles(self, scenes: list[Scene], out: Path, notes: ReadNotes) -> Iterator[ImageLabels]:
        for split, images, scene in self.tracked(scenes):
            tiling = dataclasses.replace(self.tiling, keep_empty=self._keeps_empty(split))
            stem = scene.image.replace("/", "_")
            named = dataclasses.replace(scene, image=f"{split}/{stem}")
            image = images / scene.image
            for tile in cut(named, image, tiling, out, notes, colour=True, skip_existing=True):
                yield self._row(tile, split, out, notes)

    def _keeps_empty(self, split: str) -> bool:
        return split == "test" or self.empty_tiles in ("all", split)

    def _row(self, item: Annotations, split: str, images: Path, notes: ReadNotes) -> ImageLabels:
        if split == "test":
            return ImageLabels(item.image, item.size_hw, split)
        return labels_of(item, None, self.info(images), split, notes)

    def _tiles_as_cut(self, root: Path, notes: ReadNotes) -> Iterator[ImageLabels]:
        """Tiles in ``{trainval,val,test}/{images,annfiles}``: val is a part of trainval."""
        val = root / "val" / "images"
        held_out = set(ImageFolder(val, notes).names()) if val.is_dir() else set()
        images = root / "trainval" / "images"
        tiles = list(read_dota(images, root / "trainval" / "annfiles", notes))
        for tile in self.tracked(tiles):
            split = "val" if tile.image in held_out else "train"
            if tile.objects or self._keeps_empty(split):
                named = dataclasses.replace(tile, image=f"trainval/images/{tile.image}")
                yield self._row(named, split, root, notes)
        yield from unlabelled(root / "test" / "images", root, notes)


def unlabelled(images: Path, root: Path, notes: ReadNotes) -> Iterator[ImageLabels]:
    """The test images in a folder, which may be missing; paths relative to ``root``."""
    if images.is_dir():
        folder = ImageFolder(images, notes)
        for name in folder.names():
            size_hw = folder.size_hw(name)
            if size_hw is not None:
                yield ImageLabels((images / name).relative_to(root).as_posix(), size_hw, "test")


def unlabelled_scenes(images: Path, notes: ReadNotes) -> Iterator[Scene]:
    """The test images in a folder, which may be missing, as scenes without objects."""
    if images.is_dir():
        folder = ImageFolder(images, notes)
        for name in folder.names():
            size_hw = folder.size_hw(name)
            if size_hw is not None:
                yield "test", images, Annotations(name, size_hw, ())
