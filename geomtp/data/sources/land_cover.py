"""LoveDA and SpaceNet 1: a class for every pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from rasterio.features import rasterize

from geomtp.data.sources.picture_files import copy_picture, write_picture
from geomtp.data.sources.public import PublicSource, missing
from geomtp.labels.hash_order import hash_order
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.coco import read_json_object
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.rasters import georeference, read_window
from geomtp.types import IGNORE, ClassMap, SizeHW

_TRAIN_SHARE = 5_000 / 6_940


def _labelled(
    source: PublicSource, root: Path, folders: list[tuple[str, Path, Path]], notes: ReadNotes
) -> Iterator[ImageLabels]:
    """The images of (split, folder of images, folder of maps), maps by the same stem.

    Raises FileNotFoundError for a map that is missing where others are there, ValueError for one of
    another size.
    """
    folder = ImageFolder(root, notes)
    files = [
        (split, images / name, maps)
        for split, images, maps in folders
        for name in ImageFolder(images, notes).names()
    ]
    for split, path, maps in source.tracked(files):
        image = path.relative_to(root).as_posix()
        size_hw = folder.size_hw(image)
        semantic = None
        if maps.is_dir():
            semantic = (maps / f"{path.stem}.png").relative_to(root).as_posix()
            if not (root / semantic).is_file():
                raise FileNotFoundError(f"{root / semantic} is missing: the class map of {image}")
            _check_size(folder, semantic, image, size_hw)
        if size_hw is not None:
            yield ImageLabels(image, size_hw, split, semantic=semantic)


def _check_size(folder: ImageFolder, semantic: str, image: str, size_hw: SizeHW | None) -> None:
    own = folder.size_hw(semantic)
    if None not in (own, size_hw) and own != size_hw:
        raise ValueError(
            f"{folder.root / semantic} has height and width {own}, its image {image} {size_hw}: "
            f"they must be equal"
        )


class LoveDA(PublicSource):
    """LoveDA: land cover of cities and villages in China, seven classes (Wang et al. 2021).

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: 0.3
    - classes: building, road, water, barren, forest, agricultural; and the background
    - counts: 5,987 tiles of 1024 × 1024: 2,522 train, 1,669 val, 1,796 test
    - labels: class maps, 0 no data (ignored), 1 background, 2…7 the classes; those of the test
      images are kept by the server
    - licence: CC BY-NC-SA 4.0
    - layout: ``{Train,Val,Test}/{Urban,Rural}/images_png`` with ``masks_png`` beside, or
      ``{trainval,test}/images`` with ``labels`` beside
    - split: the folders; the reference trains on train and val together
    - mean and std: ImageNet's
    """

    name = "loveda"
    classes = ClassMap(
        ("building", "road", "water", "barren", "forest", "agricultural"),
        ((255, 0, 0), (255, 255, 0), (0, 0, 255), (159, 129, 183), (0, 255, 0), (255, 195, 128)),
    )
    gsd_m = 0.3
    licence = "CC BY-NC-SA 4.0"

    def info(self, image_root: Path) -> StoreInfo:
        """What the store says of all its images."""
        values = {0: IGNORE, **{value: value - 1 for value in range(1, 8)}}
        return dataclasses.replace(super().info(image_root), semantic_values=values)

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        published = [
            (split, root / part / area / "images_png", root / part / area / "masks_png")
            for split, part in (("train", "Train"), ("val", "Val"), ("test", "Test"))
            for area in ("Urban", "Rural")
        ]
        joined = [
            ("train", root / "trainval" / "images", root / "trainval" / "labels"),
            ("test", root / "test" / "images", root / "test" / "labels"),
        ]
        folders = [entry for entry in (*published, *joined) if entry[1].is_dir()]
        if not any(split == "train" and maps.is_dir() for split, _, maps in folders):
            raise missing(self, root)
        return self.write(_labelled(self, root, folders, notes), root, out, notes)


class SpaceNetV1(PublicSource):
    """SpaceNet 1: buildings of Rio de Janeiro (Van Etten et al. 2018).

    - sensor: WorldView-2, red, green, blue, 8 bits
    - metres per pixel: 0.5
    - classes: building; and the background
    - counts: 6,940 images of about 406 × 439, 382,534 buildings
    - labels: polygons, made into class maps of 0 and 1
    - licence: CC BY-SA 4.0
    - layout: ``3band/3band_AOI_1_RIO_img*.tif`` and ``geojson/Geo_AOI_1_RIO_img*.geojson`` (also
      below ``vectordata``); or ``{train,val}/images`` with class maps of 0 and 1 in ``labels``
      beside. Images and maps are written into ``{train,val}`` beside the store
    - split: the folders; where there are none, 5,000 of 6,940 by hash are "train", the others "val"
      (the reference's lists are not published)
    - mean and std: ImageNet's
    """

    name = "spacenet_v1"
    classes = ClassMap(("building",), ((255, 0, 0),))
    gsd_m = 0.5
    licence = "CC BY-SA 4.0"

    def info(self, image_root: Path) -> StoreInfo:
        """What the store says of all its images; 255 is the burnt value of the preparation."""
        values = {0: 0, 1: 1, 255: 1}
        return dataclasses.replace(super().info(image_root), semantic_values=values)

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        parts = [(s, root / s / "images", root / s / "labels") for s in ("train", "val", "test")]
        parts = [entry for entry in parts if entry[1].is_dir() and entry[2].is_dir()]
        if parts:
            return self.write(_labelled(self, root, parts, notes), root, out, notes)
        polygons = [root / "geojson", root / "vectordata" / "geojson", root / "vectorData/geoJson"]
        polygons = [path for path in polygons if path.is_dir()]
        if not (root / "3band").is_dir() or not polygons:
            raise missing(self, root)
        return self.write(
            self._rasterised(root / "3band", polygons[0], out, notes), out, out, notes
        )

    def _rasterised(
        self, images: Path, polygons: Path, out: Path, notes: ReadNotes
    ) -> Iterator[ImageLabels]:
        folder = ImageFolder(images, notes)
        names = folder.names()
        training = frozenset(hash_order(names)[: round(_TRAIN_SHARE * len(names))])
        for name in self.tracked(names):
            size_hw = folder.size_hw(name)
            stem = Path(name).stem
            file = polygons / f"{stem.replace('3band_', 'Geo_', 1)}.geojson"
            if size_hw is None:
                continue
            if not file.is_file():
                notes.left_out("no annotation", name, f"there is no {file}")
                continue
            split = "train" if name in training else "val"
            image, label = f"{split}/images/{Path(name).name}", f"{split}/labels/{stem}.png"
            if not (out / label).is_file():
                write_picture(out / label, burnt(images / name, file, size_hw))
            copy_picture(images / name, out / image)
            yield ImageLabels(image, size_hw, split, semantic=label)


def burnt(image: Path, polygons: Path, size_hw: SizeHW) -> Any:
    """The polygons of a GeoJSON file on the grid of an image: (H, W) uint8, 1 inside, else 0.

    A pixel lies inside when its centre does. Raises ValueError for an image without a place on
    Earth, a file that is no feature collection, or an image that cannot be decoded (OSError).
    """
    read_window(image, (0, size_hw[0] - 1, size_hw[1], size_hw[0]))  # a file cut short stops here
    place = georeference(image)
    if place is None:
        raise ValueError(f"{image} has no place on Earth: its polygons cannot be drawn on it")
    features = read_json_object(polygons).get("features")
    if not isinstance(features, list):
        raise ValueError(f"{polygons} is no GeoJSON FeatureCollection")
    shapes = [f.get("geometry") for f in features if isinstance(f, dict)]
    shapes = [s for s in shapes if s and s.get("coordinates") and "Polygon" in s.get("type", "")]
    if not shapes:
        return np.zeros(size_hw, dtype=np.uint8)
    transform = Affine(*place.transform)
    return rasterize(shapes, size_hw, fill=0, default_value=1, transform=transform, dtype="uint8")
