"""Change maps: precision, recall, F1 and IoU of the changed pixels."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from torch import Tensor

from geomtp.metrics.semantic import SemanticResult, SemanticScore


@dataclass(frozen=True)
class ChangeResult:
    """Scores of the class "changed" over all counted pixels together, fractions 0…1.

    - precision: NaN where nothing is called changed; recall: NaN where nothing changed
    - f1: 0 where changed pixels exist but none is found, NaN where there are none on either side
    - iou: likewise
    - accuracy: the share of all counted pixels that are right
    - confusion[t][p]: pixels of true class t (0 unchanged, 1 changed) that were called p
    """

    precision: float
    recall: float
    f1: float
    iou: float
    accuracy: float
    confusion: tuple[tuple[int, ...], ...]

    @staticmethod
    def of_maps(maps: SemanticResult) -> ChangeResult:
        """The scores of two-class maps, unchanged first."""
        return ChangeResult(
            precision=maps.precision[1],
            recall=maps.recall[1],
            f1=maps.dice[1],  # F1, and 0 where all of a class is missed
            iou=maps.iou[1],
            accuracy=maps.pixel_accuracy,
            confusion=maps.confusion,
        )

    def summary(self) -> dict[str, float]:
        """The figures for a log, fractions 0…1: change/f1, /precision, /recall, /iou, /accuracy."""
        return {
            "change/f1": self.f1,
            "change/precision": self.precision,
            "change/recall": self.recall,
            "change/iou": self.iou,
            "change/accuracy": self.accuracy,
        }


class ChangeScore:
    """Counts changed and unchanged pixels, map after map, on any number of processes."""

    def __init__(self) -> None:
        self._maps = SemanticScore(2)

    def update(self, image_id: Hashable, prediction: Tensor, truth: Tensor) -> None:
        """Count one map; an image seen before, in this or another process, counts once.

        Args:
            image_id: names the image.
            prediction: (H, W) integers, 0 unchanged or 1 changed.
            truth: (H, W) integers, likewise, or 255, which is not counted.

        Raises:
            ValueError: the shapes differ, or there are other values.
        """
        self._maps.update(prediction, truth, image_id)

    def compute(self) -> ChangeResult:
        """The scores of all maps so far in all processes; the same in every process."""
        return ChangeResult.of_maps(self._maps.compute())
