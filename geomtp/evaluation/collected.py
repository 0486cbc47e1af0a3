"""What an evaluation gathers image by image, and what it makes of it in the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.data.dataset import StoreDataset
from geomtp.evaluation.found_objects import matches_of
from geomtp.evaluation.prediction_maps import MapFolder
from geomtp.evaluation.result_files import Report, TaskReport
from geomtp.evaluation.result_tables import class_rows, confusion_of, overall
from geomtp.evaluation.scene_scores import SceneScores
from geomtp.evaluation.submissions import SubmissionWriter
from geomtp.evaluation.worst_cases import WorstCases, quality_of
from geomtp.metrics import CocoResult
from geomtp.metrics.source_scores import Result, SourceScores
from geomtp.parallel import gather_objects, is_first
from geomtp.training.validation import picture_of
from geomtp.types import Batch, ClassMap, Predictions, SizeHW, Targets


@dataclass
class Collected:
    """What is gathered image by image.

    - scores: of the tasks that are scored image by image; scenes: of rotated boxes scored by scene
    """

    classes: ClassMap
    tasks: list[str]
    scores: SourceScores
    scenes: SceneScores | None
    worst: WorstCases
    maps: MapFolder | None
    submission: SubmissionWriter | None
    confusions: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    images: int = 0
    labelled: int = 0

    def add(self, batch: Batch, found: Predictions, dataset: StoreDataset) -> None:
        """Take in the one image of ``batch``."""
        image, targets, size_hw = batch.image_ids[0], batch.targets[0], file_size_hw(batch)
        self.images += 1
        if is_labelled(targets, self.tasks):
            self.scores.update(image, found, targets)
        if self.scenes is not None:
            self.scenes.add(image, found, targets, size_hw)
        self.labelled += self._is_scored(image, targets)
        for kind, matches in matches_of(found, targets).items():
            counts = matches.confusion(len(self.classes))
            self.confusions[kind] = self.confusions.get(kind, np.zeros_like(counts)) + counts
        quality = quality_of(found, targets, len(self.classes))
        self.worst.add(image, quality, lambda: picture_of(batch, found, dataset))
        if self.maps is not None:
            self.maps.write(image, found, picture_of(batch, found, dataset))
        if self.submission is not None:
            self.submission.add(image, found, size_hw)

    def _is_scored(self, image: str, targets: Targets) -> bool:
        if self.scenes is not None and self.scenes.is_labelled(image, targets):
            return True
        return is_labelled(targets, self.tasks)

    def gather(self) -> None:
        """Put together what all processes collected: counts in each of them, the rest in the first.

        ``scores`` stay where they are: they ask the other processes themselves.
        """
        counts = gather_objects([(self.images, self.labelled, self.confusions)])
        self.images = sum(images for images, _, _ in counts)
        self.labelled = sum(labelled for _, labelled, _ in counts)
        kinds = sorted({kind for *_, confusions in counts for kind in confusions})
        self.confusions = {
            kind: np.sum([found[kind] for *_, found in counts if kind in found], axis=0)
            for kind in kinds
        }
        self.worst.gather()
        for part in (self.scenes, self.submission):
            if part is not None:
                part.gather()

    def report(self, facts: dict[str, dict[str, Any]], worst: Path) -> Report:
        """All scores, with ``facts``, for all processes to ask for.

        The first puts the pictures of the worst images into ``worst``; its report is the true one.
        """
        remarks = []
        if self.labelled < self.images:
            without = self.images - self.labelled
            remarks.append(f"{without} of {self.images} images have no labels and are not scored.")
        results = self.scores.results() if self.labelled else {}
        scoring = {"rotated boxes scored by": "image"} if "rotated" in self.tasks else {}
        if self.scenes is not None and self.labelled:
            of_scenes = self.scenes.result()
            results["rotated"], self.confusions["rotated"] = of_scenes.rotated, of_scenes.confusion
            scoring, remarks = of_scenes.facts, remarks + of_scenes.remarks
        if self.confusions and self.labelled:
            remarks.append(
                "Confusions of objects: at IoU 0.5 and scores from 0.5; the last row counts "
                "detections of nothing, the last column objects that were missed."
            )
        data = facts["data"]
        title = f"{', '.join(self.tasks)}: {data['images']} images of {data['source']}"
        return Report(
            {**facts, "protocol": facts["protocol"] | scoring},
            self._task_reports(results),
            self.worst.write(worst) if is_first() else [],
            remarks,
            f"{title} ({data['split']})",
        )

    def _task_reports(self, results: dict[str, Result]) -> dict[str, TaskReport]:
        names = self.classes.names
        reports = {}
        for task, result in results.items():
            rows = class_rows(result, names)
            confusion = confusion_of(result)
            labels = tuple(str(row["class"]) for row in rows)
            columns = labels
            if confusion is None:
                kind = "rotated" if task == "rotated" else "box"
                counts = self.confusions.get(kind)
                confusion = None if counts is None else counts.tolist()
                labels, columns = (*names, "(nothing)"), (*names, "(missed)")
            if isinstance(result, CocoResult) and result.mask is None:
                task = "boxes"
            reports[task] = TaskReport(overall(result), rows, confusion, labels, columns)
        return reports


def is_labelled(targets: Targets, tasks: list[str]) -> bool:
    """Whether there is anything to compare predictions of ``tasks`` with."""
    labels = {
        "semantic": targets.semantic,
        "instance": targets.boxes,
        "horizontal": targets.boxes,
        "rotated": targets.rboxes,
        "scene": targets.scene_class,
        "change": targets.change,
    }
    return any(labels[task] is not None for task in tasks)


def file_size_hw(batch: Batch) -> SizeHW:
    """Height and width of the one image in its file."""
    return (batch.original_sizes_hw or batch.image_sizes_hw)[0]
