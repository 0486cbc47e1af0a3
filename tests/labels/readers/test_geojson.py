import math

import numpy as np
import pytest

from geomtp.labels import PolygonSegmenter
from geomtp.labels.masks.run_lengths import rle_area
from geomtp.labels.readers.geojson import read_geojson
from geomtp.rasters import LONGITUDE_LATITUDE, Georeference, tile_georeference, write_raster
from tests.labels.layouts import image, notes, read, text

UTM = Georeference("EPSG:32636", (0.5, 0.0, 500_000.0, 0.0, -0.5, 40_000.0))
TILE = "t-619212-523272-20"


def feature(place, *rings, kind="Polygon", **properties):
    """A feature from rings in pixels of an image that lies at ``place``."""
    turned = [
        place.to_map(np.array([*ring, ring[0]]), LONGITUDE_LATITUDE).tolist() for ring in rings
    ]
    coordinates = turned if kind == "Polygon" else [[ring] for ring in turned]
    geometry = {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features, **others):
    return {"type": "FeatureCollection", "features": list(features), **others}


def square(x, y, side):
    return [(x, y), (x + side, y), (x + side, y + side), (x, y + side)]


@pytest.fixture(params=["utm", "tile", "lonlat"])
def placed(request, tmp_path):
    """A folder with one image of 256 × 256, its name, and its place."""
    folder = tmp_path / "images"
    if request.param == "tile":
        image(folder / f"{TILE}.png", 256, 256)
        return folder, f"{TILE}.png", tile_georeference(TILE)
    place = UTM
    if request.param == "lonlat":
        place = Georeference("EPSG:4326", (1e-6, 0.0, 32.5, 0.0, -1e-6, 0.35))
    folder.mkdir()
    write_raster(folder / "a.tif", np.zeros((256, 256, 3), np.uint8), place)
    return folder, "a.tif", place


def outlines(item):
    return [[np.round(ring, 2).tolist() for ring in p] for o in item.objects for p in o.polygons]


def test_polygons_come_back_in_pixels(placed, tmp_path):
    folder, name, place = placed
    ring = [(10, 20), (50, 25), (30, 60)]
    path = text(tmp_path / "a.geojson", collection(feature(place, ring, **{"class": "hut"})))
    found, report = read("geojson", folder, path)
    assert found[name].size_hw == (256, 256)
    assert found[name].objects[0].name == "hut"
    assert sorted(outlines(found[name])[0][0]) == sorted([list(map(float, xy)) for xy in ring])
    assert report.left_out == ()


def test_holes_multipolygons_and_clipping(placed, tmp_path):
    folder, name, place = placed
    features = [
        feature(place, square(10, 10, 40), square(20, 20, 10)),  # with a hole
        feature(place, square(100, 100, 10), square(130, 100, 10), kind="MultiPolygon"),
        feature(place, square(236, 236, 40)),  # crosses the lower right corner
        feature(place, square(-60, -60, 30)),  # outside
        feature(place, square(-30, 50, 30)),  # touches the border
        feature(place, square(-30, 90, 30.02)),  # 0.6 square pixels of it
    ]
    path = text(tmp_path / "a.geojson", collection(*features))
    found, report = read("geojson", folder, path)
    objects = found[name].objects
    assert [len(o.polygons) for o in objects] == [1, 2, 1]
    assert len(objects[0].polygons[0]) == 2
    masks = PolygonSegmenter().segment(folder / name, found[name])
    assert [rle_area(mask.rle) for mask in masks] == [1600 - 100, 200, 400]
    assert report.left_out == (("sliver", 1),)
    assert {o.name for o in objects} == {"object"}


def test_images_without_buildings_and_without_place(tmp_path):
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    image(tmp_path / "images/plain.png")
    path = text(tmp_path / "a.geojson", collection())
    found, report = read("geojson", tmp_path / "images", path)
    assert found[f"{TILE}.png"].objects == ()
    assert report.left_out == (("no place", 1),)


def test_an_image_in_a_local_system_has_no_place(tmp_path):
    (tmp_path / "images").mkdir()
    local = 'LOCAL_CS["building site",UNIT["metre",1]]'
    place = Georeference(local, (1.0, 0.0, 5.0, 0.0, -1.0, 7.0))
    write_raster(tmp_path / "images/a.tif", np.zeros((8, 8), np.uint8), place)
    found, report = read("geojson", tmp_path / "images", text(tmp_path / "a.geojson", collection()))
    assert found == {}
    assert report.left_out == (("no place", 1),)


def test_a_folder_of_files_counts_equal_shapes_once(tmp_path):
    place = tile_georeference(TILE)
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    shared, own = feature(place, square(10, 10, 20)), feature(place, square(90, 10, 20))
    text(tmp_path / "labels/a.geojson", collection(shared))
    text(tmp_path / "labels/sub/b.geojson", collection(shared, own))
    found, _ = read("geojson", tmp_path / "images", tmp_path / "labels")
    assert len(found[f"{TILE}.png"].objects) == 2
    with pytest.raises(FileNotFoundError, match=r"holds no \.geojson file"):
        read("geojson", tmp_path / "images", tmp_path / "images")


