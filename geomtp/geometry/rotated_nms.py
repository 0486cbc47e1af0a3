"""Non-maximum suppression of rotated boxes, exact and lazy.

Boxes are taken in blocks of falling score. The survivors of a block are found first, and only they
are compared with the boxes still waiting behind it: a box that falls early costs nothing later.
Boxes that hardly overlap make one block of everything; the denser they lie, the shorter it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geomtp.geometry.box_pairs import BoxPairs, pairs_between, pairs_within
from geomtp.geometry.rotated_boxes import enclosing_boxes, require_columns
from geomtp.geometry.rotated_iou import frames, overlap_of_pairs
from geomtp.geometry.threads import one_thread

CANDIDATES_PER_BLOCK = 1 << 15
"""About how many pairs inside a block may have to be looked at."""


@torch.no_grad()
@one_thread()
def rotated_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, labels: Tensor | None = None
) -> Tensor:
    """Indices of the boxes to keep, by falling score (equal scores in their given order): (K,).

    A box of ``boxes`` (N, 5), cx cy w h angle, is dropped when its IoU with a kept box of higher
    score in ``scores`` (N,) is GREATER than ``iou_threshold``. With ``labels`` (N,) only boxes of
    one label drop each other. The boxes need not be le90; IoU is exact (float64).

    Raises ValueError for shapes that do not fit.
    """
    require_columns("boxes", boxes, 5)
    for name, column in (("scores", scores), ("labels", labels)):
        if column is not None and column.shape != boxes.shape[:1]:
            raise ValueError(
                f"{name} must have shape ({len(boxes)},), one per box, got {tuple(column.shape)}"
            )
    order = torch.argsort(scores, descending=True, stable=True)
    falling = boxes.double().index_select(0, order)
    ranked_labels = None if labels is None else labels.index_select(0, order)
    ranked = _Ranked(enclosing_boxes(falling), frames(falling), ranked_labels)
    return order.index_select(0, _survivors(ranked, iou_threshold))


@dataclass(frozen=True)
class _Ranked:
    """Boxes sorted by falling score."""

    hulls: Tensor  # (N, 4) enclosing boxes
    frames: Tensor  # (6, N)
    labels: Tensor | None  # (N,)

    def at(self, index: Tensor) -> _Ranked:
        labels = None if self.labels is None else self.labels.index_select(0, index)
        return _Ranked(
            self.hulls.index_select(0, index), self.frames.index_select(1, index), labels
        )


def _survivors(ranked: _Ranked, iou_threshold: float) -> Tensor:
    """Positions of the boxes that are kept, rising: (K,)."""
    count = len(ranked.hulls)
    if count == 0:
        return torch.arange(0, device=ranked.hulls.device)
    waiting = torch.arange(count, device=ranked.hulls.device)
    pairs = pairs_within(ranked.hulls, ranked.labels)
    # Pairs inside a block grow with the square of its length.
    share = (CANDIDATES_PER_BLOCK / max(1, pairs.candidates)) ** 0.5
    if share >= 1:
        return waiting[_unsuppressed(ranked, pairs, iou_threshold)]
    length = max(1, int(count * share))
    kept = []
    while len(waiting):
        block, rest = waiting[:length], waiting[length:]
        inside = ranked.at(block)
        pairs = pairs_within(inside.hulls, inside.labels)
        block = block[_unsuppressed(inside, pairs, iou_threshold)]
        kept.append(block)
        waiting = rest[_untouched(ranked.at(block), ranked.at(rest), iou_threshold)]
    return torch.cat(kept)


def _unsuppressed(ranked: _Ranked, pairs: BoxPairs, iou_threshold: float) -> Tensor:
    """Which boxes survive among themselves: (N,) bool."""
    edges = []
    for i, j in pairs:
        over = overlap_of_pairs(ranked.frames, i, ranked.frames, j) > iou_threshold
        edges.append(torch.stack([torch.minimum(i, j), torch.maximum(i, j)])[:, over])
    alive = bytearray(b"\1") * len(ranked.hulls)
    if edges:
        higher, lower = torch.cat(edges, dim=1)
        # In the order of the higher box: by its turn, all that could suppress it has been decided.
        turn = higher.argsort()
        for i, j in zip(higher[turn].tolist(), lower[turn].tolist(), strict=True):
            if alive[i]:
                alive[j] = 0
    return torch.frombuffer(alive, dtype=torch.bool).to(ranked.hulls.device)


def _untouched(kept: _Ranked, waiting: _Ranked, iou_threshold: float) -> Tensor:
    """Which of the waiting boxes none of the kept ones suppresses: (N,) bool."""
    alive = torch.ones(len(waiting.hulls), dtype=torch.bool, device=waiting.hulls.device)
    for i, j in pairs_between(kept.hulls, waiting.hulls, kept.labels, waiting.labels):
        over = overlap_of_pairs(kept.frames, i, waiting.frames, j) > iou_threshold
        alive[j[over]] = False
    return alive
