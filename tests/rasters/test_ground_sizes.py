"""Sizes and headings on the ground beside rectangles laid out by geodesics and by hand."""

import math

import numpy as np
import pytest
import shapely
from pyproj import Geod

from geomtp.rasters import LONGITUDE_LATITUDE, Georeference
from geomtp.rasters.ground_sizes import (
    metres_per_pixel,
    pixel_area_m2,
    polygon_areas,
    polygon_sizes,
    quad_sizes,
)

MERCATOR_60_NORTH = 6_378_137 * math.log(math.tan(math.radians(45 + 30)))  # y of web mercator

PLACES = {
    "UTM, 2° off its meridian": ("EPSG:32632", (0.5, 0, 380_000, 0, -0.5, 6_655_000)),
    "UTM, turned by 37°": (
        "EPSG:32632",
        (0.5 * 0.8, 0.5 * 0.6, 380_000, 0.5 * 0.6, -0.5 * 0.8, 6_655_000),
    ),
    "skewed": ("EPSG:32632", (0.5, 0.2, 380_000, 0.05, -0.6, 6_655_000)),
    "web mercator": ("EPSG:3857", (1, 0, 765_000, 0, -1, MERCATOR_60_NORTH)),
    "longitude and latitude": ("EPSG:4326", (1e-5, 0, 6.9, 0, -5e-6, 60.01)),
    "polar": ("EPSG:3413", (10, 0, 250_000, 0, -10, -500_000)),
}


def laid_out(place, middle_px, length_m, width_m, heading_deg):
    """Corners in pixels of a rectangle on the ellipsoid WGS 84, by geodesics from its middle."""
    lon, lat = place.to_map(np.array([middle_px]), LONGITUDE_LATITUDE)[0]
    reach = math.hypot(length_m, width_m) / 2
    spread = math.degrees(math.atan2(width_m, length_m))
    azimuths = [heading_deg + turn for turn in (spread, -spread, 180 + spread, 180 - spread)]
    corners = [Geod(ellps="WGS84").fwd(lon, lat, azimuth, reach)[:2] for azimuth in azimuths]
    return place.to_pixels(np.array(corners), LONGITUDE_LATITUDE)


@pytest.mark.parametrize("name", PLACES)
def test_rectangles_laid_out_on_the_ground(name):
    place = Georeference(*PLACES[name])
    wanted = [(100, 20, 30), (35.5, 12, 0.01), (8, 3, 179.9), (250, 40, 91)]
    quads = np.stack([laid_out(place, (300, 200), *sizes) for sizes in wanted])
    sizes = quad_sizes(quads, place)
    have = np.stack([sizes.length, sizes.width, sizes.heading_deg], axis=1)
    np.testing.assert_allclose(have, wanted, atol=2e-3)
    np.testing.assert_allclose(sizes.area, [2000, 426, 24, 10_000], rtol=1e-3)
    polygons = shapely.polygons(quads)
    np.testing.assert_allclose(polygon_areas(polygons, place), sizes.area, rtol=1e-5)
    around = polygon_sizes(polygons, place)
    np.testing.assert_allclose(around.length, sizes.length, rtol=1e-3)
    np.testing.assert_allclose(around.heading_deg, sizes.heading_deg, atol=0.02)


def test_a_metre_of_web_mercator_is_half_a_metre_at_60_north():
    place = Georeference(*PLACES["web mercator"])
    turned = math.radians(30)  # 200 x 40 pixels of one map metre, long side 30° east of up
    u = np.array([math.sin(turned), -math.cos(turned)]) * 100
    v = np.array([math.cos(turned), math.sin(turned)]) * 20
    sizes = quad_sizes(np.array([[u + v, u - v, -u - v, -u + v]]), place)
    assert sizes.length[0] == pytest.approx(100, rel=2e-3)  # the earth is no sphere
    assert sizes.width[0] == pytest.approx(20, rel=3e-3)
    assert sizes.heading_deg[0] == pytest.approx(30, abs=0.05)
    np.testing.assert_allclose(metres_per_pixel(place, (0, 0)), [[0.5, 0], [0, -0.5]], atol=2e-3)


