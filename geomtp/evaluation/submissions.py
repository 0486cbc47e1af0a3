"""The submission of an evaluation: collected image by image, written and checked at the end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from geomtp.evaluation.dota_submission import write_dota
from geomtp.evaluation.fair1m_submission import write_fair1m
from geomtp.evaluation.loveda_submission import submitted_values, write_picture, zip_pictures
from geomtp.evaluation.official_classes import DOTA_V2, FAIR1M, official_names
from geomtp.evaluation.submission_check import require_accepted
from geomtp.evaluation.submission_files import Expected
from geomtp.evaluation.tile_merging import SceneMerger
from geomtp.parallel import gather_to_first
from geomtp.types import ClassMap, Predictions, SizeHW

TASK_OF = {"dota": "rotated", "fair1m": "rotated", "loveda": "semantic"}


class SubmissionWriter(ABC):
    """Takes in the predictions of all images; ``finish`` writes the zip and says what is in it."""

    out: Path

    @abstractmethod
    def add(self, image: str, found: Predictions, size_hw: SizeHW) -> None:
        """Take in one image of height and width ``size_hw``."""

    @abstractmethod
    def gather(self) -> None:
        """Hand what several processes took in to the first, which alone can finish."""

    @abstractmethod
    def finish(self) -> str:
        """Write the zip, and look it through as the server would.

        Raises ValueError with the first fault that the server would see.
        """


class SceneSubmission(SubmissionWriter):
    """Rotated boxes of tiles or scenes, for DOTA's and FAIR1M's servers."""

    def __init__(
        self, kind: str, classes: ClassMap, out: Path, nms_iou: float, scenes: Path | None
    ) -> None:
        """``scenes``: folder of the images that tiles were cut from."""
        official_names(classes.names, DOTA_V2 if kind == "dota" else FAIR1M, kind.upper())
        self.kind, self.classes, self.out = kind, classes, out
        self._merger = SceneMerger(nms_iou)
        self._expected = None if scenes is None else Expected.of_folder(scenes)

    def add(self, image: str, found: Predictions, size_hw: SizeHW) -> None:
        """Take in one tile or image."""
        self._merger.add(image, found, size_hw)

    def gather(self) -> None:
        """Hand all tiles to the first process."""
        self._merger.gather()

    def finish(self) -> str:
        """Merge, write and check."""
        scenes = list(self._merger.scenes())
        expected = self._expected
        if expected is None:
            covered = {PurePosixPath(name).name: self._merger.size_hw(name) for name, _ in scenes}
            expected = Expected(Path("the images"), covered)
        if self.kind == "dota":
            write_dota(scenes, self.classes.names, self.out)
        else:
            write_fair1m(scenes, self.classes.names, expected.sizes_hw, self.out)
        return require_accepted(self.out, self.kind, expected)


class MapSubmission(SubmissionWriter):
    """Semantic maps for LoveDA's server; the pictures also lie in a folder of the zip's name."""

    def __init__(self, classes: ClassMap, out: Path) -> None:
        """Raises ValueError for classes that LoveDA does not have."""
        self.out = out
        self._values = submitted_values(classes.names)
        self._sizes: dict[str, SizeHW] = {}

    def add(self, image: str, found: Predictions, size_hw: SizeHW) -> None:
        """Write one map. Raises ValueError for a name that was written before."""
        self._note(PurePosixPath(image).stem, size_hw)
        write_picture(self.out.with_suffix(""), image, found, self._values)

    def _note(self, name: str, size_hw: SizeHW) -> None:
        if name in self._sizes:
            raise ValueError(f"two images are called {name}: the server tells them by their names")
        self._sizes[name] = size_hw

    def gather(self) -> None:
        """Hand names and sizes to the first process. Raises ValueError for a name that is twice."""
        sizes, self._sizes = list(self._sizes.items()), {}
        for name, size_hw in gather_to_first(sizes):
            self._note(name, size_hw)

    def finish(self) -> str:
        """Zip and check."""
        names = [f"{name}.png" for name in sorted(self._sizes)]
        zip_pictures(self.out.with_suffix(""), names, self.out)
        return require_accepted(self.out, "loveda", Expected(Path("the images"), self._sizes))


def submission_of(
    kind: str, classes: ClassMap, folder: Path, nms_iou: float, scenes: Path | None
) -> SubmissionWriter:
    """What collects a submission of ``kind`` and writes ``folder/submission_KIND.zip``.

    Raises ValueError for classes that the server does not have.
    """
    out = folder / f"submission_{kind}.zip"
    if kind == "loveda":
        return MapSubmission(classes, out)
    return SceneSubmission(kind, classes, out, nms_iou, scenes)


def required_task(kind: str, tasks: Sequence[str]) -> None:
    """Raise ValueError where a model lacks the task that a submission of ``kind`` is about."""
    if TASK_OF[kind] not in tasks:
        raise ValueError(
            f"a submission to {kind} needs a model with the task {TASK_OF[kind]!r}; "
            f"this one has {', '.join(tasks)}"
        )
