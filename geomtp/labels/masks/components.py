"""The connected parts of a mask, in plain numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


def label_components(
    mask: NDArray[np.bool_], *, diagonal: bool = True
) -> tuple[NDArray[np.int32], int]:
    """Which connected part each pixel of a mask (H, W) belongs to, and how many parts there are.

    The labels (H, W) are 0 for background and 1… for the parts, in the order in which reading by
    rows meets them. With ``diagonal`` pixels that share only a corner are connected.
    """
    row, start, end = _row_runs(mask)
    above, below = _touching(row, start, end, mask.shape[1], reach=int(diagonal))
    _, numbers = np.unique(_joined(len(row), above, below), return_inverse=True)
    labels = np.zeros(mask.shape, dtype=np.int32)
    # The runs are in the order of reading, and so are the pixels that a mask picks.
    labels[mask] = np.repeat(numbers + 1, end - start)
    return labels, int(numbers.max(initial=-1)) + 1


def holes_of(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The number of holes in a mask (H, W) and their pixels together.

    A hole is background that no path of edge-sharing background pixels joins to the outside; the
    outside begins at the mask's border.
    """
    background = ~np.pad(mask, 1)
    labels, count = label_components(background, diagonal=False)
    return count - 1, int((labels > 1).sum())  # 1: the outside, which reading meets first


def _row_runs(mask: NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """Row, first column and the column after the last of every run of foreground."""
    steps = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(steps == 1)
    return row, start, np.nonzero(steps == -1)[1]


def _touching(
    row: Numbers, start: Numbers, end: Numbers, width: int, reach: int
) -> tuple[Numbers, Numbers]:
    """The pairs of runs in neighbouring rows that touch, as indices (upper, lower)."""
    stride = width + 2
    following = (row + 1) * stride
    first = np.searchsorted(row * stride + end, following + start - reach, side="right")
    last = np.searchsorted(row * stride + start, following + end + reach, side="left")
    count = np.maximum(last - first, 0)
    upper = np.repeat(np.arange(len(row)), count)
    step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return upper, np.repeat(first, count) + step


def _joined(runs: int, a: Numbers, b: Numbers) -> Numbers:
    """The smallest run that each run is joined with by the pairs (a, b)."""
    parent = np.arange(runs)
    while True:
        least = np.minimum(parent[a], parent[b])
        joined = parent.copy()
        for side in (parent[a], parent[b], a, b):
            np.minimum.at(joined, side, least)
        joined = joined[joined]
        if (joined == parent).all():
            return parent
        parent = joined