def test_the_long_side_of_the_ground_is_not_that_of_the_image():
    # At 60° north a degree of longitude is half as long as one of latitude.
    place = Georeference("EPSG:4326", (1e-5, 0, 10, 0, -1e-5, 60))
    sizes = quad_sizes(np.array([[[0, 0], [30, 0], [30, 20], [0, 20]]]), place)
    assert sizes.heading_deg[0] == pytest.approx(0, abs=1e-3) or sizes.heading_deg[0] > 179.999
    assert sizes.length[0] == pytest.approx(20e-5 * 111_412, rel=1e-3)
    assert sizes.width[0] == pytest.approx(30e-5 * 55_800, rel=1e-3)


def test_across_the_180th_meridian():
    place = Georeference("EPSG:4326", (1e-5, 0, 179.9999, 0, -1e-5, 0.0))
    sizes = quad_sizes(np.array([[[0, 0], [20, 0], [20, 10], [0, 10]]]), place)
    assert sizes.length[0] == pytest.approx(20e-5 * 111_319.49, rel=1e-6)
    assert sizes.heading_deg[0] == pytest.approx(90, abs=1e-3)


def test_units_that_are_not_metres_or_degrees():
    box = np.array([[[0, 0], [200, 0], [200, 40], [0, 40]]])
    feet = Georeference('LOCAL_CS["plan",UNIT["foot",0.3048]]', (1, 0, 0, 0, -1, 0))
    sizes = quad_sizes(box, feet)
    assert (sizes.length[0], sizes.width[0]) == pytest.approx((60.96, 12.192))
    assert polygon_areas(shapely.polygons(box), feet)[0] == pytest.approx(60.96 * 12.192)
    grads = Georeference("EPSG:27572", (1, 0, 600_000, 0, -1, 2_200_000))  # degrees are 0.9 grads
    sizes = quad_sizes(box, grads)
    assert sizes.length[0] == pytest.approx(200, rel=2e-4)
    assert sizes.heading_deg[0] == pytest.approx(90, abs=0.01)


def test_pixels_without_a_place():
    # The long side falls to the right by 4 in 3: up turned by 90 + atan(4/3) degrees.
    u, v = np.array([3.0, 4.0]) * 10, np.array([-4.0, 3.0]) * 2
    quad = np.array([[u + v, u - v, -u - v, -u + v]]) + 50
    sizes = quad_sizes(quad, None)
    assert sizes.length[0] == pytest.approx(100)
    assert sizes.width[0] == pytest.approx(20)
    assert sizes.heading_deg[0] == pytest.approx(90 + math.degrees(math.atan2(4, 3)))
    assert sizes.area[0] == pytest.approx(2000)
    shape = shapely.Polygon(quad[0], [quad[0] * 0.5 + 25])  # a hole of a quarter of it
    around = polygon_sizes(np.array([shape, shapely.Polygon()]), None)
    assert around.length[0] == pytest.approx(100)
    assert around.area[0] == pytest.approx(1500)
    assert math.isnan(around.length[1])
    assert polygon_areas(np.array([shape]), None)[0] == pytest.approx(1500)


def test_corners_off_the_earth_have_no_size():
    # As a geostationary satellite sees it: the Earth fills the middle of the picture alone.
    crs = "+proj=geos +h=35785831 +lon_0=0 +ellps=WGS84 +units=m"
    place = Georeference(crs, (10_000, 0, -6e6, 0, -10_000, 6e6))
    quads = np.array([[[x, y], [x + 10, y], [x + 10, y + 10], [x, y + 10]]
                      for x, y in ((0, 0), (595, 595), (600, 50))])  # fmt: skip
    shapes = shapely.polygons(quads)
    for areas in (polygon_areas(shapes, place), polygon_sizes(shapes, place).area):
        assert np.isnan(areas).tolist() == [True, False, True]
        assert areas[1] == pytest.approx(100_000**2, rel=1e-3)  # below the satellite
    assert np.isnan(polygon_areas(shapes[:1], place)).all()
    assert np.isnan(quad_sizes(quads, place).length).tolist() == [True, False, True]
    assert pixel_area_m2(place, (600, 600)) == pytest.approx(10_000**2, rel=1e-3)
    assert pixel_area_m2(place, (5, 5)) == 0


def test_no_shapes():
    place = Georeference(*PLACES["web mercator"])
    assert quad_sizes(np.zeros((0, 4, 2)), place).length.shape == (0,)
    assert polygon_sizes(np.zeros(0, object), place).area.shape == (0,)
    assert polygon_areas(np.zeros(0, object), place).shape == (0,)
