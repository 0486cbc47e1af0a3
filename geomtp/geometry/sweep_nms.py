"""Non-maximum suppression of the rotated boxes of a large scene, settled from top to bottom.

Suppression by falling score looks at a whole scene at once. But a box can only be dropped by one
that overlaps it. So the scene is swept downwards: once all boxes that begin above a line are known,
a box that ends above it has met everybody who could drop it. What still hangs on boxes that reach
over the line stays open and is carried on; the rest is settled and leaves the memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geomtp.geometry.box_pairs import pairs_within
from geomtp.geometry.rotated_boxes import enclosing_boxes, require_columns
from geomtp.geometry.rotated_iou import frames, overlap_of_pairs
from geomtp.geometry.threads import one_thread

BOXES_PER_BAND = 1 << 15
"""How many boxes ``sweep_nms`` takes in between two lines; bounds memory, hardly changes time."""


def sweep_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Exactly what ``rotated_nms`` gives, band by band: kept indices by falling score, (K,).

    ``boxes`` (N, 5), ``scores`` (N,), ``labels`` (N,) and errors as there. Beyond the boxes
    themselves, memory and the time per box do not grow with the scene.
    """
    _check(boxes, scores=scores, labels=labels)
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.int64, device=boxes.device)
    sweep = NmsSweep(iou_threshold)
    tops = enclosing_boxes(boxes.double())[:, 1]
    downwards = tops.argsort(stable=True)
    kept = []
    for band in downwards.split(BOXES_PER_BAND):
        # All that begin above the band's first box were added before it.
        kept.append(sweep.settled_above(float(tops[band[0]])))
        sweep.add(boxes[band], scores[band], band, None if labels is None else labels[band])
    kept.append(sweep.settled_above(float("inf")))
    indices = torch.cat(kept).sort().values  # equal scores in their given order
    return indices[scores[indices].argsort(descending=True, stable=True)]


class NmsSweep:
    """Takes in boxes from top to bottom and gives back those that suppression keeps.

    ::

        sweep = NmsSweep(iou_threshold=0.1)
        for row in rows_of_windows:
            sweep.add(row.boxes, row.scores, row.indices, row.labels)
            kept = sweep.settled_above(top_of_the_next_row)
        kept = sweep.settled_above(inf)
    """

    def __init__(self, iou_threshold: float) -> None:
        """A box falls to a surer one where their IoU is GREATER than ``iou_threshold``."""
        self.iou_threshold = iou_threshold
        self._open: list[_Boxes] = []

    @property
    def waiting(self) -> int:
        """How many boxes are not settled yet."""
        return sum(len(part.indices) for part in self._open)

    def add(
        self, boxes: Tensor, scores: Tensor, indices: Tensor, labels: Tensor | None = None
    ) -> None:
        """Take in ``boxes`` (N, 5), cx cy w h angle, none of which reaches above a settled line.

        ``scores`` (N,); ``indices`` (N,) int64, the numbers by which boxes are given back, of equal
        scores the lower one first; ``labels`` (N,): only boxes of one label drop each other.
        Raises ValueError for shapes that do not fit.
        """
        labels = indices.new_zeros(len(indices)) if labels is None else labels
        _check(boxes, scores=scores, indices=indices, labels=labels)
        self._open.append(_Boxes(boxes.double(), scores.double(), indices, labels))

    @torch.no_grad()
    @one_thread()
    def settled_above(self, line_y: float) -> Tensor:
        """The indices of boxes that are now kept for good, (K,) in no particular order.

        ``line_y``: no box that begins above it will be added any more, in pixels. A box is given
        back once, and later than its own end lies above the line only where it hangs on another.
        """
        if not self.waiting:
            return torch.zeros(0, dtype=torch.int64)
        boxes = _Boxes.joined(self._open).by_falling_score()
        hulls = enclosing_boxes(boxes.rboxes)
        unsure = hulls[:, 3] > line_y  # a surer box below the line may still overlap these
        state = _decided(unsure, *_edges(boxes, hulls, self.iou_threshold))
        left = boxes.at((state == _OPEN).nonzero()[:, 0])
        self._open = [left] if len(left.indices) else []
        return boxes.indices[state == _KEPT]


def _check(boxes: Tensor, **columns: Tensor | None) -> None:
    require_columns("boxes", boxes, 5)
    for name, column in columns.items():
        if column is not None and column.shape != boxes.shape[:1]:
            raise ValueError(
                f"{name} must have shape ({len(boxes)},), one per box, got {tuple(column.shape)}"
            )


_KEPT, _OPEN, _DROPPED = 0, 1, 2


@dataclass(frozen=True)
class _Boxes:
    """N boxes that are not settled."""

    rboxes: Tensor  # (N, 5) float64
    scores: Tensor  # (N,) float64
    indices: Tensor  # (N,) int64
    labels: Tensor  # (N,)

    @staticmethod
    def joined(parts: list[_Boxes]) -> _Boxes:
        return _Boxes(
            torch.cat([part.rboxes for part in parts]),
            torch.cat([part.scores for part in parts]),
            torch.cat([part.indices for part in parts]),
            torch.cat([part.labels for part in parts]),
        )

    def at(self, rows: Tensor) -> _Boxes:
        return _Boxes(self.rboxes[rows], self.scores[rows], self.indices[rows], self.labels[rows])

    def by_falling_score(self) -> _Boxes:
        given = self.at(self.indices.argsort())
        return given.at(given.scores.argsort(descending=True, stable=True))


def _edges(boxes: _Boxes, hulls: Tensor, iou_threshold: float) -> tuple[Tensor, Tensor]:
    """Which boxes would drop which: the surer and the lesser of each pair, both (E,)."""
    corners = frames(boxes.rboxes)
    found = [torch.zeros(2, 0, dtype=torch.int64, device=hulls.device)]
    for i, j in pairs_within(hulls, boxes.labels):
        over = overlap_of_pairs(corners, i, corners, j) > iou_threshold
        found.append(torch.stack([torch.minimum(i, j), torch.maximum(i, j)])[:, over])
    surer, lesser = torch.cat(found, dim=1)
    # In the order of the surer box: by its turn, all that could drop it has been decided.
    turn = surer.argsort()
    return surer[turn], lesser[turn]


def _decided(unsure: Tensor, surer: Tensor, lesser: Tensor) -> Tensor:
    """Each box, by falling score, as _KEPT, _OPEN or _DROPPED: (N,) uint8.

    A kept box drops its lesser ones; those of an open box that nobody drops are open themselves.
    """
    state = bytearray(unsure.to(torch.uint8).cpu().numpy().tobytes())  # True is _OPEN
    for i, j in zip(surer.tolist(), lesser.tolist(), strict=True):
        if state[i] == _KEPT:
            state[j] = _DROPPED
        elif state[i] == _OPEN and state[j] == _KEPT:
            state[j] = _OPEN
    return torch.frombuffer(state, dtype=torch.uint8).to(unsure.device)
