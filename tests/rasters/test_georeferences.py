import math

import numpy as np
import pytest

from geomtp.rasters import (
    LONGITUDE_LATITUDE,
    Georeference,
    georeference,
    tile_georeference,
    write_raster,
)

NORTH_UP = Georeference("EPSG:32636", (0.5, 0.0, 300_000.0, 0.0, -0.5, 4_000_000.0))
TURNED = Georeference("EPSG:32636", (0.3, 0.4, 10.0, 0.4, -0.3, 20.0))


def test_pixels_to_map_by_hand():
    points = np.array([[0, 0], [10, 4]])
    assert NORTH_UP.to_map(points).tolist() == [[300_000, 4_000_000], [300_005, 3_999_998]]
    assert TURNED.to_map(np.array([[10, 5]])).tolist() == [[15.0, 22.5]]


@pytest.mark.parametrize("place", [NORTH_UP, TURNED])
@pytest.mark.parametrize("crs", [None, LONGITUDE_LATITUDE])
def test_there_and_back(place, crs):
    points = np.random.default_rng(0).uniform(-50, 500, (20, 2))
    back = place.to_pixels(place.to_map(points, crs), crs)
    np.testing.assert_allclose(back, points, atol=1e-4)


def test_no_points_are_fine():
    assert NORTH_UP.to_map(np.zeros((0, 2)), LONGITUDE_LATITUDE).shape == (0, 2)


def test_tiles_lie_where_the_formula_says():
    x, y, zoom = 619_212, 523_272, 20
    place = tile_georeference(f"OAM-{x}-{y}-{zoom}")
    assert place.crs == "EPSG:3857"
    corners = np.array([[0, 0], [256, 256]])

    def latitude(row):
        return math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * row / 2**zoom))))

    lonlat = [(i / 2**zoom * 360 - 180, latitude(j)) for i, j in ((x, y), (x + 1, y + 1))]
    np.testing.assert_allclose(place.to_map(corners, LONGITUDE_LATITUDE), lonlat, atol=1e-11)
    np.testing.assert_allclose(
        place.to_pixels(np.array(lonlat), LONGITUDE_LATITUDE), corners, atol=1e-4
    )


def test_the_world_s_one_tile_spans_the_equator():
    place = tile_georeference("w-0-0-0", (512, 512))
    assert place.transform[2] == pytest.approx(-20_037_508.342789)
    assert place.transform[0] * 512 == pytest.approx(2 * math.pi * 6_378_137)


@pytest.mark.parametrize(
    "name", ["plain", "a-1-2", "a-1-2-x", "a-4-0-2", "a-0-4-2", "a-1-1-31", "a-²-0-4"]
)
def test_other_names_are_no_tiles(name):
    assert tile_georeference(name) is None


def test_the_file_s_own_place_comes_before_the_name(tmp_path):
    write_raster(tmp_path / "t-0-0-1.tif", np.zeros((4, 4), np.uint8), NORTH_UP)
    assert georeference(tmp_path / "t-0-0-1.tif") == NORTH_UP
    write_raster(tmp_path / "t-0-0-2.tif", np.zeros((4, 4), np.uint8))
    assert georeference(tmp_path / "t-0-0-2.tif").crs == "EPSG:3857"
    write_raster(tmp_path / "t.tif", np.zeros((4, 4), np.uint8))
    assert georeference(tmp_path / "t.tif") is None


def test_a_window_s_place():
    moved = NORTH_UP.shifted(10, 4)
    assert moved.to_map(np.array([[0, 0]])).tolist() == [[300_005, 3_999_998]]


@pytest.mark.parametrize("transform", [(1, 2, 3), (0, 0, 0, 0, 0, 0), (1, 0, math.nan, 0, 1, 0)])
def test_useless_transforms_are_refused(transform):
    with pytest.raises(ValueError, match="transform"):
        Georeference("EPSG:4326", transform)
