"""Polygons of a map over georeferenced images: what GeoJSON and GeoPackage files share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.outlines import geos, polygons_of, valid
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.rasters import LONGITUDE_LATITUDE, Georeference, georeference
from geomtp.types import SizeHW

_SMALLEST_PART_PX2 = 1.0


@dataclass(frozen=True, slots=True)
class MapFeature:
    """A polygon or multi-polygon on a map.

    - name: its class; where: file and entry, for messages
    - geometry: shapely's, valid, x (east, longitude) first
    - crs: the map's coordinate system, as WKT or "EPSG:number"
    """

    name: str
    where: str
    geometry: Any
    crs: str


def usable(geometry: Any, crs: str) -> Any:
    """``geometry``, mended where its lines cross.

    Raises ValueError where coordinates are not finite or, in EPSG:4326, no longitude and latitude.
    """
    west, south, east, north = geometry.bounds if not geometry.is_empty else (0, 0, 0, 0)
    if not np.isfinite([west, south, east, north]).all():
        raise ValueError("its coordinates are not finite")
    if crs == LONGITUDE_LATITUDE and not (
        west >= -180 and east <= 180 and south >= -90 and north <= 90
    ):
        raise ValueError(f"{geometry.bounds} is not in longitude and latitude")
    try:
        return valid(geometry)
    except geos.GEOSException as error:
        raise ValueError(str(error)) from error


def distinct(features: Iterator[MapFeature]) -> list[MapFeature]:
    """Features of equal class, geometry and coordinate system once, the first of each."""
    by_shape: dict[tuple[str, str, bytes], MapFeature] = {}
    for feature in features:
        by_shape.setdefault((feature.crs, feature.name, geos.to_wkb(feature.geometry)), feature)
    return list(by_shape.values())


def read_map_files(
    images: Path,
    annotations: Path,
    suffix: str,
    features_of: Callable[[Path], Iterator[MapFeature]],
    notes: ReadNotes,
) -> Iterator[Annotations]:
    """The features of one map, or of all those of a folder, as ``annotations_from_features``.

    Raises FileNotFoundError for a folder without files of this ``suffix``.
    """
    paths = sorted(annotations.rglob(f"*{suffix}")) if annotations.is_dir() else [annotations]
    if not paths:
        raise FileNotFoundError(f"{annotations} holds no {suffix} file")
    features = distinct(feature for path in paths for feature in features_of(path))
    yield from annotations_from_features(images, features, notes)


def annotations_from_features(
    images: Path, features: Sequence[MapFeature], notes: ReadNotes
) -> Iterator[Annotations]:
    """One ``Annotations`` per image below ``images`` that has a place on Earth, sorted by path.

    The place of an image is the file's own or that of its tile name ``…-x-y-z``. Outlines are
    turned into pixels and clipped to the image; parts below one square pixel are left out. An
    image that no feature meets has no objects. Raises FileNotFoundError for a missing folder.
    """
    folder = ImageFolder(images, notes)
    layers: dict[str, list[MapFeature]] = {} if features else {LONGITUDE_LATITUDE: []}
    for feature in features:
        layers.setdefault(feature.crs, []).append(feature)
    trees = {crs: geos.STRtree([f.geometry for f in layer]) for crs, layer in layers.items()}
    for image in folder.names():
        size_hw = folder.size_hw(image)
        if size_hw is None:
            continue
        place = georeference(images / image)
        if place is None:
            notes.left_out("no place", image, "neither the file nor its name says where it lies")
            continue
        objects: list[AnnotatedObject] = []
        reachable = True
        for crs, layer in layers.items():
            outline = _outline(place, size_hw, crs)
            if outline is None:
                notes.left_out("no place", image, f"no way from its map to that of {crs[:60]}")
                reachable = False
                break
            near = [layer[i] for i in sorted(trees[crs].query(outline).tolist())]
            objects += _objects(near, image, place, size_hw, notes)
        if reachable:
            yield Annotations(image, size_hw, tuple(objects))


def _outline(place: Georeference, size_hw: SizeHW, crs: str) -> Any:
    """The image in another coordinate system: the box around its border, nine points a side.

    None where there is no way into that system.
    """
    height, width = size_hw
    t = np.linspace(0, 1, 9)
    sides = [(t, t * 0), (t, t * 0 + 1), (t * 0, t), (t * 0 + 1, t)]
    border = np.concatenate([np.stack(side, axis=1) for side in sides]) * (width, height)
    try:
        points = place.to_map(border, crs)
    except ValueError:
        return None
    if not np.isfinite(points).all():
        return None
    return geos.box(*points.min(axis=0), *points.max(axis=0))


def _objects(
    features: Sequence[MapFeature],
    image: str,
    place: Georeference,
    size_hw: SizeHW,
    notes: ReadNotes,
) -> Iterator[AnnotatedObject]:
    """The parts of features of one coordinate system in an image, in its pixels."""
    if not features:
        return
    geometries = np.array([feature.geometry for feature in features], dtype=object)
    pixels = geos.transform(geometries, lambda xy: place.to_pixels(xy, features[0].crs))
    window = geos.box(0, 0, size_hw[1], size_hw[0])
    for feature, outline in zip(features, pixels, strict=True):
        try:
            # The way into pixels bends lines a little, enough to make them cross.
            polygons = polygons_of(valid(outline).intersection(window))
        except geos.GEOSException as error:
            notes.malformed(f"{image}, {feature.where}", f"it cannot be clipped: {error}")
            continue
        area = sum(geos.Polygon(polygon[0], polygon[1:]).area for polygon in polygons)
        if area >= _SMALLEST_PART_PX2:
            yield AnnotatedObject(feature.name, feature.where, polygons=polygons)
        elif area > 0:
            notes.left_out("sliver", f"{image}, {feature.where}", "less than one pixel of it")
