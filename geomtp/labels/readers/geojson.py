"""GeoJSON polygons and boxes over georeferenced images and web-mercator tiles."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geomtp.labels.annotations import Annotations
from geomtp.labels.outlines import geos
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.coco import read_json_object
from geomtp.labels.readers.map_features import MapFeature, read_map_files, usable
from geomtp.rasters import LONGITUDE_LATITUDE


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
    longitude and latitude or in the EPSG system that its older member "crs" names. The place of an
    image is the file's own or that of its tile name ``…-x-y-z``. Polygons and multi-polygons (of a
    feature without geometry, its "bbox") become pixel outlines, clipped to the image; parts
    below one square pixel are left out. The class is the feature's property ``class_property``,
    ``class_name`` where it has none. An image that no polygon meets has no objects.

    Raises FileNotFoundError or ValueError for a file that is missing, is no feature collection or
    names a coordinate system in another way.
    """

    def features_of(path: Path) -> Iterator[MapFeature]:
        return _features(path, notes, class_property, class_name)

    return read_map_files(images, annotations, ".geojson", features_of, notes)


def _features(
    path: Path, notes: ReadNotes, class_property: str, class_name: str
) -> Iterator[MapFeature]:
    content = read_json_object(path)
    entries = content.get("features")
    if content.get("type") != "FeatureCollection" or not isinstance(entries, list):
        raise ValueError(f"{path} is no GeoJSON FeatureCollection")
    crs = _named_crs(path, content.get("crs"))
    for number, entry in enumerate(entries):
        where = f"{path.name} feature {number}"
        try:
            geometry = _geometry(entry, crs)
            name = str((entry.get("properties") or {}).get(class_property) or class_name)
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            notes.malformed(where, f"it is no feature with a geometry ({error})")
            continue
        if geometry.geom_type in ("Polygon", "MultiPolygon"):
            yield MapFeature(name, where, geometry, crs)
        else:
            notes.left_out("no polygon", where, f"its geometry is a {geometry.geom_type}")


def _named_crs(path: Path, member: Any) -> str:
    """The coordinate system that the member "crs" of a file names; without it the standard's."""
    named = json.dumps(member)
    if named == "null" or "CRS84" in named:
        return LONGITUDE_LATITUDE
    code = re.search(r'EPSG:(?:[\d.]*:)?(\d{4,6})"', named)
    if code is None:
        raise ValueError(
            f"{path} is in the coordinate system {named[:200]}, expected longitude and latitude or "
            f"an EPSG number: convert it, for instance with ogr2ogr -t_srs EPSG:4326"
        )
    return f"EPSG:{code[1]}"


def _geometry(entry: dict[str, Any], crs: str) -> Any:
    """The geometry of a feature, mended; the box of one that has only that."""
    if entry.get("geometry") is None and entry.get("bbox") is not None:
        geometry = _box(entry["bbox"])
    else:
        try:
            geometry = geos.from_geojson(json.dumps(entry["geometry"]))
        except geos.GEOSException as error:
            raise ValueError(str(error)) from error
    return usable(geometry, crs)


def _box(numbers: Any) -> Any:
    """The rectangle of a "bbox": west south east north, or with heights six numbers."""
    values = [float(number) for number in numbers]
    if len(values) not in (4, 6):
        raise ValueError(f"a bbox has four or six numbers, found {len(values)}")
    half = len(values) // 2
    west, south, east, north = *values[:2], *values[half : half + 2]
    if not (west < east and south < north):
        raise ValueError(f"a bbox goes from south-west to north-east, found {values}")
    return geos.box(west, south, east, north)
