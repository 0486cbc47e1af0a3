"""How well one image was done, and pictures of those that were done worst."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from geomtp.evaluation.found_objects import matches_of
from geomtp.metrics import ChangeResult, SemanticResult
from geomtp.metrics.averages import mean_of_defined
from geomtp.metrics.semantic import confusion_of_maps
from geomtp.parallel import gather_to_first
from geomtp.training.pictures import save_picture
from geomtp.types import Predictions, Targets


def quality_of(found: Predictions, targets: Targets, num_classes: int) -> float:
    """How well one image was done, 0…1, the mean over its tasks; NaN without labels.

    Semantic maps: the mean IoU of the classes in the truth or the prediction. Change: F1 of what
    changed, 1 where nothing did and nothing was found. The class of the image: the probability
    of the true one. Objects: F1 at IoU 0.5 and scores from 0.5.
    """
    values = [matches.f1 for matches in matches_of(found, targets).values()]
    if found.semantic_logits is not None and targets.semantic is not None:
        counts = confusion_of_maps(found.semantic, targets.semantic, num_classes + 1)
        values.append(SemanticResult.of_confusion(counts).mean_iou)
    if found.change_logits is not None and targets.change is not None:
        counts = confusion_of_maps(found.change, targets.change, 2)
        f1 = ChangeResult.of_maps(SemanticResult.of_confusion(counts)).f1
        values.append(1.0 if f1 != f1 else f1)  # NaN: none on either side
    if found.scene_logits is not None and targets.scene_class is not None:
        values.append(float(found.scene_scores[targets.scene_class]))
    return mean_of_defined(values)


@dataclass
class WorstCases:
    """Keeps the ``count`` images of lowest quality with their pictures."""

    count: int
    _cases: list[tuple[float, str, Image.Image]] = field(default_factory=list)

    def add(self, image: str, quality: float, draw: Callable[[], Image.Image]) -> None:
        """Take in one image; it is drawn only where it is among the worst so far."""
        if quality != quality or not self.count:  # NaN: it has no labels
            return
        if len(self._cases) < self.count or (quality, image) < self._cases[-1][:2]:
            self._keep([*self._cases, (quality, image, draw())])

    def _keep(self, cases: list[tuple[float, str, Image.Image]]) -> None:
        self._cases = sorted(cases, key=lambda case: case[:2])[: self.count]

    def gather(self) -> None:
        """Hand the worst of all processes to the first."""
        self._keep(gather_to_first(self._cases))

    def write(self, folder: Path) -> list[dict[str, str | float]]:
        """Write the pictures, the worst first: image, quality and file of each."""
        for old in folder.glob("*.png"):
            old.unlink()
        cases: list[dict[str, str | float]] = []
        for number, (quality, image, picture) in enumerate(self._cases, start=1):
            path = folder / f"{number:02d}.png"
            save_picture(picture, path)
            cases.append(
                {"image": image, "quality": quality, "picture": f"{folder.name}/{path.name}"}
            )
        return cases
