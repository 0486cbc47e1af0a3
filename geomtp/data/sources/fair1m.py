"""FAIR1M 2.0: fine-grained classes with rotated boxes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geomtp.data.sources.samrs import Fast
from geomtp.data.sources.tiled import Scene, TiledSource, unlabelled_scenes
from geomtp.labels.engine.plan import SPLIT_FOLDERS
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.xml_files import read_fair1m
from geomtp.labels.tiles.tiling import Tiling


@dataclass(frozen=True)
class Fair1m(TiledSource):
    """FAIR1M 2.0: 37 fine-grained classes (Sun et al. 2022), in tiles of 800 px.

    - sensor: Gaofen satellites and Google Earth, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.3…0.8
    - classes: A220 … Warship, spaces as hyphens
    - counts: 16,488 train, 8,287 validation and 18,021 test images of 600…10,000 px
    - labels: rotated boxes; those of the test images are kept by the server
    - licence: CC BY-NC-SA 3.0
    - layout: ``{train,validation,test}`` with ``images`` and ``labelXml``, also below ``part1``,
      ``part2``; or tiles that were cut already, ``{trainval,test}/images`` and
      ``trainval/annfiles``. Tiles of 800 px that share 200 are cut into ``images/`` beside the
      store (what size the reference cuts is not published; it resizes to 800)
    - split: the folders; the reference trains on train and validation together
    - mean and std: ImageNet's
    """

    name = "fair1m"
    classes = Fast.classes
    licence = "CC BY-NC-SA 3.0"
    tiling: Tiling = Tiling(800, 200)  # noqa: RUF009 (frozen)

    def scenes(self, root: Path, notes: ReadNotes) -> Iterator[Scene]:
        """The images with xml of train and validation, and those of the test."""
        for part in sorted(path for path in root.iterdir() if path.is_dir()):
            split = SPLIT_FOLDERS.get(part.name.lower())
            for images in _image_folders(part) if split else ():
                # Parts repeat file names: the name of the part becomes a piece of the tile's.
                base = part if images.parent != part else images
                if split == "test":
                    scenes = unlabelled_scenes(images, notes)
                else:
                    texts = _xml_folder(images.parent)
                    scenes = (
                        (str(split), images, item) for item in read_fair1m(images, texts, notes)
                    )
                for kind, folder, item in scenes:
                    name = (folder / item.image).relative_to(base).as_posix()
                    yield kind, base, dataclasses.replace(item, image=name)


def _image_folders(part: Path) -> list[Path]:
    return sorted(p for p in (*part.glob("images"), *part.glob("*/images")) if p.is_dir())


def _xml_folder(folder: Path) -> Path:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name.lower().startswith("label"):
            return path
    raise FileNotFoundError(f"{folder} must hold a folder labelXml beside images")
