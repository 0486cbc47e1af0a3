"""Which of the outlines that several windows saw are of one object."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


def agreeing_pairs(
    polygons: NDArray[Any],
    labels: NDArray[np.int64],
    seen_xyxy: NDArray[np.float64],
    iou: float,
) -> NDArray[np.int64]:
    """Pairs (P, 2) of outlines of one class that agree where both of their windows look.

    So pieces of a long object agree, and a piece agrees with the whole.

    - polygons (N,), labels (N,)
    - seen_xyxy: (N, 4) what the window sees in which each was found
    - iou: from which they agree
    """
    i, j = shapely.STRtree(polygons).query(polygons, predicate="intersects")
    pairs = (i < j) & (labels[i] == labels[j])
    i, j = i[pairs], j[pairs]
    windows = shapely.box(*seen_xyxy.T)
    common = shapely.area(shapely.intersection(polygons[i], polygons[j]))
    of_i = shapely.area(shapely.intersection(polygons[i], windows[j]))
    of_j = shapely.area(shapely.intersection(polygons[j], windows[i]))
    same = common >= iou * np.maximum(of_i + of_j - common, 1e-9)
    return np.stack([i[same], j[same]], axis=1).astype(np.int64)


def connected(count: int, pairs: NDArray[np.int64]) -> list[list[int]]:
    """0…count−1 in groups that pairs connect."""
    leader = list(range(count))

    def first(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    for i, j in pairs.tolist():
        a, b = sorted((first(i), first(j)))
        leader[b] = a
    groups: dict[int, list[int]] = {}
    for i in range(count):
        groups.setdefault(first(i), []).append(i)
    return list(groups.values())
