"""Class maps as polygons."""

import importlib

import geopandas
import numpy as np
import pytest
import shapely
from affine import Affine
from rasterio.features import rasterize

from geomtp.inference.outputs.map_polygons import (
    map_layer,
    simplified_together,
    write_polygons_of_map,
)
from geomtp.inference.outputs.vector_layers import layer_frame
from geomtp.rasters import Georeference, write_raster
from geomtp.types import ClassMap

CLASSES = ClassMap(("water", "road"))
UTM = Georeference("EPSG:32632", (0.5, 0.0, 500_000.0, 0.0, -0.5, 6_655_000.0))
DEGREES = Georeference("EPSG:4326", (1e-5, 0.0, 10.0, 0.0, -5e-6, 60.0))


def strips_of(rows: int, monkeypatch) -> None:
    monkeypatch.setattr(
        importlib.import_module("geomtp.inference.outputs.map_polygons"), "STRIP_PX", rows
    )


def smooth_map(seed: int = 0) -> np.ndarray:
    """Slanting bands of 1, 2 and 0 with wavy borders, (60, 80)."""
    y, x = np.mgrid[:60, :80]
    waves = x + y * 0.6 + 6 * np.sin(y / 7 + seed) + 3 * np.cos(x / 5)
    return ((waves // 17) % 3).astype(np.uint8)


@pytest.mark.parametrize("from_file", [False, True])
def test_a_map_as_polygons(from_file, tmp_path, monkeypatch):
    strips_of(16, monkeypatch)
    values = smooth_map()
    values[:3, :3] = 255
    source = values
    if from_file:
        source = tmp_path / "map.tif"
        write_raster(source, values, UTM)
    path = tmp_path / "map_polygons.gpkg"
    count = write_polygons_of_map(path, source, CLASSES, UTM, task="semantic")
    frame = geopandas.read_file(path)
    assert len(frame) == count
    assert list(frame.columns) == ["class", "class_id", "area_m2", "geometry"]
    transform = Affine(*UTM.transform)
    pairs = zip(frame.geometry, frame["class_id"] + 1, strict=True)
    burnt = rasterize(pairs, values.shape, transform=transform, dtype="uint8")
    np.testing.assert_array_equal(burnt, np.where(values == 255, 0, values))
    by_class = frame.groupby("class")["area_m2"].sum()
    for number, name in enumerate(CLASSES.names):
        ground = (values == number + 1).sum() * 0.25 / 0.9996**2
        assert by_class[name] == pytest.approx(ground, rel=1e-5)


@pytest.mark.parametrize("place", [UTM, DEGREES])
def test_simplified_neighbours_share_their_borders(place):
    values = smooth_map()
    values[values == 0] = 1  # no background: the polygons cover the whole map
    plain = layer_frame(map_layer(values, CLASSES, place, task="semantic"))
    simple = layer_frame(map_layer(values, CLASSES, place, task="semantic", simplify_m=1.0))
    assert len(simple) == len(plain)
    assert simple.count_coordinates().sum() < 0.5 * plain.count_coordinates().sum()
    assert simple.geometry.is_valid.all()
    simple, plain = np.asarray(simple.geometry.values), np.asarray(plain.geometry.values)
    together = shapely.union_all(simple)
    assert shapely.area(simple).sum() == pytest.approx(together.area, rel=1e-9)  # no overlaps
    corners = place.to_map(np.array([[0, 0], [80, 0], [80, 60], [0, 60]]))
    assert together.symmetric_difference(shapely.Polygon(corners)).area < 1e-9 * together.area
    moved = shapely.area(shapely.symmetric_difference(plain, simple))
    assert moved.max() < 0.06 * shapely.area(plain).max()


def test_each_for_itself_where_they_are_too_many(monkeypatch):
    module = importlib.import_module("geomtp.inference.outputs.map_polygons")
    values = smooth_map()
    polygons = layer_frame(map_layer(values, CLASSES, None, task="semantic")).geometry.values
    polygons = np.asarray(polygons)
    together = simplified_together(polygons, np.eye(2), 2.0)
    assert shapely.coverage_is_valid(together)
    monkeypatch.setattr(module, "CORNERS_TOGETHER", 10)
    apart = simplified_together(polygons, np.eye(2), 2.0)
    assert not shapely.coverage_is_valid(apart)
    assert shapely.hausdorff_distance(apart, polygons).max() <= 2.0


def test_pixels_count_where_there_is_no_place():
    values = smooth_map()
    values[0, :3] = 0
    values[0, 1] = 2  # a region of one pixel
    plain = layer_frame(map_layer(values, CLASSES, None, task="semantic"))
    simple = layer_frame(
        map_layer(values, CLASSES, None, task="semantic", simplify_m=2, min_area_m2=1.5)
    )
    assert len(simple) == len(plain) - 1
    assert simple.count_coordinates().sum() < 0.5 * plain.count_coordinates().sum()


def test_small_regions_are_left_out():
    values = np.zeros((20, 20), np.uint8)
    values[2:4, 2:4] = 1  # 4 pixels, a square metre
    values[10:14, 10:15] = 2  # 20 pixels, five
    frame = layer_frame(map_layer(values, CLASSES, UTM, task="semantic", min_area_m2=2))
    assert frame["class"].tolist() == ["road"]
    assert frame["area_m2"][0] == pytest.approx(5 / 0.9996**2, rel=1e-5)
    assert len(layer_frame(map_layer(values, CLASSES, UTM, task="semantic"))) == 2


def test_a_change_map_in_pixels():
    values = np.zeros((20, 20), np.uint8)
    values[2:4, 3:9] = 1
    frame = layer_frame(map_layer(values, ClassMap(("changed",)), None, task="change"))
    assert frame["class"].tolist() == ["changed"]
    assert frame["area_px"].tolist() == [12]
    assert frame.geometry[0].bounds == (3, 2, 9, 4)


def test_empty_maps(tmp_path):
    values = np.zeros((20, 20), np.uint8)
    path = tmp_path / "a.gpkg"
    assert write_polygons_of_map(path, values, CLASSES, UTM, task="change", simplify_m=1) == 0
    assert list(geopandas.read_file(path).columns) == ["class", "class_id", "area_m2", "geometry"]


def test_wrong_requests_are_refused():
    values = np.full((4, 4), 3, np.uint8)
    with pytest.raises(ValueError, match="the map holds 3"):
        layer_frame(map_layer(values, CLASSES, UTM, task="semantic"))
    with pytest.raises(ValueError, match="negative"):
        map_layer(values, CLASSES, UTM, task="semantic", min_area_m2=-1)