def test_class_from_another_property_or_given(tmp_path):
    place = tile_georeference(TILE)
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    features = [
        feature(place, square(10, 10, 20), kind_of="hut"),
        {**feature(place, square(90, 10, 20)), "properties": None},
    ]
    path = text(tmp_path / "a.geojson", collection(*features))
    found = read_geojson(
        tmp_path / "images", path, notes(), class_property="kind_of", class_name="house"
    )
    assert [o.name for o in next(iter(found)).objects] == ["hut", "house"]


def geometry(kind, coordinates):
    return {
        "type": "Feature",
        "properties": {},
        "geometry": {"type": kind, "coordinates": coordinates},
    }


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (geometry("Point", [32.0, 0.3]), "no polygon"),
        (geometry("LineString", [[32.0, 0.3], [32.1, 0.3]]), "no polygon"),
        (geometry("Polygon", [[[0, 0], [1, 1]]]), "malformed"),
        (geometry("Polygon", [[[0, 0], [1, 0], [1, 1], [0, 1]]]), "malformed"),  # not closed
        (geometry("Polygon", "text"), "malformed"),
        (geometry("Polygon", [[[0, 0], [math.nan, 0], [1, 1], [0, 0]]]), "malformed"),
        (
            geometry("Polygon", [[[500, 0], [501, 0], [501, 1], [500, 0]]]),
            "malformed",
        ),
        (geometry("Banana", []), "malformed"),
        ({"type": "Feature", "geometry": None}, "malformed"),
        ({"type": "Feature"}, "malformed"),
        (7, "malformed"),
    ],
)
def test_useless_features_are_counted(tmp_path, entry, reason):
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    good = feature(tile_georeference(TILE), square(10, 10, 20))
    path = text(tmp_path / "a.geojson", collection(good, entry))
    found, report = read("geojson", tmp_path / "images", path)
    assert len(found[f"{TILE}.png"].objects) == 1
    assert report.left_out == ((reason, 1),)
    assert report.examples[0].startswith("a.geojson feature 1: ")


def test_a_bow_tie_is_mended(tmp_path):
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    tie = [(10, 10), (50, 50), (50, 10), (10, 50)]
    path = text(tmp_path / "a.geojson", collection(feature(tile_georeference(TILE), tie)))
    found, _ = read("geojson", tmp_path / "images", path)
    item = found[f"{TILE}.png"]
    area = rle_area(PolygonSegmenter().segment(tmp_path, item)[0].rle)
    assert abs(area - 800) <= 40  # two triangles of 40 × 20 / 2; centres on the diagonals


def crs(name):
    return {"type": "name", "properties": {"name": name}}


@pytest.mark.parametrize(
    "name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "EPSG:4326", "urn:ogc:def:crs:EPSG:6.9:4326"]
)
def test_names_of_longitude_and_latitude(tmp_path, name):
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    good = feature(tile_georeference(TILE), square(10, 10, 20))
    path = text(tmp_path / "a.geojson", collection(good, crs=crs(name)))
    assert len(read("geojson", tmp_path / "images", path)[0][f"{TILE}.png"].objects) == 1


def test_other_coordinate_systems(placed, tmp_path):
    folder, name, place = placed
    ring = [(10, 20), (50, 25), (30, 60)]
    entry = feature(place, ring)
    turned = place.to_map(np.array([*ring, ring[0]], dtype=float), "EPSG:32636").tolist()
    entry["geometry"]["coordinates"] = [turned]
    content = collection(entry, crs=crs("urn:ogc:def:crs:EPSG::32636"))
    found, _ = read("geojson", folder, text(tmp_path / "a.geojson", content))
    assert sorted(outlines(found[name])[0][0]) == sorted([list(map(float, xy)) for xy in ring])
    for unknown in ("urn:ogc:def:crs:ESRI::102100", "here"):
        path = text(tmp_path / "a.geojson", collection(crs=crs(unknown)))
        with pytest.raises(ValueError, match="expected longitude and latitude or an EPSG number"):
            read("geojson", folder, path)


def test_boxes_of_features_without_geometry(placed, tmp_path):
    folder, name, place = placed
    corners = place.to_map(np.array([(20, 30), (60, 70)]), LONGITUDE_LATITUDE)
    (west, south), (east, north) = corners.min(axis=0), corners.max(axis=0)
    entries = [
        {"type": "Feature", "geometry": None, "bbox": bbox, "properties": {"class": "hut"}}
        for bbox in (
            [west, south, east, north],
            [west, south, 0.0, east, north, 9.0],
            [east, south, west, north],
            [west, south, east],
            [west, south, east, "north"],
        )
    ]
    path = text(tmp_path / "a.geojson", collection(*entries))
    found, report = read("geojson", folder, path)
    assert len(found[name].objects) == 1  # the second is the first again
    assert report.left_out == (("malformed", 3),)
    corners = np.array(outlines(found[name])[0][0])
    np.testing.assert_allclose(corners.min(axis=0), (20, 30), atol=0.05)
    np.testing.assert_allclose(corners.max(axis=0), (60, 70), atol=0.05)


def test_no_feature_collection(tmp_path):
    (tmp_path / "images").mkdir()
    with pytest.raises(ValueError, match="is no GeoJSON FeatureCollection"):
        read("geojson", tmp_path / "images", text(tmp_path / "b.geojson", {"type": "Feature"}))
