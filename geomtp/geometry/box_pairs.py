"""Which horizontal boxes overlap, found by a sweep in lanes instead of comparing all of them.

The plane is cut into horizontal strips somewhat higher than the boxes. A box is entered in each
strip it touches; with labels, each label has strips of its own. In such a lane the entries are
sorted by x. Two boxes overlap in x when one starts between the start and the end of the other,
which is a contiguous range of the sorted entries, found by bisection. Only those are compared in y.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

CANDIDATES_AT_ONCE = 1 << 18
"""Candidate pairs listed together; bounds the memory (some 60 bytes each)."""

HEIGHTS_PER_STRIP = 2.0
"""Height of a strip in mean heights of a box: lower means more entries, higher more candidates."""


@dataclass(frozen=True)
class _Lanes:
    """Boxes entered in lanes, sorted by lane and x; all of shape (E,)."""

    start: Tensor  # lane · span + x1
    end: Tensor  # lane · span + x2
    box: Tensor  # index of the box
    low: Tensor  # y1
    high: Tensor  # y2
    first: Tensor  # bool: the first of the box's lanes


@dataclass(frozen=True)
class _Ranges:
    """For each entry of ``left`` the ``counts`` entries of ``right`` from ``begin`` on."""

    left: _Lanes
    right: _Lanes
    begin: Tensor
    counts: Tensor
    swapped: bool = False  # pairs are wanted as (right, left)


@dataclass(frozen=True)
class BoxPairs:
    """Pairs of overlapping boxes, found but not yet listed.

    Iterating gives index tensors (i, j), each (P,), in pieces of bounded length: every pair
    occurs once, in no particular order. Boxes that only touch in x may be among them.
    """

    ranges: tuple[_Ranges, ...]

    @property
    def candidates(self) -> int:
        """How many pairs have to be compared in y to list the overlapping ones."""
        return sum(int(ranges.counts.sum()) for ranges in self.ranges)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for ranges in self.ranges:
            yield from _listed(ranges)


def pairs_within(boxes_xyxy: Tensor, labels: Tensor | None = None) -> BoxPairs:
    """Overlapping boxes of one set (N, 4), float64: (i, j), i ≠ j in either order.

    With ``labels`` (N,) only boxes of the same label.
    """
    if len(boxes_xyxy) == 0:
        return BoxPairs(())
    lanes = _lanes(boxes_xyxy, labels)
    following = torch.arange(1, len(lanes.box) + 1, device=lanes.box.device)
    return BoxPairs((_ranges(lanes, lanes, following),))


def pairs_between(
    a_xyxy: Tensor,
    b_xyxy: Tensor,
    labels_a: Tensor | None = None,
    labels_b: Tensor | None = None,
) -> BoxPairs:
    """Overlapping boxes of a (N, 4) and b (M, 4), float64: (index in a, index in b).

    With ``labels_a`` (N,) and ``labels_b`` (M,) only boxes of the same label.
    """
    count = len(a_xyxy)
    if count == 0 or len(b_xyxy) == 0:
        return BoxPairs(())
    labels = None if labels_a is None or labels_b is None else torch.cat([labels_a, labels_b])
    lanes = _lanes(torch.cat([a_xyxy, b_xyxy]), labels)
    of_a = lanes.box < count
    a, b = _chosen(lanes, of_a), _chosen(lanes, ~of_a)
    b = dataclasses.replace(b, box=b.box - count)
    # a's that start with or before the b, then those that start after it
    b_in_a = _ranges(a, b, torch.searchsorted(b.start, a.start))
    a_in_b = _ranges(b, a, torch.searchsorted(a.start, b.start, right=True))
    return BoxPairs((b_in_a, dataclasses.replace(a_in_b, swapped=True)))


def _lanes(boxes: Tensor, labels: Tensor | None) -> _Lanes:
    if not torch.isfinite(boxes).all():
        raise ValueError("boxes must be finite, some hold NaN or infinite values")
    x1, y1, x2, y2 = boxes.unbind(dim=1)
    left, span = x1.min(), x2.max() - x1.min() + 1
    strip = (y2 - y1).mean() * HEIGHTS_PER_STRIP + 1e-9
    top = ((y1 - y1.min()) / strip).floor()
    strips = ((y2 - y1.min()) / strip).floor() - top + 1
    if labels is not None:
        lanes_per_label = (top + strips).max()
        top = top + torch.unique(labels, return_inverse=True)[1] * lanes_per_label
    counts = strips.long()
    box = torch.repeat_interleave(counts)
    stops = counts.cumsum(0)
    nth = torch.arange(len(box), device=box.device) - (stops - counts).index_select(0, box)
    lane_start = (top.index_select(0, box) + nth) * span - left
    start, order = (lane_start + x1.index_select(0, box)).sort()
    box, nth = box.index_select(0, order), nth.index_select(0, order)
    end = lane_start.index_select(0, order) + x2.index_select(0, box)
    low, high = y1.index_select(0, box), y2.index_select(0, box)
    return _Lanes(start, end, box, low, high, nth == 0)


def _chosen(lanes: _Lanes, mask: Tensor) -> _Lanes:
    """The entries where ``mask``."""
    at = mask.nonzero()[:, 0]
    return _Lanes(
        start=lanes.start.index_select(0, at),
        end=lanes.end.index_select(0, at),
        box=lanes.box.index_select(0, at),
        low=lanes.low.index_select(0, at),
        high=lanes.high.index_select(0, at),
        first=lanes.first.index_select(0, at),
    )


def _ranges(left: _Lanes, right: _Lanes, begin: Tensor) -> _Ranges:
    """The entries of ``right`` from ``begin`` on that start before the end of each of ``left``."""
    # Positions are rounded where many lanes make them large: a few too many do no harm.
    slack = left.end[-1].abs() * 1e-15
    counts = (torch.searchsorted(right.start, left.end + slack) - begin).clamp_(min=0)
    return _Ranges(left, right, begin, counts)


def _listed(ranges: _Ranges) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs in these ranges that overlap in y too, as indices of boxes."""
    left, right, counts = ranges.left, ranges.right, ranges.counts
    stops = counts.cumsum(0)
    shift = ranges.begin - (stops - counts)
    for low, high in _pieces(stops):
        i = torch.repeat_interleave(counts[low:high]).add_(low)
        listed = int(stops[low - 1]) if low else 0
        j = torch.arange(listed, listed + len(i), device=i.device) + shift.index_select(0, i)
        hit = left.low.index_select(0, i) < right.high.index_select(0, j)
        hit &= left.high.index_select(0, i) > right.low.index_select(0, j)
        # Boxes may meet in several lanes; the first of those is the first lane of one of them.
        hit &= left.first.index_select(0, i) | right.first.index_select(0, j)
        kept = hit.nonzero()[:, 0]
        i = left.box.index_select(0, i.index_select(0, kept))
        j = right.box.index_select(0, j.index_select(0, kept))
        yield (j, i) if ranges.swapped else (i, j)


def _pieces(stops: Tensor) -> list[tuple[int, int]]:
    """Ranges of entries that hold about CANDIDATES_AT_ONCE candidates each."""
    total = int(stops[-1])
    if total == 0:
        return []
    marks = stops.new_tensor(range(CANDIDATES_AT_ONCE, total, CANDIDATES_AT_ONCE))
    cuts = torch.searchsorted(stops, marks).unique().tolist()
    bounds = [0, *(cut for cut in cuts if cut > 0), len(stops)]
    return list(itertools.pairwise(bounds))
