"""Where the pixels of a raster lie on Earth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL raises has no public name
from rasterio.errors import RasterioError
from rasterio.warp import transform as reproject

from geomtp.types import SizeHW

GDAL_ERRORS = (RasterioError, CPLE_BaseError)
"""What rasterio raises of its own, and what it lets through of GDAL's."""

LONGITUDE_LATITUDE = "EPSG:4326"

HALF_EQUATOR_M = 20_037_508.342789244
"""From the middle of web mercator (EPSG:3857) to its border, on its sphere."""


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a raster lie on a map.

    - crs: the map's coordinate system, as WKT or "EPSG:number"
    - transform: (a, b, c, d, e, f) with map x = a·x + b·y + c and map y = d·x + e·y + f

    Raises ValueError when the transform is not six numbers or cannot be inverted.
    """

    crs: str
    transform: tuple[float, float, float, float, float, float]

    def __post_init__(self) -> None:
        if len(self.transform) != 6 or not np.isfinite(self.transform).all():
            raise ValueError(f"a transform is six finite numbers, got {self.transform}")
        if np.linalg.det(self._matrix[:, :2]) == 0:
            raise ValueError(f"the transform {self.transform} maps all pixels to one line")

    @property
    def _matrix(self) -> NDArray[np.float64]:
        return np.array(self.transform, dtype=np.float64).reshape(2, 3)

    def to_map(self, points_xy: NDArray[Any], crs: str | None = None) -> NDArray[np.float64]:
        """Map coordinates (N, 2) float64 of pixel coordinates (N, 2).

        ``crs`` asks for another coordinate system, such as LONGITUDE_LATITUDE; always x first.
        Points that it cannot hold come back infinite. Raises ValueError where there is no way
        from one system to the other.
        """
        points = np.asarray(points_xy, dtype=np.float64)
        mapped = points @ self._matrix[:, :2].T + self._matrix[:, 2]
        return mapped if crs is None else _reprojected(mapped, self.crs, crs)

    def to_pixels(self, points_xy: NDArray[Any], crs: str | None = None) -> NDArray[np.float64]:
        """Pixel coordinates (N, 2) float64 of map coordinates (N, 2) in ``crs`` or its own."""
        points = np.asarray(points_xy, dtype=np.float64)
        if crs is not None:
            points = _reprojected(points, crs, self.crs)
        inverse = np.asarray(np.linalg.inv(self._matrix[:, :2]), dtype=np.float64)
        return (points - self._matrix[:, 2]) @ inverse.T

    def shifted(self, x: float, y: float) -> Georeference:
        """The georeference of a window whose first pixel is (x, y)."""
        a, b, _, d, e, _ = self.transform
        (c, f) = self.to_map(np.array([[x, y]]))[0]
        return Georeference(self.crs, (a, b, float(c), d, e, float(f)))


def tile_georeference(name: str, size_hw: SizeHW = (256, 256)) -> Georeference | None:
    """The place of a web-mercator tile named ``…-x-y-z`` (EPSG:3857); None for any other name."""
    parts = name.split("-")[-3:]
    if len(parts) < 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return None
    x, y, zoom = (int(part) for part in parts)
    if zoom > 30 or x >= 2**zoom or y >= 2**zoom:
        return None
    side_m = 2 * HALF_EQUATOR_M / 2**zoom
    left, top = x * side_m - HALF_EQUATOR_M, HALF_EQUATOR_M - y * side_m
    height, width = size_hw
    return Georeference("EPSG:3857", (side_m / width, 0.0, left, 0.0, -side_m / height, top))


def _reprojected(points_xy: NDArray[np.float64], source: str, target: str) -> NDArray[np.float64]:
    try:
        xs, ys = reproject(source, target, points_xy[:, 0].tolist(), points_xy[:, 1].tolist())
    except GDAL_ERRORS as error:
        raise ValueError(f"no way from {source[:60]!r} to {target[:60]!r}: {error}") from error
    return np.stack([np.asarray(xs), np.asarray(ys)], axis=1)
