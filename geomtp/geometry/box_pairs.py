"""Which horizontal boxes overlap, found by a sweep in lanes instead of comparing all of them.

The plane is cut into horizontal strips somewhat higher than the boxes. A box is entered in each
strip it touches; with labels, each label has strips of its own. In such a lane the entries are sorted
by x. Two boxes overlap in x when one starts between the start and the end of the other, which is a
contiguous range of the sorted entries, found by bisection. Only pairs found so are compared in y.
"""

from __future__ import annotations

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


def pairs_between(a_xyxy: Tensor, b_xyxy: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Overlapping boxes of a (N, 4) and b (M, 4), float64, as (index in a, index in b).

    Pieces of bounded length; each pair occurs once, in no particular order. Boxes that only touch
    do not overlap.
    """
    if len(a_xyxy) == 0 or len(b_xyxy) == 0:
        return
    lanes = _lanes(torch.cat([a_xyxy, b_xyxy]), None)
    of_b = lanes.box >= len(a_xyxy)
    a, b = _chosen(lanes, ~of_b, 0), _chosen(lanes, of_b, len(a_xyxy))
    yield from _listed(a, b, torch.searchsorted(b.start, a.start))
    # right: where both start at the same x, the pair has been listed already
    for j, i in _listed(b, a, torch.searchsorted(a.start, b.start, right=True)):
        yield i, j


def pairs_within(
    boxes_xyxy: Tensor, labels: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Overlapping boxes of one set (N, 4), float64, as (i, j), i ≠ j, in either order.

    With ``labels`` (N,) only boxes of the same label. Pieces as in ``pairs_between``.
    """
    if len(boxes_xyxy) == 0:
        return
    lanes = _lanes(boxes_xyxy, labels)
    yield from _listed(lanes, lanes, _following(lanes))


def count_candidates(boxes_xyxy: Tensor, labels: Tensor | None = None) -> int:
    """How many pairs ``pairs_within`` will have to look at."""
    if len(boxes_xyxy) == 0:
        return 0
    lanes = _lanes(boxes_xyxy, labels)
    return int(_counts(lanes, lanes, _following(lanes)).sum())


def _lanes(boxes: Tensor, labels: Tensor | None) -> _Lanes:
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


def _chosen(lanes: _Lanes, mask: Tensor, first_box: int) -> _Lanes:
    """The entries where ``mask``, their boxes counted from ``first_box``."""
    at = mask.nonzero()[:, 0]
    return _Lanes(
        start=lanes.start[at],
        end=lanes.end[at],
        box=lanes.box[at] - first_box,
        low=lanes.low[at],
        high=lanes.high[at],
        first=lanes.first[at],
    )


def _following(lanes: _Lanes) -> Tensor:
    """For each entry the position of the next one."""
    return torch.arange(1, len(lanes.box) + 1, device=lanes.box.device)


def _counts(left: _Lanes, right: _Lanes, begin: Tensor) -> Tensor:
    """How many entries of ``right``, from ``begin`` on, start before the end of each of ``left``."""
    # Positions are rounded where many lanes make them large: a little too many is harmless.
    slack = left.end[-1].abs() * 1e-15
    return (torch.searchsorted(right.start, left.end + slack) - begin).clamp_(min=0)


def _listed(left: _Lanes, right: _Lanes, begin: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (left box, right box) of each left entry with the right ones that start inside it, from
    ``begin`` on, that overlap in y too.
    """
    counts = _counts(left, right, begin)
    stops = counts.cumsum(0)
    shift = begin - (stops - counts)
    for low, high in _pieces(stops):
        i = torch.repeat_interleave(counts[low:high]).add_(low)
        listed = int(stops[low - 1]) if low else 0
        j = torch.arange(listed, listed + len(i), device=i.device) + shift.index_select(0, i)
        hit = left.low.index_select(0, i) < right.high.index_select(0, j)
        hit &= left.high.index_select(0, i) > right.low.index_select(0, j)
        # Boxes may meet in several lanes; the first of those is the first lane of one of them.
        hit &= left.first.index_select(0, i) | right.first.index_select(0, j)
        kept = hit.nonzero()[:, 0]
        i, j = i.index_select(0, kept), j.index_select(0, kept)
        yield left.box.index_select(0, i), right.box.index_select(0, j)


def _pieces(stops: Tensor) -> list[tuple[int, int]]:
    """Ranges of entries that hold about CANDIDATES_AT_ONCE candidates each."""
    total = int(stops[-1])
    if total == 0:
        return []
    marks = stops.new_tensor(range(CANDIDATES_AT_ONCE, total, CANDIDATES_AT_ONCE))
    cuts = torch.searchsorted(stops, marks).unique().tolist()
    bounds = [0, *(cut for cut in cuts if cut > 0), len(stops)]
    return list(zip(bounds, bounds[1:], strict=False))
