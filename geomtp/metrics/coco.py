"""Horizontal boxes and masks: COCO's average precision and recall, by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster
from faster_coco_eval import mask as rle_maths
from numpy.typing import NDArray
from torch import Tensor

from geomtp.geometry import encode_rle
from geomtp.metrics.averages import mean_of_defined
from geomtp.metrics.images import class_ids, flags, merged
from geomtp.types import Predictions, SizeHW, Targets

MAX_DETECTIONS = (100, 300, 1000)
"""Detections of one class in one image that count, the three numbers of the reference."""

AREAS = ("all", "small", "medium", "large")
"""COCO's ranges of object area: small below 32² pixels, large above 96²."""


@dataclass(frozen=True)
class InstanceScores:
    """COCO's scores of boxes or of masks, fractions 0…1.

    - ap: mean over IoU 0.50, 0.55, …, 0.95; ap50, ap75: at one IoU
    - ap_small, ap_medium, ap_large: as ap, of objects below 32², up to 96² and above 96² pixels
    - ar: {100: …, 300: …, 1000: …}, mean recall over the same IoU with so many detections
    - ar_small, ar_medium, ar_large: with 1000 detections
    - class_ap, class_ap50: of each class, in order

    ``ap`` and ``class_ap`` count the best 100 detections of a class in an image, the others 1000
    (the reference's way). NaN where there is no object to be found; the means over classes leave
    such classes out. Objects without any detection give 0.
    """

    ap: float
    ap50: float
    ap75: float
    ap_small: float
    ap_medium: float
    ap_large: float
    ar: dict[int, float]
    ar_small: float
    ar_medium: float
    ar_large: float
    class_ap: tuple[float, ...]
    class_ap50: tuple[float, ...]

    @staticmethod
    def of_curves(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> InstanceScores:
        """The scores of COCO's tables.

        Args:
            precision: (IoU level, recall level, class, area, detections), −1 where undefined.
            recall: (IoU level, class, area, detections), likewise.
        """
        precision = np.where(precision < 0, np.nan, precision)
        recall = np.where(recall < 0, np.nan, recall)
        small, medium, large = (AREAS.index(name) for name in AREAS[1:])
        classes = range(precision.shape[2])
        return InstanceScores(
            ap=mean_of_defined(precision[:, :, :, 0, 0]),
            ap50=mean_of_defined(precision[0, :, :, 0, -1]),
            ap75=mean_of_defined(precision[5, :, :, 0, -1]),
            ap_small=mean_of_defined(precision[:, :, :, small, -1]),
            ap_medium=mean_of_defined(precision[:, :, :, medium, -1]),
            ap_large=mean_of_defined(precision[:, :, :, large, -1]),
            ar={most: mean_of_defined(recall[:, :, 0, i]) for i, most in enumerate(MAX_DETECTIONS)},
            ar_small=mean_of_defined(recall[:, :, small, -1]),
            ar_medium=mean_of_defined(recall[:, :, medium, -1]),
            ar_large=mean_of_defined(recall[:, :, large, -1]),
            class_ap=tuple(mean_of_defined(precision[:, :, k, 0, 0]) for k in classes),
            class_ap50=tuple(mean_of_defined(precision[0, :, k, 0, -1]) for k in classes),
        )


@dataclass(frozen=True)
class CocoResult:
    """Scores of boxes and, where both sides hold masks, of masks (else None)."""

    class_names: tuple[str, ...]
    box: InstanceScores
    mask: InstanceScores | None

    def summary(self) -> dict[str, float]:
        """The figures for a log, fractions 0…1: box/ap, /ap50, /ap75 and the same of mask/."""
        kinds = {"box": self.box} | ({} if self.mask is None else {"mask": self.mask})
        return {
            f"{kind}/{name}": value
            for kind, scores in kinds.items()
            for name, value in (("ap", scores.ap), ("ap50", scores.ap50), ("ap75", scores.ap75))
        }


@dataclass(frozen=True)
class _Objects:
    """The detections or the true objects of one image, compactly."""

    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]  # 0 for true objects
    crowd: NDArray[np.bool_]  # False for detections
    rles: list[bytes] | None
    size_hw: SizeHW  # of the masks; (0, 0) without


