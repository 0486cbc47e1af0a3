"""Class maps to polygons without seams, strip by strip from the top.

A region is what hangs together by pixels of one value that share an edge. Regions inside a strip
are done with it. Those that reach the strip's lower border wait there: where the next strip goes on
with the same value, the pieces are of one region, and they are united when nothing of it reaches
further down. So memory holds a strip and the outlines of the regions that cross its border.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geomtp.types import IGNORE

geos: Any = shapely  # few of its functions carry types


@dataclass(frozen=True)
class ClassRegions:
    """N regions of a class map.

    - polygons: (N,) shapely polygons with holes, x y pixels along the pixels' outer edges
    - values: (N,) uint8
    """

    polygons: NDArray[Any]
    values: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.polygons)


def class_regions(
    strips: Iterable[NDArray[np.uint8]], skipped: tuple[int, ...] = (0, IGNORE)
) -> Iterator[ClassRegions]:
    """The regions of a map given as ``strips`` (h, W) uint8 that follow each other downwards.

    They are those of the whole map at once, whatever the heights of the strips. Pixels of the
    values ``skipped`` belong to no region. Regions come as soon as they are complete, in no
    particular order. Raises ValueError for strips that differ in width.
    """
    waiting = _Waiting()
    top = 0
    for strip in strips:
        if strip.ndim != 2 or (top and strip.shape[1] != len(waiting.values_below)):
            raise ValueError(f"strips (h, W) of one width were expected, got {strip.shape}")
        if strip.size:
            yield waiting.next_strip(strip, top, skipped)
            top += len(strip)
    yield waiting.rest()


@dataclass
class _Waiting:
    """The regions that reach the lower border of the last strip, numbered from 0.

    - pieces, values: of each region
    - owners: (W,) which region lies above each column of the border, −1 for none
    - values_below: (W,) the last row of pixels
    """

    pieces: list[list[Any]] = field(default_factory=list)
    values: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    owners: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    values_below: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def next_strip(
        self, strip: NDArray[np.uint8], top: int, skipped: tuple[int, ...]
    ) -> ClassRegions:
        """Take in the strip that begins at row ``top``; the regions that are now complete."""
        found = _pieces(strip, top, skipped)
        width, before = strip.shape[1], len(self.pieces)
        at_top = _owners(found.polygons, top, width)
        at_bottom = _owners(found.polygons, top + len(strip), width)
        # Waiting regions come first in one numbering with the new pieces.
        pairs = np.zeros((0, 2), dtype=np.int64)
        if top:
            same = (self.owners >= 0) & (at_top >= 0) & (self.values_below == strip[0])
            pairs = np.unique(np.stack([self.owners[same], at_top[same] + before], axis=1), axis=0)
        region_of = _joined(before + len(found), pairs)
        values = np.concatenate([self.values, found.values])
        reaching = at_bottom >= 0
        below = region_of[at_bottom[reaching] + before]
        open_regions = np.unique(below)
        crossing = np.zeros(len(found), dtype=bool)
        crossing[at_top[at_top >= 0]] = True
        crossing[at_bottom[reaching]] = True
        pieces: dict[int, list[Any]] = {}
        for number, waiting in enumerate(self.pieces):
            pieces.setdefault(int(region_of[number]), []).extend(waiting)
        for number in np.flatnonzero(crossing).tolist():
            region = int(region_of[before + number])
            pieces.setdefault(region, []).append(found.polygons[number])
        self.pieces = [pieces.pop(region) for region in open_regions.tolist()]
        self.values = values[open_regions]
        self.owners = np.full(width, -1, dtype=np.int64)
        self.owners[reaching] = np.searchsorted(open_regions, below)
        self.values_below = strip[-1]
        done = _united(pieces.values(), values[list(pieces)])
        return ClassRegions(
            np.concatenate([found.polygons[~crossing], done.polygons]),
            np.concatenate([found.values[~crossing], done.values]),
        )

    def rest(self) -> ClassRegions:
        """The regions that reach the map's lower border."""
        return _united(self.pieces, self.values)


def _pieces(strip: NDArray[np.uint8], top: int, skipped: tuple[int, ...]) -> ClassRegions:
    """The regions of one strip alone."""
    from affine import Affine
    from rasterio.features import shapes

    found = shapes(
        strip,
        mask=~np.isin(strip, skipped),
        connectivity=4,
        transform=Affine.translation(0, top),
    )
    polygons, values = [], []
    for shape, value in found:
        outer, *holes = shape["coordinates"]
        polygons.append(geos.Polygon(outer, holes))
        values.append(value)
    return ClassRegions(_objects(polygons), np.array(values, dtype=np.uint8))


def _owners(polygons: NDArray[Any], line_y: int, width: int) -> NDArray[np.int64]:
    """Which polygon has an edge on each pixel of a line across the map: (W,), −1 for none."""
    rings = shapely.get_exterior_ring(polygons)  # a hole at the border would be a bay
    points, ring = shapely.get_coordinates(rings, return_index=True)
    on_line = points[:, 1] == line_y
    edge = on_line[:-1] & on_line[1:] & (ring[:-1] == ring[1:])
    ends = np.sort(
        np.stack([points[:-1, 0][edge], points[1:, 0][edge]], axis=1).astype(int), axis=1
    )
    owners = np.full(width, -1, dtype=np.int64)
    for owner, (start, stop) in zip(ring[:-1][edge].tolist(), ends.tolist(), strict=True):
        owners[start:stop] = owner
    return owners


def _joined(count: int, pairs: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers 0…count−1 joined by pairs: (count,) the lowest number of each one's group."""
    parents = np.arange(count)
    for one, other in pairs.tolist():
        low, high = sorted((_root(parents, one), _root(parents, other)))
        parents[high] = low
    for number in np.unique(pairs).tolist():
        parents[number] = _root(parents, number)
    return parents


def _root(parents: NDArray[np.int64], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = int(parents[number])
    return number


def _united(pieces: Iterable[list[Any]], values: NDArray[np.uint8]) -> ClassRegions:
    """One polygon of the pieces of each region."""
    polygons = [
        parts[0] if len(parts) == 1 else _without_straight_points(shapely.union_all(parts))
        for parts in pieces
    ]
    return ClassRegions(_objects(polygons), values.astype(np.uint8))


def _without_straight_points(polygon: Any) -> Any:
    """``polygon`` without points at which its outline does not turn, which seams leave behind."""

    def turning(ring: Any) -> NDArray[np.float64]:
        points = shapely.get_coordinates(ring)[:-1]
        step, next_step = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        turns = step[:, 0] * next_step[:, 1] != step[:, 1] * next_step[:, 0]  # pixels are exact
        return np.asarray(points[turns])

    return geos.Polygon(turning(polygon.exterior), [turning(r) for r in polygon.interiors])


def _objects(items: list[Any]) -> NDArray[Any]:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array
