"""A raster as the page shows it: 8 bits, red, green, blue and alpha, with its coarser levels.

The page knows one square world, x to the right and y down, 0 to 1. A raster that says where it lies
is shown in web mercator, of which that square is the whole; any other lies in the upper left of a
square of its own, so that at ``max_zoom`` a tile's pixel is the raster's::

      0 ┌──────────────┬───┐ 1        zoom z has 2^z × 2^z tiles of 256 pixels
        │    raster    │   │
        ├──────────────┘   │
        │                  │
      1 └──────────────────┘
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from geomtp.inference.windows.value_ranges import ValueRange, range_of
from geomtp.rasters import HALF_EQUATOR_M, Georeference, RasterInfo, Scene, open_scene
from geomtp.rasters.reading import quiet
from geomtp.types import SizeHW

TILE_PX = 256
MERCATOR = "EPSG:3857"
_MOST_ZOOM = 26
_STRIP_PX = 2**24


@dataclass(frozen=True)
class View:
    """How a raster lies in the page's world.

    - kind: "map" in web mercator, "pixels" in its own
    - max_zoom: at which tiles are as fine as the raster
    - bounds: left, top, right, bottom in the page's world, 0 to 1
    """

    kind: Literal["map", "pixels"]
    max_zoom: int
    bounds: tuple[float, float, float, float]


def view_of(info: RasterInfo) -> View:
    """The view of a raster; in pixels where it has no place on the map of the world."""
    view = None if info.georeference is None else _on_map(info.georeference, info.size_hw)
    if view is not None:
        return view
    height, width = info.size_hw
    zoom = max(0, math.ceil(math.log2(max(height, width) / TILE_PX)))
    side = TILE_PX * 2**zoom
    return View("pixels", zoom, (0.0, 0.0, width / side, height / side))


def _on_map(place: Georeference, size_hw: SizeHW) -> View | None:
    height, width = size_hw
    across, down = np.linspace(0, width, 21), np.linspace(0, height, 21)
    border = np.array(
        [(x, y) for x in across for y in (0, height)] + [(x, y) for x in (0, width) for y in down]
    )
    try:
        metres = place.to_map(border, MERCATOR)
    except ValueError:
        return None
    if not np.isfinite(metres).all() or np.abs(metres).max() > HALF_EQUATOR_M * (1 + 1e-9):
        return None
    world = np.clip((metres * (1, -1) + HALF_EQUATOR_M) / (2 * HALF_EQUATOR_M), 0, 1)
    (left, top), (right, bottom) = world.min(axis=0), world.max(axis=0)
    if right - left > 0.5:  # on both sides of the 180th meridian
        return None
    finest = max((right - left) / width, (bottom - top) / height)
    zoom = math.ceil(-math.log2(max(finest, 1e-12) * TILE_PX) - 0.1)
    bounds = (float(left), float(top), float(right), float(bottom))
    return View("map", min(max(zoom, 0), _MOST_ZOOM), bounds)


def open_shown(path: Path) -> Scene:
    """The scene at ``path`` with the three bands that are shown; raises OSError, ValueError."""
    try:
        return open_scene(path, channels=3, plain_only=True)
    except ValueError:  # neither colours nor three bands: the first three, or the first
        info = open_scene(path, channels=1, bands=["1"], plain_only=True)
        count = info.raster.count
        info.close()
        bands = ["1", "2", "3"] if count >= 3 else ["1", "1", "1"]
        return open_scene(path, channels=3, bands=bands, plain_only=True)


def write_view(path: Path, out: Path, until: float) -> None:
    """Write what is shown of the raster at ``path`` to ``out``, a tiled TIFF with overviews.

    - until: of ``time.monotonic``, when it is given up

    Raises OSError where the raster is damaged, TimeoutError (an OSError) where it takes too long.
    """
    with quiet(), open_shown(path) as scene:
        height, width = scene.size_hw
        stretch = _range(scene)
        profile: dict[str, Any] = {
            "driver": "GTiff", "height": height, "width": width, "count": 4, "dtype": "uint8",
            "tiled": True, "blockxsize": TILE_PX, "blockysize": TILE_PX, "compress": "DEFLATE",
            "zlevel": 1, "photometric": "RGB", "alpha": "YES", "bigtiff": "IF_SAFER",
        }  # fmt: skip
        if scene.place is not None:
            profile |= {"crs": scene.place.crs, "transform": Affine(*scene.place.transform)}
        rows = max(TILE_PX, _STRIP_PX // width // TILE_PX * TILE_PX)
        with rasterio.open(out, "w", **profile) as view:
            for y in range(0, height, rows):
                if time.monotonic() > until:
                    raise TimeoutError("it takes too long to make it ready to be shown")
                count = min(rows, height - y)
                pixels = scene.read((0, y), (count, width))
                shown = np.full((4, count, width), 255, np.uint8)
                shown[:3] = stretch.stretched(pixels.values) + 0.5
                shown[3] = np.where(pixels.valid, 255, 0)
                view.write(shown, window=Window(0, y, width, count))
    levels = [2**n for n in range(1, 20) if max(height, width) / 2**n > TILE_PX / 2]
    with quiet(), rasterio.open(out, "r+") as view:
        view.build_overviews(levels, Resampling.average)


def _range(scene: Scene) -> ValueRange:
    """The values of each band that become black and white."""
    if scene.raster.dtypes[scene.bands[0] - 1] == "uint8" or _is_palette(scene):
        return ValueRange((0.0,) * 3, (255.0,) * 3)
    return range_of(scene)


def _is_palette(scene: Scene) -> bool:
    return bool(scene.raster.colorinterp[scene.bands[0] - 1] == ColorInterp.palette)
