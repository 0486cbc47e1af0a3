"""GeoJSON polygons over georeferenced images and web-mercator tiles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geomtp.labels.annotations import AnnotatedObject, Annotations, Polygon
from geomtp.labels.coco import read_json_object
from geomtp.labels.image_files import ImageFolder
from geomtp.labels.reports import ReadNotes
from geomtp.rasters import LONGITUDE_LATITUDE, Georeference, georeference
from geomtp.types import SizeHW

geos: Any = shapely  # few of its functions carry types

_SMALLEST_PART_PX2 = 1.0


@dataclass(frozen=True)
class _Feature:
    name: str
    where: str
    geometry: Any


def read_geojson(
    images: Path,
    annotations: Path,
    notes: ReadNotes,
    *,
    class_property: str = "class",
    class_name: str = "object",
) -> Iterator[Annotations]:
    """One ``Annotations`` per image below ``images`` that has a place on Earth, sorted by path.

    ``annotations`` is a GeoJSON file, or a folder of them (equal geometries count once), in
    longitude and latitude. The place of an image is the file's own or that of its tile name
    ``…-x-y-z``. Polygons and multi-polygons become pixel outlines, clipped to the image; parts
    below one square pixel are left out. The class is the feature's property ``class_property``,
    ``class_name`` where it has none. An image that no polygon meets has no objects.

    Raises FileNotFoundError or ValueError for a file that is missing, is no feature collection or
    uses another coordinate system.
    """
    folder = ImageFolder(images, notes)
    features = _distinct_features(annotations, notes, class_property, class_name)
    tree = geos.STRtree([feature.geometry for feature in features])
    for image in folder.names():
        size_hw = folder.size_hw(image)
        if size_hw is None:
            continue
        place = georeference(images / image)
        outline = None if place is None else _outline(place, size_hw)
        if place is None or outline is None:
            notes.left_out("no place", image, "neither the file nor its name says where it lies")
            continue
        near = [features[i] for i in sorted(tree.query(outline).tolist())]
        yield Annotations(image, size_hw, tuple(_objects(near, image, place, size_hw, notes)))


def _distinct_features(
    annotations: Path, notes: ReadNotes, class_property: str, class_name: str
) -> list[_Feature]:
    paths = sorted(annotations.rglob("*.geojson")) if annotations.is_dir() else [annotations]
    if not paths:
        raise FileNotFoundError(f"{annotations} holds no .geojson file")
    by_shape: dict[tuple[str, bytes], _Feature] = {}
    for path in paths:
        for feature in _features(path, notes, class_property, class_name):
            by_shape.setdefault((feature.name, geos.to_wkb(feature.geometry)), feature)
    return list(by_shape.values())


def _features(
    path: Path, notes: ReadNotes, class_property: str, class_name: str
) -> Iterator[_Feature]:
    content = read_json_object(path)
    entries = content.get("features")
    if content.get("type") != "FeatureCollection" or not isinstance(entries, list):
        raise ValueError(f"{path} is no GeoJSON FeatureCollection")
    named = json.dumps(content.get("crs"))
    if named != "null" and "CRS84" not in named and "4326" not in named:
        raise ValueError(
            f"{path} is in the coordinate system {named}, expected longitude and latitude "
            f"(EPSG:4326): convert it, for instance with ogr2ogr -t_srs EPSG:4326"
        )
    for number, entry in enumerate(entries):
        where = f"{path.name} feature {number}"
        try:
            geometry = _geometry(entry["geometry"])
            name = str((entry.get("properties") or {}).get(class_property) or class_name)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            notes.malformed(where, f"it is no feature with a geometry ({error})")
            continue
        if geometry.geom_type in ("Polygon", "MultiPolygon"):
            yield _Feature(name, where, geometry)
        else:
            notes.left_out("no polygon", where, f"its geometry is a {geometry.geom_type}")


def _geometry(entry: Any) -> Any:
    try:
        geometry = geos.from_geojson(json.dumps(entry))
    except geos.GEOSException as error:
        raise ValueError(str(error)) from error
    west, south, east, north = geometry.bounds if not geometry.is_empty else (0, 0, 0, 0)
    if not (west >= -180 and east <= 180 and south >= -90 and north <= 90):
        raise ValueError(f"{geometry.bounds} is not in longitude and latitude")
    return geos.make_valid(geometry) if not geometry.is_valid else geometry


def _outline(place: Georeference, size_hw: SizeHW) -> Any:
    """The image in longitude and latitude: the box around its border, nine points a side.

    None where its coordinate system has no longitude and latitude.
    """
    height, width = size_hw
    t = np.linspace(0, 1, 9)
    sides = [(t, t * 0), (t, t * 0 + 1), (t * 0, t), (t * 0 + 1, t)]
    border = np.concatenate([np.stack(side, axis=1) for side in sides]) * (width, height)
    try:
        points = place.to_map(border, LONGITUDE_LATITUDE)
    except ValueError:
        return None
    if not np.isfinite(points).all():
        return None
    return geos.box(*points.min(axis=0), *points.max(axis=0))


def _objects(
    features: Sequence[_Feature],
    image: str,
    place: Georeference,
    size_hw: SizeHW,
    notes: ReadNotes,
) -> Iterator[AnnotatedObject]:
    if not features:
        return
    geometries = np.array([feature.geometry for feature in features], dtype=object)
    pixels = geos.transform(geometries, lambda xy: place.to_pixels(xy, LONGITUDE_LATITUDE))
    window = geos.box(0, 0, size_hw[1], size_hw[0])
    for feature, outline in zip(features, pixels, strict=True):
        try:
            # The way into pixels bends lines a little, enough to make them cross.
            mended = outline if outline.is_valid else geos.make_valid(outline)
            clipped = mended.intersection(window)
        except geos.GEOSException as error:
            notes.malformed(f"{image}, {feature.where}", f"it cannot be clipped: {error}")
            continue
        flat = geos.get_parts(geos.get_parts([clipped]))  # a collection may hold multi-polygons
        parts = [part for part in flat if part.geom_type == "Polygon"]
        area = sum(part.area for part in parts)
        if area >= _SMALLEST_PART_PX2:
            polygons = tuple(_polygon(part) for part in parts)
            yield AnnotatedObject(feature.name, feature.where, polygons=polygons)
        elif area > 0:
            notes.left_out("sliver", f"{image}, {feature.where}", "less than one pixel of it")


def _polygon(geometry: Any) -> Polygon:
    rings = (geometry.exterior, *geometry.interiors)
    return tuple(geos.get_coordinates(ring)[:-1] for ring in rings)
