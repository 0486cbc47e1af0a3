"""Class maps as polygons: layers of what was segmented."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geomtp.geometry.class_regions import ClassRegions, class_regions
from geomtp.inference.outputs.vector_files import write_layers
from geomtp.inference.outputs.vector_layers import MapShapes, VectorLayer, on_map
from geomtp.rasters import Georeference, read_size, read_window
from geomtp.rasters.ground_sizes import metres_per_pixel, polygon_areas
from geomtp.types import ClassMap, SizeHW

STRIP_PX = 512
"""Rows of a map that are turned into polygons together: one row of tiles of a written map."""

CORNERS_TOGETHER = 3_000_000
"""Maps whose polygons have more corners are simplified polygon by polygon."""

_COORDINATES_AT_ONCE = 4_000_000


def write_polygons_of_map(
    path: str | Path,
    values: Path | NDArray[np.uint8],
    class_map: ClassMap,
    place: Georeference | None,
    *,
    task: str,
    simplify_m: float | None = None,
    min_area_m2: float = 0.0,
) -> int:
    """Write a class map as polygons, one per connected region; gives back their number.

    Layer and errors are those of ``map_layer``, file and further errors of ``write_layers``.
    """
    layer = map_layer(
        values, class_map, place, task=task, simplify_m=simplify_m, min_area_m2=min_area_m2
    )
    return write_layers(path, [layer])[task]


def map_layer(
    values: Path | NDArray[np.uint8],
    class_map: ClassMap,
    place: Georeference | None,
    *,
    task: str,
    simplify_m: float | None = None,
    min_area_m2: float = 0.0,
) -> VectorLayer:
    """The layer, named after its task, of the regions of a class map: k+1 stands for class k.

    Attributes: ``class``, ``class_id`` and ``area_m2`` (without a place ``area_px``). Background
    (0) and pixels without data (255) have no polygons. A change map has one class, "changed".

    Args:
        values: the map (H, W) uint8, or the raster file whose first band holds it; read by strips.
        class_map: classes and colours.
        place: where the map lies; None: polygons in pixels.
        task: "semantic" or "change".
        simplify_m: leave out corners whose triangle with their neighbours is smaller than the
            square of this many metres (pixels without a place). Neighbours keep a common border,
            without gaps or overlaps, up to three million corners; beyond, each polygon is
            simplified for itself. All polygons are in memory meanwhile; without ``simplify_m``
            only those that cross a strip's border are.
        min_area_m2: leave out smaller regions (in pixels without a place); a hole is left there.

    Raises ValueError for negative ones and, while polygons are made, for a value without a class.
    """
    if (simplify_m or 0) < 0 or min_area_m2 < 0:
        raise ValueError("simplify_m and min_area_m2 cannot be negative")
    area = "area_px" if place is None else "area_m2"
    return VectorLayer(
        name=task,
        crs=None if place is None else place.crs,
        class_map=class_map,
        columns={"class": str, "class_id": int, area: float},
        parts=_MapParts(values, class_map, place, area, simplify_m or 0.0, min_area_m2),
    )


@dataclass(frozen=True)
class _MapParts:
    """The regions of a map, made strip by strip, each time anew."""

    values: Path | NDArray[np.uint8]
    class_map: ClassMap
    place: Georeference | None
    area_column: str
    simplify_m: float
    min_area_m2: float

    def __iter__(self) -> Iterator[MapShapes]:
        if not self.simplify_m:
            yield from map(self._shapes, self._large_regions())
            return
        parts = list(self._large_regions())
        whole = ClassRegions(
            np.concatenate([part.polygons for part in parts]),
            np.concatenate([part.values for part in parts]),
        )
        metres = np.eye(2)
        if self.place is not None:
            height, width = self._size_hw()
            metres = metres_per_pixel(self.place, (width / 2, height / 2))
        simple = simplified_together(whole.polygons, metres, self.simplify_m)
        yield self._shapes(ClassRegions(simple, whole.values))

    def _large_regions(self) -> Iterator[ClassRegions]:
        for regions in class_regions(self._strips()):
            if self.min_area_m2:
                large = polygon_areas(regions.polygons, self.place) >= self.min_area_m2
                yield ClassRegions(regions.polygons[large], regions.values[large])
            else:
                yield regions

    def _shapes(self, regions: ClassRegions) -> MapShapes:
        class_ids = regions.values.astype(np.int64) - 1
        if len(class_ids) and class_ids.max() >= len(self.class_map):
            raise ValueError(
                f"the map holds {regions.values.max()}, which is none of its {len(self.class_map)} "
                "classes (k+1 stands for class k)"
            )
        names = np.array(self.class_map.names, dtype=object)
        areas = polygon_areas(regions.polygons, self.place)
        return MapShapes(
            on_map(regions.polygons, self.place),
            {"class": names[class_ids], "class_id": class_ids, self.area_column: areas},
        )

    def _size_hw(self) -> SizeHW:
        if isinstance(self.values, Path):
            return read_size(self.values)
        height, width = self.values.shape
        return height, width

    def _strips(self) -> Iterator[NDArray[np.uint8]]:
        height, width = self._size_hw()
        for top in range(0, height, STRIP_PX):
            bottom = min(height, top + STRIP_PX)
            if isinstance(self.values, Path):
                yield read_window(self.values, (0, top, width, bottom), (0,))[:, :, 0]
            else:
                yield self.values[top:bottom]


def simplified_together(
    polygons: NDArray[Any], metres_per_px: NDArray[np.float64], simplify_m: float
) -> NDArray[Any]:
    """Polygons of a class map (N,), in pixels, with fewer corners but still without gaps.

    ``metres_per_px`` (2, 2): from pixels to metres; ``simplify_m``: see ``map_layer``.
    """
    if len(polygons) == 0:
        return polygons
    to_metres, to_pixels = metres_per_px.T, np.linalg.inv(metres_per_px).T
    # A shared border has one shape only if its corners are corners of both sides.
    together = shapely.get_num_coordinates(polygons).sum() <= CORNERS_TOGETHER
    if together:
        polygons = _with_corners_of_neighbours(polygons)
    flat = shapely.transform(polygons, lambda points: points @ to_metres)
    if together:
        simple = shapely.coverage_simplify(flat, simplify_m)
    else:
        simple = shapely.simplify(flat, simplify_m, preserve_topology=True)
    return np.asarray(shapely.transform(simple, lambda points: points @ to_pixels))


def _with_corners_of_neighbours(polygons: NDArray[Any]) -> NDArray[Any]:
    """Polygons along pixel edges, with a point wherever another has a corner on their outline."""
    corners = np.unique(_keys(shapely.get_coordinates(polygons)))
    outline_px = np.cumsum(shapely.length(polygons))
    cuts = np.arange(_COORDINATES_AT_ONCE, outline_px[-1], _COORDINATES_AT_ONCE)
    pieces = np.split(polygons, np.unique(np.searchsorted(outline_px, cuts)))
    return np.concatenate([_densified(piece, corners) for piece in pieces if len(piece)])


def _densified(polygons: NDArray[Any], corners: NDArray[np.int64]) -> NDArray[Any]:
    """``polygons`` with all points of the pixel grid on their outlines that are ``corners``."""
    by_pixel = shapely.segmentize(polygons, 1.0)
    kind, points, (rings, outlines) = shapely.to_ragged_array(by_pixel)
    points = np.rint(points)
    kept = np.isin(_keys(points), corners)
    before = np.concatenate([[0], np.cumsum(kept)])
    offsets = (before[rings], outlines)
    return np.asarray(shapely.from_ragged_array(kind, points[kept], offsets))


def _keys(points_xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """A number for each point (N, 2) of the pixel grid."""
    x, y = np.rint(points_xy).astype(np.int64).T
    return np.asarray((x << 32) + y)