class CocoScore:
    """Collects boxes and masks with their truth, image after image, on any number of processes.

    Masks are kept as run-lengths.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        """An empty collection for the classes 0…K−1 with these names."""
        self.class_names = tuple(class_names)
        self._images: dict[Hashable, tuple[_Objects, _Objects]] = {}

    def update(
        self,
        image_id: Hashable,
        predictions: Predictions,
        targets: Targets,
        crowd: Tensor | None = None,
    ) -> None:
        """Take in one image; an image seen before, in this or another process, counts once.

        Args:
            image_id: names the image.
            predictions: with ``boxes`` (N, 4), ``box_scores``, ``box_labels``, and ``masks``
                (N, H, W) where masks are to be scored.
            targets: with ``boxes`` (M, 4), ``box_labels`` and likewise ``masks`` (M, H, W).
            crowd: (M,) bool, true objects that stand for a crowd: detections inside them count
                neither as right nor as wrong.

        Raises:
            ValueError: boxes are None on one side, masks differ in size, ``crowd`` has another
                length, or a label is not 0…K−1.
        """
        if image_id in self._images:
            return
        if predictions.boxes is None or targets.boxes is None:
            side = "predictions" if predictions.boxes is None else "targets"
            raise ValueError(f"the {side} of image {image_id!r} hold no boxes (None)")
        assert predictions.box_labels is not None  # the nouns check that they come together
        assert predictions.box_scores is not None
        assert targets.box_labels is not None
        masks, true_masks = predictions.masks, targets.masks
        if masks is None or true_masks is None:
            masks = true_masks = None
        elif masks.shape[1:] != true_masks.shape[1:]:
            raise ValueError(
                f"the masks of image {image_id!r} differ in size: predicted "
                f"{tuple(masks.shape[1:])}, true {tuple(true_masks.shape[1:])}"
            )
        num_found, num_true = len(predictions.boxes), len(targets.boxes)
        self._images[image_id] = (
            _Objects(
                predictions.boxes.cpu().double().numpy(),
                class_ids(image_id, predictions.box_labels, len(self.class_names)),
                predictions.box_scores.cpu().double().numpy(),
                np.zeros(num_found, dtype=np.bool_),
                *_run_lengths(masks),
            ),
            _Objects(
                targets.boxes.cpu().double().numpy(),
                class_ids(image_id, targets.box_labels, len(self.class_names)),
                np.zeros(num_true),
                flags("crowd", crowd, num_true),
                *_run_lengths(true_masks),
            ),
        )

    def compute(self) -> CocoResult:
        """The scores of all images so far in all processes; the same in every process.

        With several processes all of them must call it. Without an image every score is NaN.

        Raises:
            ValueError: some images came with masks on both sides and some did not.
        """
        images = merged(self._images)
        masked = [found.rles is not None for found, _ in images]
        if any(masked) and not all(masked):
            raise ValueError(
                f"{sum(masked)} of {len(masked)} images came with masks: masks are scored when all "
                f"predictions and targets hold them, or none"
            )
        return CocoResult(
            self.class_names,
            box=self._scores(images, "bbox"),
            mask=self._scores(images, "segm") if any(masked) else None,
        )

    def _scores(
        self, images: Sequence[tuple[_Objects, _Objects]], kind: Literal["bbox", "segm"]
    ) -> InstanceScores:
        if not images:
            nothing = np.full((10, 101, len(self.class_names), len(AREAS), 3), np.nan)
            return InstanceScores.of_curves(nothing, nothing[:, 0])
        found = self._data_set([found for found, _ in images], kind, masked_area=kind == "segm")
        true = self._data_set([true for _, true in images], kind, masked_area=True)
        evaluation = COCOeval_faster(true, found, kind)
        evaluation.params.maxDets = list(MAX_DETECTIONS)
        evaluation.evaluate()  # type: ignore[no-untyped-call]
        evaluation.accumulate()  # type: ignore[no-untyped-call]
        return InstanceScores.of_curves(
            np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])
        )

    def _data_set(self, images: Sequence[_Objects], kind: str, masked_area: bool) -> COCO:
        """The objects of all images as faster-coco-eval reads them; all ids count from 1."""
        annotations = [
            {"id": 0, "image_id": number, **annotation}
            for number, image in enumerate(images, start=1)
            for annotation in _annotations(image, kind, masked_area)
        ]
        for number, annotation in enumerate(annotations, start=1):
            annotation["id"] = number  # 0 would read as "unmatched"
        return COCO(
            {
                "images": [
                    {"id": number, "height": image.size_hw[0], "width": image.size_hw[1]}
                    for number, image in enumerate(images, start=1)
                ],
                "categories": [
                    {"id": number, "name": name}
                    for number, name in enumerate(self.class_names, start=1)
                ],
                "annotations": annotations,
            }
        )


def _run_lengths(masks: Tensor | None) -> tuple[list[bytes] | None, SizeHW]:
    if masks is None:
        return None, (0, 0)
    return encode_rle(masks) if len(masks) else [], (masks.shape[1], masks.shape[2])


def _annotations(image: _Objects, kind: str, masked_area: bool) -> list[dict[str, Any]]:
    """COCO's dictionaries of one image's objects, still without their ids.

    The area that sorts objects into small, medium and large is that of the mask for true objects
    and for masks, and that of the box for detected boxes.
    """
    boxes_xywh = np.hstack(
        [image.boxes_xyxy[:, :2], image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]]
    )
    areas = boxes_xywh[:, 2] * boxes_xywh[:, 3]
    segmentations: list[dict[str, Any]] = []
    if image.rles:
        segmentations = [{"size": list(image.size_hw), "counts": rle} for rle in image.rles]
        if masked_area:
            areas = np.asarray(rle_maths.area(segmentations), dtype=np.float64)
    annotations: list[dict[str, Any]] = []
    for i, label in enumerate(image.labels.tolist()):
        annotation = {
            "category_id": label + 1,
            "bbox": boxes_xywh[i].tolist(),
            "area": float(areas[i]),
            "score": float(image.scores[i]),
            "iscrowd": int(image.crowd[i]),
        }
        if kind == "segm":
            annotation["segmentation"] = segmentations[i]
        annotations.append(annotation)
    return annotations
