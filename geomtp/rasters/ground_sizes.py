"""How large shapes are on the ground, and which way they point.

A map's own units will not do: a metre of web mercator is half a metre on the ground at 60° north,
a degree is none at all, and the map's up is rarely north. So each shape is laid into a plane of its
own, the azimuthal equidistant projection about its middle on the map's ellipsoid::

                north  heading 0
                  │     ╱  long side       heading_deg: how far the long side is turned away from
                  │30° ╱                   true north, clockwise, 0 ≤ heading < 180
                  │   ╱
                  │  ╱                     a rectangle has no bow and no stern: 30 and 210 are
                  │ ╱                      the same, and 30 is kept
                  ┼───────── east  heading 90
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.rasters.georeferences import Georeference

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GroundSizes:
    """Sizes of N shapes, each (N,) float64: in metres, or in pixels where there is no place.

    - length, width: the longer and the shorter side of the rectangle
    - heading_deg: the direction of the longer side, 0 ≤ h < 180, clockwise from true north, without
      a place from the image's up
    - area: of the shape itself, square metres or pixels

    NaN for a shape that the map's projection cannot place.
    """

    length: Floats
    width: Floats
    heading_deg: Floats
    area: Floats


def quad_sizes(quads_xy: NDArray[Any], place: Georeference | None) -> GroundSizes:
    """The sizes of rectangles in pixels, by their corners (N, 4, 2) in turn.

    A rectangle that the way to the ground makes a parallelogram (pixels that are not square) has
    the lengths of its two sides.
    """
    quads = np.asarray(quads_xy, dtype=np.float64)
    middles = np.repeat(quads.mean(axis=1), 4, axis=0)
    return _sizes_in_plane(_local_plane(quads.reshape(-1, 2), middles, place).reshape(-1, 4, 2))


def polygon_sizes(polygons: NDArray[Any], place: Georeference | None) -> GroundSizes:
    """The sizes of shapely polygons (N,) in pixels: of the smallest rectangle around each.

    The area is the polygon's own, without its holes. NaN where a corner has no place on Earth.
    """
    import shapely

    points, owner = shapely.get_coordinates(polygons, return_index=True)
    bounds = shapely.bounds(polygons)
    middles = (bounds[:, :2] + bounds[:, 2:]) / 2
    plane = _local_plane(points, middles[owner], place)
    flat, area = _laid_flat(polygons, plane)
    quads = np.full((len(flat), 4, 2), np.nan)
    measurable = area > 0  # neither empty nor without a place
    rectangles = shapely.get_coordinates(shapely.oriented_envelope(flat[measurable]))
    quads[measurable] = rectangles.reshape(-1, 5, 2)[:, :4]
    sizes = _sizes_in_plane(quads)
    return GroundSizes(sizes.length, sizes.width, sizes.heading_deg, area)


def polygon_areas(polygons: NDArray[Any], place: Georeference | None) -> Floats:
    """The areas (N,) of shapely polygons in pixels, of any size: square metres, else pixels.

    On the ground by an equal-area projection of the map's ellipsoid; NaN where a corner has no
    place on it.
    """
    import shapely
    from pyproj import Proj

    if place is None or len(polygons) == 0:
        return np.asarray(shapely.area(polygons), dtype=np.float64)
    ground = _ground(place.crs)
    if ground.to_degrees is None:
        square_units = abs(np.linalg.det(np.reshape(place.transform, (2, 3))[:, :2]))
        return np.asarray(shapely.area(polygons)) * square_units * ground.metres_per_unit**2
    points = shapely.get_coordinates(polygons)
    lon, lat = ground.to_degrees(place.to_map(points))
    on_earth = np.isfinite(lon) & np.isfinite(lat)
    if not on_earth.any():
        return np.full(len(polygons), np.nan)
    middle = {"lon_0": lon[on_earth][0], "lat_0": lat[on_earth][0]}
    plane = Proj(proj="laea", **middle, a=ground.geod.a, b=ground.geod.b)
    return _laid_flat(polygons, np.stack(plane(lon, lat), axis=1))[1]


def _laid_flat(polygons: NDArray[Any], plane_xy: Floats) -> tuple[NDArray[Any], Floats]:
    """Polygons (N,) with these corners (M, 2), and their areas: NaN where one is not finite."""
    import shapely

    owner = shapely.get_coordinates(polygons, return_index=True)[1]
    finite = np.isfinite(plane_xy)
    flat = shapely.transform(polygons, lambda _: np.where(finite, plane_xy, 0))
    area = np.asarray(shapely.area(flat), dtype=np.float64)
    area[owner[~finite.all(axis=1)]] = np.nan
    return flat, area


def pixel_area_m2(place: Georeference, at_xy: tuple[float, float]) -> float:
    """The area of a pixel on the ground about a point; 0 where that has no place on Earth."""
    metres = metres_per_pixel(place, at_xy)
    return float(abs(np.linalg.det(metres))) if np.isfinite(metres).all() else 0.0


def metres_per_pixel(place: Georeference, at_xy: tuple[float, float]) -> NDArray[np.float64]:
    """The way from pixels to metres about a pixel: (2, 2), the second column a step in y.

    Rows are east and north.
    """
    anchor = np.array([at_xy, at_xy], dtype=np.float64)
    return _local_plane(anchor + np.eye(2), anchor, place).T


def _sizes_in_plane(quads: Floats) -> GroundSizes:
    """Of corners (N, 4, 2), x east and y north."""
    one = (quads[:, 1] - quads[:, 0] + quads[:, 2] - quads[:, 3]) / 2
    other = (quads[:, 2] - quads[:, 1] + quads[:, 3] - quads[:, 0]) / 2
    lengths = np.stack([np.hypot(*one.T), np.hypot(*other.T)], axis=1)
    east, north = np.where((lengths[:, :1] >= lengths[:, 1:]), one, other).T
    heading = np.degrees(np.arctan2(east, north)) % 180
    heading = np.where(heading >= 180, 0.0, heading)  # the remainder of a tiny negative number
    across, along = quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1]
    area = np.abs(across[:, 0] * along[:, 1] - across[:, 1] * along[:, 0]) / 2
    return GroundSizes(lengths.max(axis=1), lengths.min(axis=1), heading, area)


def _local_plane(points_xy: Floats, middles_xy: Floats, place: Georeference | None) -> Floats:
    """Each pixel point (M, 2) as seen from its middle (M, 2): metres east and north (M, 2).

    Without a place: pixels to the right and up.
    """
    if place is None:
        return (points_xy - middles_xy) * (1, -1)
    ground = _ground(place.crs)
    points, middles = place.to_map(points_xy), place.to_map(middles_xy)
    if ground.to_degrees is None:
        return (points - middles) * ground.metres_per_unit
    azimuth_deg, _, metres = ground.geod.inv(
        *ground.to_degrees(middles), *ground.to_degrees(points)
    )
    azimuth = np.radians(azimuth_deg)
    return np.stack([metres * np.sin(azimuth), metres * np.cos(azimuth)], axis=1)


@dataclass(frozen=True)
class _Ground:
    """The ground below a map: its ellipsoid, and the way there.

    - to_degrees: map points (N, 2) to longitude and latitude, degrees on that ellipsoid, without a
      change of datum; None for a plan that is tied to no ellipsoid
    """

    geod: Any
    to_degrees: Callable[[Floats], tuple[Floats, Floats]] | None
    metres_per_unit: float


@lru_cache(maxsize=8)
def _ground(crs: str) -> _Ground:
    from pyproj import CRS, Transformer

    system = CRS.from_user_input(crs)
    geodetic = system.geodetic_crs
    if geodetic is None:
        axes = system.axis_info
        return _Ground(None, None, axes[0].unit_conversion_factor if axes else 1.0)
    transformer = Transformer.from_crs(system, geodetic, always_xy=True)
    # Some old systems count in grads, not in degrees.
    degrees = math.degrees(geodetic.axis_info[0].unit_conversion_factor)

    def to_degrees(points_xy: Floats) -> tuple[Floats, Floats]:
        lon, lat = transformer.transform(points_xy[:, 0], points_xy[:, 1])
        return lon * degrees, lat * degrees

    return _Ground(system.get_geod(), to_degrees, 1.0)
