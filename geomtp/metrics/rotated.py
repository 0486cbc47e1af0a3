"""Rotated boxes: average precision at fixed IoU, by the rule of the VOC and DOTA evaluators."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.geometry import largest_rotated_iou
from geomtp.metrics.averages import Floats, Rule, average_precision, mean_of_defined
from geomtp.metrics.images import class_ids, flags, merged
from geomtp.types import Predictions, Targets

IOU_LEVELS = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
"""0.50, 0.55, …, 0.95: the thresholds that COCO's average precision is a mean of."""

IMAGES_AT_ONCE = 64
"""Images whose overlaps are taken together."""


@dataclass(frozen=True)
class ClassMatches:
    """What the detections of one class touch, over all images, by falling score.

    - scores: (N,) falling
    - best_iou: (N,) the largest overlap with a true box of the class in the same image; −1 where
      there is none (or none near)
    - best_truth: (N,) which true box that is, 0…T−1, else −1
    - truth_ignored: (T,) bool, true boxes that count neither as found nor as missed
    """

    scores: Floats
    best_iou: Floats
    best_truth: NDArray[np.int64]
    truth_ignored: NDArray[np.bool_]

    @property
    def num_truth(self) -> int:
        """How many true boxes are to be found (those not ignored)."""
        return int((~self.truth_ignored).sum())

    def curve(self, iou: float) -> tuple[Floats, Floats]:
        """Recall and precision, each (N,), after each detection.

        A detection looks only at the true box that it overlaps most. It is right if that overlap
        reaches ``iou`` and no detection of higher score has claimed the box; a detection of an
        ignored box is neither right nor wrong; every other one is wrong.
        """
        touches = self.best_iou >= iou
        skipped = touches.copy()
        skipped[touches] = self.truth_ignored[self.best_truth[touches]]
        claims = (touches & ~skipped).nonzero()[0]
        _, first = np.unique(self.best_truth[claims], return_index=True)
        right = np.zeros(len(touches), dtype=bool)
        right[claims[first]] = True
        found, judged = right.cumsum(), (~skipped).cumsum()
        return found / max(self.num_truth, 1), found / np.maximum(judged, 1)

    def average_precision(self, iou: float, rule: Rule = "area") -> float:
        """Average precision at one IoU, 0…1; NaN where there is no box to be found."""
        if self.num_truth == 0:
            return float("nan")
        return average_precision(*self.curve(iou), rule)


@dataclass(frozen=True)
class RotatedResult:
    """Average precision of rotated boxes, fractions 0…1; per class in the order of ``matches``.

    - ap50_11point: at IoU 0.5, eleven points (VOC 2007), as the reference reports it
    - ap50, ap75: at IoU 0.5 and 0.75, area under the curve
    - ap: mean over IoU 0.50, 0.55, …, 0.95 of the area under the curve

    NaN for a class without a true box; ``summary`` leaves such classes out of its means.
    A class with true boxes and no detection has 0. ``matches``: class name → its curve.
    """

    ap50_11point: tuple[float, ...]
    ap50: tuple[float, ...]
    ap75: tuple[float, ...]
    ap: tuple[float, ...]
    matches: dict[str, ClassMatches]

    @staticmethod
    def of_matches(matches: dict[str, ClassMatches]) -> RotatedResult:
        """The scores of the classes' matches."""
        classes = matches.values()
        return RotatedResult(
            ap50_11point=tuple(m.average_precision(0.5, "11point") for m in classes),
            ap50=tuple(m.average_precision(0.5) for m in classes),
            ap75=tuple(m.average_precision(0.75) for m in classes),
            ap=tuple(
                float(np.mean([m.average_precision(iou) for iou in IOU_LEVELS])) for m in classes
            ),
            matches=matches,
        )

    def summary(self) -> dict[str, float]:
        """The means over classes: rotated/ap50_11point, /ap50, /ap75 and /ap, fractions 0…1."""
        return {
            "rotated/ap50_11point": mean_of_defined(self.ap50_11point),
            "rotated/ap50": mean_of_defined(self.ap50),
            "rotated/ap75": mean_of_defined(self.ap75),
            "rotated/ap": mean_of_defined(self.ap),
        }


@dataclass(frozen=True)
class _Image:
    """One image's detections, each with the true box it overlaps most, and its true boxes."""

    scores: Floats
    labels: NDArray[np.int64]
    best_iou: Floats
    best_truth: NDArray[np.int64]  # row of truth_labels, −1 for none
    truth_labels: NDArray[np.int64]
    truth_ignored: NDArray[np.bool_]


@dataclass(frozen=True)
class _Boxes:
    """One image whose overlaps are not taken yet."""

    scores: Floats
    boxes: Tensor  # (N, 5) float64
    labels: NDArray[np.int64]
    truth_boxes: Tensor  # (T, 5) float64
    truth_labels: NDArray[np.int64]
    truth_ignored: NDArray[np.bool_]


