"""Classes of whole images: overall accuracy, and that of each class."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from geomtp.metrics.averages import mean_of_defined
from geomtp.parallel import gather_objects


@dataclass(frozen=True)
class SceneResult:
    """Scores of a set of images, fractions 0…1.

    - accuracy: the share of all images that are right (overall accuracy, OA)
    - class_accuracy: of each class, the share of its images that are right; NaN without images
    - confusion[t][p]: images of true class t that were called p
    """

    accuracy: float
    class_accuracy: tuple[float, ...]
    confusion: tuple[tuple[int, ...], ...]

    def summary(self) -> dict[str, float]:
        """The figures for a log, fractions 0…1: scene/accuracy and scene/mean_class_accuracy."""
        return {
            "scene/accuracy": self.accuracy,
            "scene/mean_class_accuracy": mean_of_defined(self.class_accuracy),
        }


class SceneScore:
    """Counts images by true and predicted class, on any number of processes."""

    def __init__(self, class_names: Sequence[str]) -> None:
        """An empty count for the classes 0…K−1 with these names."""
        self.class_names = tuple(class_names)
        self._images: dict[Hashable, tuple[int, int]] = {}

    def update(self, image_id: Hashable, predicted: int, true: int) -> None:
        """Count one image; one seen before, in this or another process, counts once.

        Raises ValueError for a class that is not 0…K−1.
        """
        for name, value in (("predicted", predicted), ("true", true)):
            if not 0 <= value < len(self.class_names):
                raise ValueError(
                    f"the {name} class of image {image_id!r} is {value}, "
                    f"expected 0…{len(self.class_names) - 1}"
                )
        self._images.setdefault(image_id, (true, predicted))

    def compute(self) -> SceneResult:
        """The scores of all images so far in all processes; the same in every process.

        With several processes all of them must call it. Without an image every score is NaN.
        """
        confusion = np.zeros((len(self.class_names),) * 2, dtype=np.int64)
        for true, predicted in dict(gather_objects(list(self._images.items()))).values():
            confusion[true, predicted] += 1
        right, all_images = confusion.diagonal(), confusion.sum(axis=1)
        with np.errstate(invalid="ignore"):
            class_accuracy = np.where(all_images > 0, right / all_images, np.nan)
        total = int(all_images.sum())
        return SceneResult(
            accuracy=float(right.sum() / total) if total else float("nan"),
            class_accuracy=tuple(class_accuracy.tolist()),
            confusion=tuple(tuple(row) for row in confusion.tolist()),
        )
