"""Which objects of an image were found: one detection for one true object, whatever the class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchvision.ops import box_iou

from geomtp.geometry import rotated_iou
from geomtp.types import Predictions, Targets

MATCH_IOU = 0.5
SCORE_THRESHOLD = 0.5
"""Detections below this score are not counted in confusion matrices and in the worst cases."""


@dataclass(frozen=True)
class Matches:
    """The detections (by falling score) and true objects of one image.

    - labels: (N,) of the detections; true_labels: (T,)
    - truth: (N,) which true object a detection stands for, −1 for none
    """

    labels: NDArray[np.int64]
    true_labels: NDArray[np.int64]
    truth: NDArray[np.int64]

    @property
    def f1(self) -> float:
        """F1 of objects found with their right class, 0…1; 1 where there is none on either side."""
        right = self.truth >= 0
        right[right] = self.labels[right] == self.true_labels[self.truth[right]]
        total = len(self.labels) + len(self.true_labels)
        return float(2 * right.sum() / total) if total else 1.0

    def confusion(self, num_classes: int) -> NDArray[np.int64]:
        """(K+1, K+1): true class by row, found class by column; last: nothing there, not found."""
        counts = np.zeros((num_classes + 1,) * 2, dtype=np.int64)
        true = np.append(self.true_labels, num_classes)[self.truth]  # −1 takes the last
        np.add.at(counts, (true, self.labels), 1)
        missed = np.setdiff1d(np.arange(len(self.true_labels)), self.truth)
        np.add.at(counts, (self.true_labels[missed], np.full(len(missed), num_classes)), 1)
        return counts


def matches_of(found: Predictions, targets: Targets) -> dict[str, Matches]:
    """The matches of boxes ("box") and rotated boxes ("rotated"), where both sides have them.

    In the order of falling scores each detection takes the free true object that it overlaps most,
    from an IoU of 0.5 on.
    """
    matches = {}
    if found.boxes is not None and targets.boxes is not None and targets.box_labels is not None:
        assert found.box_scores is not None  # the nouns check that they come together
        assert found.box_labels is not None
        sure = found.box_scores >= SCORE_THRESHOLD
        overlaps = box_iou(found.boxes[sure].float(), targets.boxes.float())
        matches["box"] = _matched(overlaps, found.box_labels[sure], targets.box_labels)
    if found.rboxes is not None and targets.rboxes is not None and targets.rbox_labels is not None:
        assert found.rbox_scores is not None
        assert found.rbox_labels is not None
        sure = found.rbox_scores >= SCORE_THRESHOLD
        overlaps = rotated_iou(found.rboxes[sure].double(), targets.rboxes.double())
        matches["rotated"] = _matched(overlaps, found.rbox_labels[sure], targets.rbox_labels)
    return matches


def _matched(overlaps: Tensor, labels: Tensor, true_labels: Tensor) -> Matches:
    """``overlaps``: (N, T), detections by falling score."""
    free = overlaps.cpu().double().numpy().copy()
    truth = np.full(len(free), -1, dtype=np.int64)
    for i, row in enumerate(free):
        if row.size and row.max() >= MATCH_IOU:
            truth[i] = row.argmax()
            free[:, truth[i]] = -1
    return Matches(labels.cpu().numpy(), true_labels.cpu().numpy(), truth)
