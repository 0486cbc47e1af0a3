"""Tiles show the pixels of rasters at their places."""

import io
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from PIL import Image
from pyproj import Transformer

from geomtp.rasters import HALF_EQUATOR_M, raster_info
from geomtp.rasters.reading import quiet
from geomtp.serving.refusals import Refused
from geomtp.serving.tiles import class_tile, picture_tile
from geomtp.serving.views import View, view_of, write_view
from tests.serving.servers import UTM, geotiff, picture, png


def shown(tmp_path, content):
    """The file of tiles and the view of an image."""
    (tmp_path / "image").write_bytes(content)
    write_view(tmp_path / "image", tmp_path / "view.tif", time.monotonic() + 60)
    return tmp_path / "view.tif", view_of(raster_info(tmp_path / "image"))


def read(content):
    return np.array(Image.open(io.BytesIO(content)).convert("RGBA"))


def test_at_the_finest_zoom_a_tile_holds_the_pixels(tmp_path):
    pixels = picture(300, 700)
    file, view = shown(tmp_path, png(pixels))
    assert view == View("pixels", 2, (0, 0, 700 / 1024, 300 / 1024))
    tile = read(picture_tile(file, view, (2, 1, 0)))
    np.testing.assert_array_equal(tile[..., :3], pixels[:256, 256:512])
    assert (tile[..., 3] == 255).all()
    edge = read(picture_tile(file, view, (2, 2, 1)))
    np.testing.assert_array_equal(edge[:44, :188, :3], pixels[256:, 512:])
    assert edge[:44, :188, 3].min() == 255
    assert edge[44:, :, 3].max() == edge[:, 188:, 3].max() == 0


def test_coarser_tiles_hold_means(tmp_path):
    pixels = picture(512, 512)
    file, view = shown(tmp_path, png(pixels))
    tile = read(picture_tile(file, view, (0, 0, 0)))
    means = pixels.reshape(256, 2, 256, 2, 3).mean(axis=(1, 3))
    assert np.abs(tile[..., :3] - means).max() <= 1


@pytest.mark.parametrize("tile", [(3, 0, 0), (-1, 0, 0), (2, 4, 0), (2, 0, 4), (0, -1, 0)])
def test_there_are_no_other_tiles(tmp_path, tile):
    view = View("pixels", 2, (0, 0, 1, 1))
    with pytest.raises(Refused, match="there is no tile"):
        picture_tile(tmp_path / "never opened", view, tile)


def test_deep_values_are_stretched(tmp_path):
    values = np.random.default_rng(0).uniform(1000, 3000, (200, 200, 1)).astype(np.uint16)
    file, view = shown(tmp_path, geotiff(values, crs=None, transform=Affine.identity()))
    tile = read(picture_tile(file, view, (0, 0, 0)))[:200, :200, :3]
    low, high = np.percentile(values, (2, 98))
    expected = np.clip((values - low) / (high - low) * 255, 0, 255)
    assert np.abs(tile - expected).max() <= 4  # the range is of samples
    assert (tile.min(), tile.max()) == (0, 255)


def test_no_data_is_transparent(tmp_path):
    pixels = np.full((100, 100, 3), 90, np.uint8)
    pixels[:, 50:] = 7
    file, view = shown(tmp_path, geotiff(pixels, crs=None, transform=None, nodata=7))
    alpha = read(picture_tile(file, view, (0, 0, 0)))[:100, :100, 3]
    assert (alpha[:, :50].min(), alpha[:, 50:].max()) == (255, 0)


def test_a_raster_on_the_grid_of_the_tiles_is_shown_as_it_is(tmp_path):
    zoom, x, y = 18, 134_000, 86_000
    metres = 2 * HALF_EQUATOR_M / 2**zoom / 256
    place = Affine(
        metres, 0, x * 256 * metres - HALF_EQUATOR_M, 0, -metres, HALF_EQUATOR_M - y * 256 * metres
    )
    pixels = picture(256, 512)
    file, view = shown(tmp_path, geotiff(pixels, crs="EPSG:3857", transform=place))
    assert (view.kind, view.max_zoom) == ("map", zoom)
    left, top, right, bottom = np.array(view.bounds) * 2**zoom
    assert (left, top, right, bottom) == pytest.approx((x, y, x + 2, y + 1), abs=1e-6)
    tile = read(picture_tile(file, view, (zoom, x + 1, y)))
    assert np.abs(tile[..., :3].astype(int) - pixels[:, 256:]).max() <= 1
    assert (tile[..., 3] == 255).all()
    beside = read(picture_tile(file, view, (zoom, x + 2, y)))
    assert beside[:, 2:, 3].max() == 0


@pytest.mark.parametrize("zooms_up", [0, 2])
def test_a_place_in_another_system_is_shown_where_it_is(tmp_path, zooms_up):
    pixels = np.zeros((600, 800, 3), np.uint8)
    pixels[200:240, 500:540] = 255
    file, view = shown(tmp_path, geotiff(pixels))
    # the middle of the square, by pyproj instead of GDAL
    to_mercator = Transformer.from_crs(UTM["crs"], "EPSG:3857", always_xy=True).transform
    metres_x, metres_y = to_mercator(*(UTM["transform"] @ (520, 220)))
    zoom = view.max_zoom - zooms_up
    world = np.array([HALF_EQUATOR_M + metres_x, HALF_EQUATOR_M - metres_y]) / (2 * HALF_EQUATOR_M)
    expected = world * 2**zoom * 256
    found, weight = np.zeros(2), 0.0
    corner = (expected // 256).astype(int)
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            x, y = int(corner[0] + dx), int(corner[1] + dy)
            light = read(picture_tile(file, view, (zoom, x, y)))[..., 0] / 255.0
            rows, columns = np.nonzero(light > 0.2)
            value = light[rows, columns]
            found += [
                (value * (columns + 0.5 + 256 * x)).sum(),
                (value * (rows + 0.5 + 256 * y)).sum(),
            ]
            weight += value.sum()
    np.testing.assert_allclose(found / weight, expected, atol=0.5)


def test_what_lies_off_the_map_is_shown_in_pixels(tmp_path):
    (tmp_path / "pole").write_bytes(
        geotiff(crs="EPSG:4326", transform=Affine(0.01, 0, 0, 0, -0.01, 90))
    )
    assert view_of(raster_info(tmp_path / "pole")).kind == "pixels"


def test_classes_have_their_colours(tmp_path):
    values = np.zeros((300, 300), np.uint8)
    values[:100], values[100:200], values[290:] = 1, 2, 255
    with quiet(), rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", height=300, width=300, count=1, dtype="uint8",
        nodata=255,
    ) as raster:  # fmt: skip
        raster.write(values, 1)
    view = View("pixels", 1, (0, 0, 300 / 512, 300 / 512))
    palette = [(255, 0, 0), (0, 255, 0)]
    tile = read(class_tile(tmp_path / "map.tif", view, (1, 0, 0), palette))
    assert set(map(tuple, tile[:100].reshape(-1, 4))) == {(255, 0, 0, 255)}
    assert set(map(tuple, tile[100:200].reshape(-1, 4))) == {(0, 255, 0, 255)}
    assert tile[200:, :, 3].max() == 0
    alone = read(class_tile(tmp_path / "map.tif", view, (1, 0, 0), palette, shown=[2]))
    assert (alone[:100, :, 3].max(), alone[100:200, :, 3].min()) == (0, 255)
    below = read(class_tile(tmp_path / "map.tif", view, (1, 0, 1), palette))
    assert below[..., 3].max() == 0
