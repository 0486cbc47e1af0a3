"""Outlines of annotated objects as shapely geometries, and back."""

from __future__ import annotations

from typing import Any

import shapely

from geomtp.labels.annotations import Polygon

geos: Any = shapely  # few of its functions carry types


def geometry_of(polygons: tuple[Polygon, ...]) -> Any:
    """The area that ``polygons`` cover together, with holes; crossing lines are mended.

    Raises ValueError for coordinates that are no area at all.
    """
    try:
        parts = [geos.Polygon(polygon[0], polygon[1:]) for polygon in polygons]
        return geos.union_all([valid(part) for part in parts])
    except (geos.GEOSException, ValueError) as error:
        raise ValueError(f"an outline cannot be used: {error}") from error


def valid(geometry: Any) -> Any:
    """``geometry``, mended where its lines cross. Raises shapely's GEOSException."""
    return geometry if geometry.is_valid else geos.make_valid(geometry)


def polygons_of(geometry: Any) -> tuple[Polygon, ...]:
    """The polygons in ``geometry``, also in a collection; lines and points in it are left out."""
    flat = geos.get_parts(geos.get_parts([geometry]))  # a collection may hold multi-polygons
    return tuple(_polygon(part) for part in flat if part.geom_type == "Polygon")


def _polygon(geometry: Any) -> Polygon:
    rings = (geometry.exterior, *geometry.interiors)
    return tuple(geos.get_coordinates(ring)[:-1] for ring in rings)
