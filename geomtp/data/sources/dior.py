"""DIOR and DIOR-R: the same images with horizontal and with rotated boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.public import PublicSource, missing
from geomtp.data.sources.samrs import Sior
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.readers.xml_files import dior_objects
from geomtp.labels.store.building import labels_of
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore

_IMAGES = {
    "train": "JPEGImages-trainval",
    "val": "JPEGImages-trainval",
    "test": "JPEGImages-test",
}


class _Dior(PublicSource):
    """What the two share: lists of images by split, one xml an image.

    - boxes: the folder of the xml below ``Annotations``
    """

    classes = Sior.classes
    licence = "research only"
    boxes: str

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        lists = root / "ImageSets" / "Main"
        if not lists.is_dir() or not (root / "Annotations" / self.boxes).is_dir():
            raise missing(self, root)
        names = [(name, split) for split in _IMAGES for name in _listed(lists / f"{split}.txt")]
        return self.write(self._rows(root, names, notes), root, out, notes)

    def _rows(
        self, root: Path, names: list[tuple[str, str]], notes: ReadNotes
    ) -> Iterator[ImageLabels]:
        folder, info = ImageFolder(root, notes), self.info(root)
        for name, split in self.tracked(names):
            image = f"{_IMAGES[split]}/{name}.jpg"
            size_hw = folder.size_hw(image)
            path = root / "Annotations" / self.boxes / f"{name}.xml"
            if size_hw is None:
                continue
            if not path.is_file():
                notes.left_out("no annotation", image, f"there is no {path}")
                continue
            objects = dior_objects(path, notes)
            if objects is not None:
                yield labels_of(Annotations(image, size_hw, objects), None, info, split, notes)


def _listed(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it lists the images of a split, one a line")
    return path.read_text("utf-8").split()


class Dior(_Dior):
    """DIOR: objects of twenty classes, horizontal boxes (Li et al. 2020).

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.5…30
    - classes: airplane … windmill, lower case
    - counts: 23,463 images of 800 × 800: 5,862 train, 5,863 val, 11,738 test
    - labels: horizontal boxes
    - licence: research only
    - layout: ``JPEGImages-trainval``, ``JPEGImages-test``, ``ImageSets/Main/{train,val,test}.txt``
      and ``Annotations/Horizontal Bounding Boxes/*.xml``
    - split: the published lists; the reference trains on train and val together, and tests on test
    - mean and std: ImageNet's
    """

    name = "dior"
    boxes = "Horizontal Bounding Boxes"


class DiorR(_Dior):
    """DIOR-R: the images of DIOR with rotated boxes (Cheng et al. 2022).

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.5…30
    - classes: airplane … windmill, lower case
    - counts: 23,463 images of 800 × 800: 5,862 train, 5,863 val, 11,738 test
    - labels: rotated boxes
    - licence: research only
    - layout: ``JPEGImages-trainval``, ``JPEGImages-test``, ``ImageSets/Main/{train,val,test}.txt``
      and ``Annotations/Oriented Bounding Boxes/*.xml``
    - split: the published lists; the reference trains on train and val together, and tests on test
    - mean and std: ImageNet's
    """

    name = "dior_r"
    boxes = "Oriented Bounding Boxes"
