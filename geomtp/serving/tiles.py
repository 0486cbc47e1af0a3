"""Tiles of 256 × 256 pixels, cut from rasters when they are asked for."""

from __future__ import annotations

import io
import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from PIL import Image
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geomtp.rasters import HALF_EQUATOR_M
from geomtp.rasters.reading import quiet
from geomtp.serving.refusals import Refused
from geomtp.serving.views import MERCATOR, TILE_PX, View
from geomtp.types import IGNORE, Rgb

TileZXY = tuple[int, int, int]
"""Zoom, column and row."""


def picture_tile(file: Path, view: View, tile: TileZXY) -> bytes:
    """A PNG of what ``write_view`` wrote; transparent where nothing is. Raises ``Refused``."""
    pixels = tile_pixels(file, view, tile, Resampling.bilinear)
    return _png(pixels.transpose(1, 2, 0))  # (4, h, w) -> (h, w, 4)


def class_tile(
    file: Path,
    view: View,
    tile: TileZXY,
    palette: Collection[Rgb],
    shown: Collection[int] | None = None,
) -> bytes:
    """A PNG of a map of classes.

    Value 0 (the background) and 255 are transparent; value v has the colour ``palette[v − 1]``.
    ``shown``: the values that are drawn; None: all. Raises ``Refused``.
    """
    values = tile_pixels(file, view, tile, Resampling.nearest)[0]
    table = np.zeros((256, 4), dtype=np.uint8)
    for value, colour in enumerate(palette, start=1):
        if shown is None or value in shown:
            table[value] = (*colour, 255)
    return _png(table[values])


def tile_pixels(file: Path, view: View, tile: TileZXY, way: Resampling) -> NDArray[np.uint8]:
    """The bands (C, 256, 256) uint8 of a raster on the grid of a tile.

    Outside the raster 0, and 255 of a map of classes. Raises ``Refused`` for a tile that is none.
    """
    z, x, y = tile
    if not (0 <= z <= view.max_zoom and 0 <= x < 2**z and 0 <= y < 2**z):
        raise Refused(404, f"there is no tile {z}/{x}/{y}: zooms go to {view.max_zoom}")
    with quiet():
        if view.kind == "map":
            return _on_map(file, tile, 2 ** (view.max_zoom - z), way)
        return _in_pixels(file, tile, 2 ** (view.max_zoom - z), way)


def _in_pixels(file: Path, tile: TileZXY, scale: int, way: Resampling) -> NDArray[np.uint8]:
    with rasterio.open(file, driver="GTiff") as raster:
        side = TILE_PX * scale
        left, top = tile[1] * side, tile[2] * side
        width, height = min(side, raster.width - left), min(side, raster.height - top)
        empty = IGNORE if raster.nodata is not None else 0
        pixels = np.full((raster.count, TILE_PX, TILE_PX), empty, dtype=np.uint8)
        if width > 0 and height > 0:
            shape = (math.ceil(height / scale), math.ceil(width / scale))
            pixels[:, : shape[0], : shape[1]] = raster.read(
                window=Window(left, top, width, height),
                out_shape=(raster.count, *shape),
                resampling=way,
            )
        return pixels


def _on_map(file: Path, tile: TileZXY, scale: int, way: Resampling) -> NDArray[np.uint8]:
    z, x, y = tile
    metres = 2 * HALF_EQUATOR_M / 2**z / TILE_PX
    place = Affine(
        metres, 0, x * TILE_PX * metres - HALF_EQUATOR_M,
        0, -metres, HALF_EQUATOR_M - y * TILE_PX * metres,
    )  # fmt: skip
    with (
        _open_level(file, scale) as raster,
        WarpedVRT(
            raster, crs=MERCATOR, transform=place, width=TILE_PX, height=TILE_PX, resampling=way
        ) as laid,
    ):
        return np.asarray(laid.read(), dtype=np.uint8)


def _open_level(file: Path, scale: int) -> Any:
    """The coarsest level of a raster that is as fine as is needed: warping knows none itself."""
    raster = rasterio.open(file, driver="GTiff")
    levels = [n for n, factor in enumerate(raster.overviews(1)) if factor <= scale]
    if not levels:
        return raster
    raster.close()
    return rasterio.open(file, driver="GTiff", overview_level=levels[-1])


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
