"""EuroSAT and RESISC-45: one class per image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.public import PublicSource, class_names, missing
from geomtp.labels.hash_order import hash_order
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap

Scene = tuple[str, str, int]
"""Path of an image, its split, its class."""


class _SceneSource(PublicSource):
    """What the two share: class folders, and shares of each class where nothing else splits them.

    - shares: of each class, those first in hash order go to train, the next to val, others to test
    - inner: a folder of this name below the root is looked into
    """

    shares: tuple[float, float]
    inner: str

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        scenes = self._scenes(root, notes)
        return self.write(self._rows(scenes, ImageFolder(root, notes)), root, out, notes)

    def _scenes(self, root: Path, notes: ReadNotes) -> list[Scene]:
        place = root / self.inner if (root / self.inner).is_dir() else root
        parts = {s: place / s for s in ("train", "val", "test") if (place / s).is_dir()}
        scenes: list[Scene] = []
        for split, part in (parts or {"": place}).items():
            for number, images in self._by_class(part, root, notes).items():
                scenes += [(image, split, number) for image in images]
        return scenes if parts else self._split(scenes)

    def _by_class(self, part: Path, root: Path, notes: ReadNotes) -> dict[int, list[str]]:
        """The images of each class, relative to ``root``. Raises for other folders than classes."""
        folders = {path.name for path in part.iterdir() if path.is_dir()}
        if not folders & set(self.classes.names):
            raise missing(self, part)
        if wrong := sorted(folders ^ set(self.classes.names)):
            raise ValueError(
                f"{part} must hold one folder for each of the {len(self.classes)} classes of "
                f"{self.name!r}; missing or unknown: {', '.join(wrong)}"
            )
        found: dict[int, list[str]] = defaultdict(list)
        below = part.relative_to(root)
        for image in ImageFolder(part, notes).names():
            found[self.classes.index(image.partition("/")[0])].append((below / image).as_posix())
        return found

    def _split(self, scenes: list[Scene]) -> list[Scene]:
        by_class: dict[int, list[str]] = defaultdict(list)
        for image, _, number in scenes:
            by_class[number].append(image)
        split_of: dict[str, str] = {}
        for images in by_class.values():
            train = round(self.shares[0] * len(images))
            val = train + round(self.shares[1] * len(images))
            # By the file's own name, so that it does not matter where the data lies.
            own = {image.rpartition("/")[2]: image for image in images}
            for i, name in enumerate(hash_order(own)):
                split_of[own[name]] = "train" if i < train else "val" if i < val else "test"
        return [(image, split_of[image], number) for image, _, number in scenes]

    def _rows(self, scenes: list[Scene], folder: ImageFolder) -> Iterator[ImageLabels]:
        for image, split, number in self.tracked(scenes):
            size_hw = folder.size_hw(image)
            if size_hw is not None:
                yield ImageLabels(image, size_hw, split, scene_class=number)


class Eurosat(_SceneSource):
    """EuroSAT: land use and cover in Europe, ten classes (Helber et al. 2019).

    - sensor: Sentinel-2, red, green, blue, 8 bits
    - metres per pixel: 10
    - classes: AnnualCrop … SeaLake, in alphabetical order
    - counts: 27,000 images of 64 × 64, 2,000 to 3,000 of each class; the reference trains on 16,200
      and tests on 5,400, by lists that are not published
    - labels: one class per image
    - licence: MIT
    - layout: ``{train,val}/CLASS/*.jpg``, or ``CLASS/*.jpg`` as published (``2750/CLASS/*.jpg``)
    - split: the folders; where there are none, of each class 60 % by hash train, 20 % val, the
      others test
    - mean and std: ImageNet's
    """

    name = "eurosat"
    classes = ClassMap(
        class_names(
            "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop "
            "Residential River SeaLake"
        )
    )
    gsd_m = 10.0
    licence = "MIT"
    shares = (0.6, 0.2)
    inner = "2750"


class Resisc45(_SceneSource):
    """NWPU-RESISC45: scenes from Google Earth, 45 classes (Cheng et al. 2017).

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.2…30
    - classes: airplane … wetland, in alphabetical order
    - counts: 31,500 images of 256 × 256, 700 of each class; 6,300 train and 25,200 val
    - labels: one class per image
    - licence: research only
    - layout: ``all_img/*.jpg`` with ``mtp/train_labels_28_mtp.txt`` and
      ``mtp/valid_labels_28_mtp.txt`` (lines of image name and number), or ``CLASS/*.jpg`` as
      published (``NWPU-RESISC45/CLASS/*.jpg``)
    - split: the lists; where there are none, of each class 20 % by hash train, the others val
    - mean and std: ImageNet's
    """

    name = "resisc45"
    classes = ClassMap(
        class_names(
            "airplane airport baseball_diamond basketball_court beach bridge chaparral church "
            "circular_farmland cloud commercial_area dense_residential desert forest freeway "
            "golf_course ground_track_field harbor industrial_area intersection island lake meadow "
            "medium_residential mobile_home_park mountain overpass palace parking_lot railway "
            "railway_station rectangular_farmland river roundabout runway sea_ice ship snowberg "
            "sparse_residential stadium storage_tank tennis_court terrace thermal_power_station "
            "wetland"
        )
    )
    licence = "research only"
    shares = (0.2, 0.8)
    inner = "NWPU-RESISC45"

    def _scenes(self, root: Path, notes: ReadNotes) -> list[Scene]:
        lists = {
            "train": root / "mtp" / "train_labels_28_mtp.txt",
            "val": root / "mtp" / "valid_labels_28_mtp.txt",
        }
        if not all(path.is_file() for path in lists.values()):
            return super()._scenes(root, notes)
        return [scene for split, path in lists.items() for scene in self._listed(path, split)]

    def _listed(self, path: Path, split: str) -> Iterator[Scene]:
        """The images that a list names. Raises ValueError for a line that is none."""
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
            name, _, text = line.strip().rpartition(" ")
            if not line.strip():
                continue
            if not name or not text.isdecimal() or int(text) >= len(self.classes):
                raise ValueError(
                    f"{path} line {number} must be an image name and a number below "
                    f"{len(self.classes)}, found {line[:60]!r}"
                )
            yield f"all_img/{name.strip()}", split, int(text)
