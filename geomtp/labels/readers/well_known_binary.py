"""Polygons of a GeoPackage's blobs.

Read by hand and not by GEOS, whose reader goes down into nested collections without a limit: a blob
of a hundred kilobytes can end the process.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from geomtp.labels.outlines import geos

_ENVELOPE_BYTES = (0, 32, 48, 48, 64)  # by the code in the flags
_POLYGON, _MULTI_POLYGON = 3, 6


def polygons_from_geopackage(blob: object) -> Any | None:
    """The polygon or multi-polygon in a blob: shapely's, x y only; None for any other and
    for an empty geometry.

    The blob is "GP", version, flags, the number of the coordinate system, an envelope, and then
    well-known binary (OGC GeoPackage 1.3, section 2.1.3). Heights and measures are left out. Raises
    ValueError for what is none of this.
    """
    if blob is None:
        return None
    if not isinstance(blob, bytes) or blob[:2] != b"GP" or len(blob) < 8:
        raise ValueError("its geometry is no GeoPackage blob")
    flags = blob[3]
    code = flags >> 1 & 7
    if code >= len(_ENVELOPE_BYTES) or flags & 32:
        raise ValueError(f"its geometry has the unknown header flags {flags}")
    if flags & 16:  # empty
        return None
    reader = _Reader(blob, 8 + _ENVELOPE_BYTES[code])
    try:
        geometry = reader.geometry()
    except (struct.error, geos.GEOSException, ValueError) as error:
        raise ValueError(f"its geometry is damaged: {error}") from error
    return None if geometry is None or geometry.is_empty else geometry


class _Reader:
    """Walks once through well-known binary."""

    def __init__(self, blob: bytes, start: int) -> None:
        self._blob = blob
        self._at = start
        self._order = "<"

    def geometry(self) -> Any | None:
        kind, dimensions = self._head()
        if kind == _POLYGON:
            return self._polygon(dimensions)
        if kind != _MULTI_POLYGON:
            return None
        parts = []
        for _ in range(self._number()):
            kind, dimensions = self._head()
            if kind != _POLYGON:
                raise ValueError("a multi-polygon holds something else")
            parts.append(self._polygon(dimensions))
        return geos.MultiPolygon([part for part in parts if not part.is_empty])

    def _head(self) -> tuple[int, int]:
        """The kind of the geometry that begins here, and its coordinates per point."""
        (order,) = struct.unpack_from("<B", self._blob, self._at)
        self._order = "<" if order else ">"
        self._at += 1
        kind = self._number()
        variant = kind // 1000  # 0 x y, 1 with z, 2 with m, 3 with both
        if variant > 3:
            raise ValueError(f"unknown kind {kind}")
        return kind % 1000, (2, 3, 3, 4)[variant]

    def _number(self) -> int:
        (number,) = struct.unpack_from(f"{self._order}I", self._blob, self._at)
        self._at += 4
        return int(number)

    def _polygon(self, dimensions: int) -> Any:
        rings = []
        for _ in range(self._number()):
            values = self._number() * dimensions
            if len(self._blob) - self._at < 8 * values:
                raise ValueError("it ends too early")
            numbers = np.frombuffer(self._blob, f"{self._order}f8", values, self._at)
            self._at += 8 * values
            rings.append(numbers.reshape(-1, dimensions)[:, :2].astype(np.float64))
        return geos.Polygon(rings[0], rings[1:]) if rings else geos.Polygon()
