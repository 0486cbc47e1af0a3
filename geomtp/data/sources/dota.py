"""DOTA 1.0 and 2.0: objects with rotated boxes in large aerial images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geomtp.data.sources.tiled import Scene, TiledSource, unlabelled_scenes
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.dota import read_dota
from geomtp.labels.tiles.tiling import Tiling
from geomtp.types import ClassMap

_CLASSES = (
    "plane baseball-diamond bridge ground-track-field small-vehicle large-vehicle ship "
    "tennis-court basketball-court storage-tank soccer-ball-field roundabout harbor swimming-pool "
    "helicopter"
)


class _Dota(TiledSource):
    """What the versions share: folders by split, with text files in one named labelTxt….

    - version: of the labels, where folders of several lie side by side
    """

    version: str

    def scenes(self, root: Path, notes: ReadNotes) -> Iterator[Scene]:
        """The images with text files in "train" and "val", and all of "test" (or "test-dev")."""
        for split in ("train", "val"):
            part = root / split
            if not (part / "images").is_dir():
                continue
            for item in read_dota(part / "images", self._texts(part), notes):
                yield split, part / "images", item
        for name in ("test", "test-dev", "test-challenge"):
            yield from unlabelled_scenes(root / name / "images", notes)

    def _texts(self, part: Path) -> Path:
        """The folder of the text files of this version."""
        folders = [path for path in (*part.glob("*"), *part.glob("*/*")) if path.is_dir()]
        ours = part / "annotations" / f"version{self.version}"  # as torchgeo has them
        if ours in folders:
            return ours
        found = [p for p in folders if "labeltxt" in p.name.lower() and any(p.glob("*.txt"))]
        versioned = [p for p in found if f"v{self.version}" in p.relative_to(part).as_posix()]
        named = [p for p in versioned or found if p.name.lower().startswith("labeltxt")]
        if not named:
            raise FileNotFoundError(
                f"{part} must hold a folder labelTxt (or labelTxt-v{self.version}) with the text "
                f"files of {self.name!r}"
            )
        return sorted(named)[0]


@dataclass(frozen=True)
class DotaV1(_Dota):
    """DOTA 1.0: fifteen classes in aerial images (Xia et al. 2018), in tiles of three sizes.

    - sensor: Google Earth, GF-2 and JL-1 satellites, and aircraft; red, green, blue or grey, 8 bits
    - metres per pixel: mixed, 0.1…4.5
    - classes: plane … helicopter, in the order of the data set (SAMRS has another)
    - counts: 2,806 images of 800…13,000 px: 1,411 train, 458 val, 937 test; about 68,300 tiles of
      train and val hold objects
    - labels: rotated boxes; those of the test images are kept by the server
    - licence: academic use only
    - layout: ``{train,val,test}/images`` and ``{train,val}/labelTxt``; or tiles that were cut
      already, ``{trainval,val,test}/images`` and ``{trainval,val}/annfiles``. Tiles of 2048, 1024
      and 682 px are cut into ``images/`` beside the store
    - split: the folders; the reference trains on train and val together
    - mean and std: ImageNet's
    """

    name = "dota_v1"
    classes = ClassMap(tuple(_CLASSES.split()))
    licence = "academic use only"
    version = "1.0"
    tiling: Tiling = Tiling(1024, 500, (0.5, 1.0, 1.5))  # noqa: RUF009 (frozen)


@dataclass(frozen=True)
class DotaV2(_Dota):
    """DOTA 2.0: eighteen classes in aerial images (Ding et al. 2021), in tiles of one size.

    - sensor: Google Earth, GF-2 and JL-1 satellites, and aircraft; red, green, blue or grey, 8 bits
    - metres per pixel: mixed, 0.1…4.5
    - classes: those of DOTA 1.0, container-crane, airport, helipad
    - counts: 1,830 train, 593 val, 2,792 test-dev, 6,053 test-challenge images; about 17,550 tiles
      of train and val hold objects
    - labels: rotated boxes; those of the test images are kept by the server
    - licence: academic use only
    - layout: ``{train,val,test}/images`` and ``{train,val}/labelTxt``; or tiles that were cut
      already, ``{trainval,val,test}/images`` and ``{trainval,val}/annfiles``. Tiles of 1024 px
      are cut into ``images/`` beside the store
    - split: the folders; the reference trains on train and val together
    - mean and std: ImageNet's
    """

    name = "dota_v2"
    classes = ClassMap((*_CLASSES.split(), "container-crane", "airport", "helipad"))
    licence = "academic use only"
    version = "2.0"
    tiling: Tiling = Tiling(1024, 200)  # noqa: RUF009 (frozen)
