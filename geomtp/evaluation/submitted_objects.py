"""Rotated boxes as the servers of DOTA and FAIR1M want them: class, score and corners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from geomtp.geometry import quads_from_rboxes
from geomtp.types import Predictions


@dataclass(frozen=True)
class SubmittedObject:
    """One object: class in the server's spelling, score 0…1, corners x1 y1 … x4 y4 in pixels."""

    name: str
    score: float
    corners: tuple[float, ...]


def objects_of_scenes(
    scenes: Iterable[tuple[str, Predictions]], names: Sequence[str]
) -> Iterator[tuple[str, list[SubmittedObject]]]:
    """Each scene with its rotated boxes; of a scene's path the last part, as servers want it.

    Raises ValueError for two scenes of one name, or predictions without rotated boxes (None).
    """
    seen: set[str] = set()
    for path, found in scenes:
        scene = PurePosixPath(path).name
        if scene in seen:
            raise ValueError(f"two scenes are called {scene}: the server tells them by their names")
        seen.add(scene)
        if found.rboxes is None or found.rbox_scores is None or found.rbox_labels is None:
            raise ValueError(f"the predictions of {scene} hold no rotated boxes to submit")
        quads = quads_from_rboxes(found.rboxes.double()).reshape(-1, 8).tolist()
        rows = zip(found.rbox_labels.tolist(), found.rbox_scores.tolist(), quads, strict=True)
        yield scene, [SubmittedObject(names[label], score, tuple(q)) for label, score, q in rows]
