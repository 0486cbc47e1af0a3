"""The scores of one source: of each of its tasks."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from geomtp.metrics.change import ChangeResult, ChangeScore
from geomtp.metrics.coco import CocoResult, CocoScore
from geomtp.metrics.rotated import RotatedResult, RotatedScore
from geomtp.metrics.scene import SceneResult, SceneScore
from geomtp.metrics.semantic import SemanticResult, SemanticScore
from geomtp.types import BOX_TASKS, ClassMap, Predictions, Targets

Result = SemanticResult | CocoResult | RotatedResult | SceneResult | ChangeResult
"""What a task's scores say in full."""


class SourceScores:
    """Collects predictions and truth of one source; ``summary`` gives flat names and fractions.

    Tasks that an image is not labelled for are left out for that image. Every process must ask for
    the summary, and all get the same.
    """

    def __init__(self, classes: ClassMap, tasks: Sequence[str]) -> None:
        self._classes = classes.names
        self._semantic = SemanticScore(len(classes) + 1) if "semantic" in tasks else None
        with_boxes = any(task in tasks for task in BOX_TASKS)
        self._instance = CocoScore(classes.names) if with_boxes else None
        self._rotated = RotatedScore(classes.names) if "rotated" in tasks else None
        self._scene = SceneScore(classes.names) if "scene" in tasks else None
        self._change = ChangeScore() if "change" in tasks else None

    def update(self, image_id: Hashable, predictions: Predictions, targets: Targets) -> None:
        """Add one image; predictions and targets are in pixels of the same size."""
        if self._semantic and targets.semantic is not None:
            self._semantic.update(predictions.semantic, targets.semantic, image_id)
        if self._instance and targets.boxes is not None:
            self._instance.update(image_id, predictions, targets)
        if self._rotated and targets.rboxes is not None:
            self._rotated.update(image_id, predictions, targets)
        if self._scene and targets.scene_class is not None:
            best = int(predictions.scene_scores.argmax())
            self._scene.update(image_id, best, targets.scene_class)
        if self._change and targets.change is not None:
            self._change.update(image_id, predictions.change, targets.change)

    def results(self) -> dict[str, Result]:
        """The full scores by task; like ``summary``, for every process to ask for."""
        scores = {
            "semantic": self._semantic,
            "instance": self._instance,
            "rotated": self._rotated,
            "scene": self._scene,
            "change": self._change,
        }
        return {task: score.compute() for task, score in scores.items() if score is not None}

    def summary(self) -> dict[str, float]:
        """Name → fraction: "semantic/miou", "box/ap50", "mask/ap50", "rotated/ap50",
        "scene/accuracy", "change/f1" and others.

        Of each class too: "semantic/iou/CLASS", "box/ap50/CLASS" (mask and rotated alike),
        "scene/accuracy/CLASS".
        """
        summary: dict[str, float] = {}
        if self._semantic:
            semantic = self._semantic.compute()
            named = ("background", *self._classes)
            summary |= semantic.summary() | _of_classes("semantic/iou", named, semantic.iou)
        if self._instance:
            instance = self._instance.compute()
            summary |= instance.summary()
            for kind, scores in (("box", instance.box), ("mask", instance.mask)):
                if scores is not None:
                    summary |= _of_classes(f"{kind}/ap50", self._classes, scores.class_ap50)
        if self._rotated:
            rotated = self._rotated.compute()
            summary |= rotated.summary() | _of_classes("rotated/ap50", self._classes, rotated.ap50)
        if self._scene:
            scene = self._scene.compute()
            of_classes = _of_classes("scene/accuracy", self._classes, scene.class_accuracy)
            summary |= scene.summary() | of_classes
        if self._change:
            summary |= self._change.compute().summary()
        return summary


def _of_classes(name: str, classes: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    return {f"{name}/{c}": float(value) for c, value in zip(classes, values, strict=True)}
