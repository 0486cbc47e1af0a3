"""Rotated boxes scored by scene: the tiles' predictions merged, against what is in the scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.evaluation.found_objects import matches_of
from geomtp.evaluation.scene_truth import SAME_IOU, SceneObjects, TileTruth
from geomtp.evaluation.tile_merging import SceneMerger
from geomtp.labels.tiles.tile_names import scene_of
from geomtp.metrics import RotatedResult, RotatedScore
from geomtp.types import ClassMap, Predictions, SizeHW, Targets


@dataclass(frozen=True)
class SceneResult:
    """What scoring by scene came to.

    - rotated: the scores, over scenes instead of tiles
    - confusion: (K+1, K+1), see ``Matches.confusion``; objects that are ignored count here
    - facts: how it was done, for the protocol; remarks: what makes it less than the scenes' score
    """

    rotated: RotatedResult
    confusion: NDArray[np.int64]
    facts: dict[str, Any]
    remarks: list[str]


class SceneScores:
    """Collects tiles, and images that are no tiles, and scores the scenes.

    The truth is that of ``labels``, by scene, or else put together of the tiles' labels. On several
    processes ``gather`` comes first, and ``result`` is for all of them to ask for.
    """

    def __init__(
        self, classes: ClassMap, nms_iou: float, labels: Mapping[str, SceneObjects] | None = None
    ) -> None:
        """``nms_iou``: predictions of a class are one where they overlap more than this."""
        self.classes, self._labels = classes, labels
        self._merger, self._truth = SceneMerger(nms_iou), TileTruth()

    def is_labelled(self, image: str, targets: Targets) -> bool:
        """Whether there is anything to compare the predictions of ``image`` with."""
        if self._labels is None:
            return targets.rboxes is not None
        return scene_of(image) in self._labels

    def add(self, image: str, found: Predictions, targets: Targets, size_hw: SizeHW) -> None:
        """Take in one image of height and width ``size_hw``, unless it has no labels."""
        if self.is_labelled(image, targets):
            self._merger.add(image, found, size_hw)
            self._truth.add(image, targets)

    def gather(self) -> None:
        """Hand everything to the first process."""
        self._merger.gather()
        self._truth.gather()

    def result(self) -> SceneResult:
        """The scores; what other processes than the first say beside them means nothing."""
        truth = self._truth.scenes() if self._labels is None else self._labels
        score = RotatedScore(self.classes.names)
        confusion = np.zeros((len(self.classes) + 1,) * 2, dtype=np.int64)
        seen = []
        for scene, found in self._merger.scenes():
            objects = truth[scene]
            score.update(scene, found, objects.targets, objects.ignored)
            confusion += matches_of(found, objects.targets)["rotated"].confusion(len(self.classes))
            seen.append(objects)
        gaps = self._merger.with_gaps()
        facts = {
            "rotated boxes scored by": "scene",
            "scenes": len(seen),
            "scenes with gaps between tiles": len(gaps),
            "tiles merged by": f"suppression class by class above IoU {self._merger.nms_iou:g}",
            "truth": self._origin,
            "objects": sum(len(objects.labels) for objects in seen),
            "objects that are not counted (difficult)": sum(
                int(objects.ignored.sum()) for objects in seen
            ),
        }
        return SceneResult(score.compute(), confusion, facts, _remarks(gaps, len(seen)))

    @property
    def _origin(self) -> str:
        if self._labels is not None:
            return "the label files of the scenes"
        return (
            f"the tiles' objects put together, those of one class that overlap by more than "
            f"{SAME_IOU} in two tiles being one; objects that no tile holds are missing"
        )


def _remarks(gaps: list[str], scenes: int) -> list[str]:
    if not gaps:
        return []
    return [
        f"The tiles of {len(gaps)} of {scenes} scenes, such as {gaps[0]}, leave gaps (tiles "
        f"without objects were perhaps not written): what is wrongly found there is not counted."
    ]
