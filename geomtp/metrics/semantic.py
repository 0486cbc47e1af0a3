"""Semantic segmentation: IoU, accuracy, precision, recall and F1 from one confusion matrix."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from geomtp.metrics.averages import mean_of_defined
from geomtp.parallel import gather_objects
from geomtp.types import IGNORE

Counts = NDArray[np.int64]
PerClass = tuple[float, ...]


@dataclass(frozen=True)
class SemanticResult:
    """Scores of a set of maps, fractions 0…1; class 0 is the background where there is one.

    Per class, with I pixels in common, P predicted and T true ones; NaN where the divisor is 0:

    - iou: I / (P + T − I); NaN for a class in neither, 0 for a class only in the predictions
    - accuracy, recall (the same): I / T; NaN for a class without true pixels
    - precision: I / P; NaN for a class that is never predicted
    - f1: 2 · precision · recall / (precision + recall); NaN where one of the two is NaN or both
      are 0, so a class that is missed altogether does NOT lower the mean (the reference's rule)
    - dice: 2 I / (P + T); equals f1 where that is defined, and 0 for a class that is missed

    The means leave NaN out and are NaN when nothing is left. ``pixel_accuracy`` is the share of all
    counted pixels that are right. ``confusion[t][p]`` counts the pixels of true class t that were
    called p.

    The rules are those of mmsegmentation's IoUMetric (spec: metric_miou).
    """

    iou: PerClass
    accuracy: PerClass
    precision: PerClass
    recall: PerClass
    f1: PerClass
    dice: PerClass
    pixel_accuracy: float
    confusion: tuple[tuple[int, ...], ...]

    @staticmethod
    def of_confusion(confusion: Counts) -> SemanticResult:
        """The scores of a confusion matrix (K, K): true class by row, predicted by column."""
        both = confusion.diagonal()
        true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
        recall, precision = _ratio(both, true), _ratio(both, predicted)
        return SemanticResult(
            iou=_per_class(_ratio(both, true + predicted - both)),
            accuracy=_per_class(recall),
            precision=_per_class(precision),
            recall=_per_class(recall),
            f1=_per_class(_ratio(2 * precision * recall, precision + recall)),
            dice=_per_class(_ratio(2 * both, true + predicted)),
            pixel_accuracy=float(_ratio(both.sum(), true.sum())),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
        )

    @property
    def mean_iou(self) -> float:
        """The mean IoU of the classes that have one."""
        return mean_of_defined(self.iou)

    @property
    def mean_accuracy(self) -> float:
        """The mean accuracy of the classes that have one."""
        return mean_of_defined(self.accuracy)

    @property
    def mean_f1(self) -> float:
        """The mean F1 of the classes that have one."""
        return mean_of_defined(self.f1)

    def summary(self) -> dict[str, float]:
        """The figures for a log, fractions 0…1: semantic/miou, /macc, /mf1 and /pixel_accuracy."""
        return {
            "semantic/miou": self.mean_iou,
            "semantic/macc": self.mean_accuracy,
            "semantic/mf1": self.mean_f1,
            "semantic/pixel_accuracy": self.pixel_accuracy,
        }


class SemanticScore:
    """Counts pixels by true and predicted class, map after map, on any number of processes."""

    def __init__(self, num_classes: int, ignore_index: int = IGNORE) -> None:
        """An empty count.

        Args:
            num_classes: K, the background included.
            ignore_index: the true value of pixels that are not counted.
        """
        self.num_classes = num_classes
        self.ignore_index = ignore_index
        self._nameless = np.zeros(num_classes**2, dtype=np.int64)
        self._by_image: dict[Hashable, tuple[Counts, Counts]] = {}

    def update(self, prediction: Tensor, truth: Tensor, image_id: Hashable | None = None) -> None:
        """Count one map.

        Args:
            prediction: (H, W) integers, 0…K−1.
            truth: (H, W) integers, 0…K−1 or ``ignore_index``.
            image_id: names the image; of several maps with one name, in this or another process,
                one is counted (samplers repeat images to even out the processes). Maps without a
                name are all counted.

        Raises:
            ValueError: the shapes differ, or a counted value is not in 0…K−1.
        """
        if image_id is not None and image_id in self._by_image:
            return
        counts = confusion_of_maps(prediction, truth, self.num_classes, self.ignore_index).ravel()
        if image_id is None:
            self._nameless += counts
        else:
            cells = counts.nonzero()[0]  # few of the K² pairs of classes meet in one image
            self._by_image[image_id] = cells, counts[cells]

    def compute(self) -> SemanticResult:
        """The scores of all maps counted so far in all processes; the same in every process.

        With several processes all of them must call it. Without a map every score is NaN.
        """
        total = np.stack(gather_objects([self._nameless])).sum(axis=0)
        for cells, counts in dict(gather_objects(list(self._by_image.items()))).values():
            total[cells] += counts
        return SemanticResult.of_confusion(total.reshape(self.num_classes, self.num_classes))


def confusion_of_maps(
    prediction: Tensor, truth: Tensor, num_classes: int, ignore_index: int = IGNORE
) -> Counts:
    """The pixels of one map by true class (row) and predicted class (column): (K, K).

    Args:
        prediction: (H, W) integers, 0…K−1.
        truth: (H, W) integers, 0…K−1 or ``ignore_index``, which is not counted.
        num_classes: K, the background included.
        ignore_index: see ``truth``.

    Raises:
        ValueError: the shapes differ, or a counted value is not in 0…K−1.
    """
    if prediction.shape != truth.shape:
        raise ValueError(
            f"prediction and truth must have one shape, "
            f"got {tuple(prediction.shape)} and {tuple(truth.shape)}"
        )
    counted = truth != ignore_index
    true, predicted = truth[counted].long(), prediction[counted].long()
    for name, values in (("truth", true), ("prediction", predicted)):
        if values.numel() and not 0 <= int(values.min()) <= int(values.max()) < num_classes:
            raise ValueError(
                f"{name} holds values {int(values.min())}…{int(values.max())}, "
                f"expected 0…{num_classes - 1} (or {ignore_index}, ignored, in the truth)"
            )
    flat = torch.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return flat.reshape(num_classes, num_classes).cpu().numpy()


def _ratio(above: ArrayLike, below: ArrayLike) -> NDArray[np.float64]:
    """The quotient, NaN where ``below`` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(below, 0), np.nan, np.divide(above, below))


def _per_class(values: NDArray[np.float64]) -> PerClass:
    return tuple(values.tolist())