class RotatedScore:
    """Collects rotated detections and truth, image after image, on any number of processes.

    The matching follows eval_rbbox_map of mmrotate, which the reference uses: see
    ``ClassMatches.curve``. Overlaps are taken for some images together, which costs a tenth of
    taking them one by one; then only one number and one index per detection are kept.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        """An empty collection for the classes 0…K−1 with these names."""
        self.class_names = tuple(class_names)
        self._images: dict[Hashable, _Image] = {}
        self._waiting: dict[Hashable, _Boxes] = {}

    def update(
        self,
        image_id: Hashable,
        predictions: Predictions,
        targets: Targets,
        ignored: Tensor | None = None,
    ) -> None:
        """Take in one image; an image seen before, in this or another process, counts once.

        Args:
            image_id: names the image.
            predictions: with ``rboxes`` (N, 5), ``rbox_scores`` and ``rbox_labels``.
            targets: with ``rboxes`` (M, 5) and ``rbox_labels``.
            ignored: (M,) bool, true boxes that count neither as found nor as missed ("difficult").

        Raises:
            ValueError: rotated boxes are None on one side, ``ignored`` has another length, or a
                label is not 0…K−1.
        """
        if image_id in self._images or image_id in self._waiting:
            return
        if predictions.rboxes is None or targets.rboxes is None:
            side = "predictions" if predictions.rboxes is None else "targets"
            raise ValueError(f"the {side} of image {image_id!r} hold no rotated boxes (None)")
        assert predictions.rbox_scores is not None  # the nouns check that they come together
        assert predictions.rbox_labels is not None
        assert targets.rbox_labels is not None
        # Of two equal overlaps the first box wins: as in the reference, no ignored one then.
        skip = flags("ignored", ignored, len(targets.rboxes))
        order = np.argsort(skip, kind="stable")
        labels = class_ids(image_id, predictions.rbox_labels, len(self.class_names))
        truth_labels = class_ids(image_id, targets.rbox_labels, len(self.class_names))[order]
        self._waiting[image_id] = _Boxes(
            scores=predictions.rbox_scores.cpu().double().numpy(),
            boxes=predictions.rboxes.cpu().double(),
            labels=labels,
            truth_boxes=targets.rboxes.cpu().double()[torch.from_numpy(order)],
            truth_labels=truth_labels,
            truth_ignored=skip[order],
        )
        if len(self._waiting) >= IMAGES_AT_ONCE:
            self._match()

    def _match(self) -> None:
        """Take the overlaps of the images that wait."""
        images = _matched(list(self._waiting.values()), len(self.class_names))
        self._images |= dict(zip(self._waiting, images, strict=True))
        self._waiting = {}

    def compute(self) -> RotatedResult:
        """The scores of all images so far in all processes; the same in every process.

        With several processes all of them must call it.
        """
        self._match()
        everything = _joined(merged(self._images))
        return RotatedResult.of_matches(
            {name: _of_class(everything, label) for label, name in enumerate(self.class_names)}
        )


def _matched(images: Sequence[_Boxes], num_classes: int) -> list[_Image]:
    """The images with what each detection overlaps most; boxes meet in one image and class."""
    if not images:
        return []
    labels, truth_labels = (
        torch.from_numpy(np.concatenate([n * num_classes + part for n, part in enumerate(parts)]))
        for parts in ([image.labels for image in images], [image.truth_labels for image in images])
    )
    largest, which = largest_rotated_iou(
        torch.cat([image.boxes for image in images]),
        torch.cat([image.truth_boxes for image in images]),
        labels,
        truth_labels,
    )
    stops = np.cumsum([len(image.labels) for image in images])[:-1]
    before = np.cumsum([0] + [len(image.truth_labels) for image in images])[:-1]
    return [
        _Image(
            image.scores,
            image.labels,
            best_iou,
            np.where(best_truth < 0, -1, best_truth - offset),
            image.truth_labels,
            image.truth_ignored,
        )
        for image, best_iou, best_truth, offset in zip(
            images,
            np.split(largest.numpy(), stops),
            np.split(which.numpy(), stops),
            before,
            strict=True,
        )
    ]


def _joined(images: Sequence[_Image]) -> _Image:
    """All images as one: ``best_truth`` counts through the true boxes of all."""
    nothing = _Image(
        scores=np.empty(0),
        labels=np.empty(0, dtype=np.int64),
        best_iou=np.empty(0),
        best_truth=np.empty(0, dtype=np.int64),
        truth_labels=np.empty(0, dtype=np.int64),
        truth_ignored=np.empty(0, dtype=np.bool_),
    )
    parts = [nothing, *images]
    before = np.cumsum([0] + [len(part.truth_labels) for part in parts])[:-1]
    return _Image(
        scores=np.concatenate([part.scores for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        best_iou=np.concatenate([part.best_iou for part in parts]),
        best_truth=np.concatenate(
            [
                np.where(part.best_truth < 0, -1, part.best_truth + offset)
                for part, offset in zip(parts, before, strict=True)
            ]
        ),
        truth_labels=np.concatenate([part.truth_labels for part in parts]),
        truth_ignored=np.concatenate([part.truth_ignored for part in parts]),
    )


def _of_class(image: _Image, label: int) -> ClassMatches:
    """The detections of one class by falling score, its true boxes counted from 0."""
    mine, true = (image.labels == label).nonzero()[0], image.truth_labels == label
    mine = mine[np.argsort(-image.scores[mine], kind="stable")]
    number_in_class = np.append(np.cumsum(true) - 1, -1)  # its last entry is found by index −1
    return ClassMatches(
        scores=image.scores[mine],
        best_iou=image.best_iou[mine],
        best_truth=number_in_class[image.best_truth[mine]],
        truth_ignored=image.truth_ignored[true],
    )
