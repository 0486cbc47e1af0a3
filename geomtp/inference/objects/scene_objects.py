"""The objects that a model found in a scene: what windows are merged into and writers write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from shapely.geometry import MultiPolygon, Polygon


@dataclass(frozen=True)
class SceneObjects:
    """The objects of one task in one scene, by falling score; one geometry field is not None.

    - rboxes_cxcywha: (N, 5) float64, scene pixels and radians, le90 ("rotated")
    - boxes_xyxy: (N, 4) float64, scene pixels ("horizontal")
    - polygons: N polygons (of several parts, where an object is), scene pixels ("instance")
    - scores: (N,) float64, 0…1
    - labels: (N,) int64, class ids 0…K−1

    Raises ValueError when not exactly one geometry is given, or when lengths differ.
    """

    scores: np.ndarray
    labels: np.ndarray
    rboxes_cxcywha: np.ndarray | None = None
    boxes_xyxy: np.ndarray | None = None
    polygons: tuple[Polygon | MultiPolygon, ...] | None = None

    def __post_init__(self) -> None:
        given = [
            shape
            for shape in (self.rboxes_cxcywha, self.boxes_xyxy, self.polygons)
            if shape is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "objects have one geometry: rboxes_cxcywha, boxes_xyxy or polygons; "
                f"{len(given)} of them were given"
            )
        if not len(given[0]) == len(self.scores) == len(self.labels):
            raise ValueError(
                f"{len(given[0])} geometries, {len(self.scores)} scores and "
                f"{len(self.labels)} labels: one of each per object is expected"
            )

    def __len__(self) -> int:
        return len(self.scores)
