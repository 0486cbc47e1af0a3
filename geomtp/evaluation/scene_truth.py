"""What truly is in a scene: put together of its tiles' labels, or read from its own label file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from geomtp.evaluation.tile_merging import corner_of
from geomtp.geometry import rotated_iou
from geomtp.geometry.rotated_boxes import translate
from geomtp.labels.annotations import AnnotatedObject
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.dota import dota_objects
from geomtp.labels.readers.xml_files import fair1m_objects
from geomtp.labels.shapes import faults, rotated_boxes
from geomtp.labels.store.building import check_classes
from geomtp.labels.tiles.tile_names import scene_of
from geomtp.parallel import gather_to_first
from geomtp.types import ClassMap, Targets

SAME_IOU = 0.5
"""Objects of two tiles are one where they have one class and overlap more than this."""

_READERS = {".txt": dota_objects, ".xml": fair1m_objects}
_ANY_SIZE_HW = (1, 1)  # where objects lie is not asked


@dataclass(frozen=True)
class SceneObjects:
    """The true objects of a scene, or of a part of it.

    - rboxes: (N, 5) float64, cx cy w h angle (le90), pixels of the scene; labels: (N,) 0…K−1
    - ignored: (N,) bool, those that count neither as found nor as missed
    """

    rboxes: Tensor
    labels: Tensor
    ignored: Tensor

    @property
    def targets(self) -> Targets:
        """As the labels of one image."""
        return Targets(rboxes=self.rboxes, rbox_labels=self.labels)


class TileTruth:
    """Collects the true objects of tiles by scene; those that no tile holds are not known here."""

    def __init__(self) -> None:
        self._tiles: dict[str, SceneObjects] = {}

    def add(self, image: str, targets: Targets) -> None:
        """Take in the labels of one tile or image, in its own pixels, if it has any."""
        if targets.rboxes is None or targets.rbox_labels is None:
            return
        x, y = corner_of(image)
        rboxes = translate(targets.rboxes.double(), (float(x), float(y)))
        nothing = torch.zeros(len(rboxes), dtype=torch.bool)
        self._tiles[image] = SceneObjects(rboxes, targets.rbox_labels, nothing)

    def gather(self) -> None:
        """Hand all tiles to the first process."""
        self._tiles = dict(gather_to_first(list(self._tiles.items())))

    def scenes(self) -> dict[str, SceneObjects]:
        """The objects of each scene, each once."""
        parts: dict[str, list[SceneObjects]] = {}
        for image, objects in sorted(self._tiles.items()):
            parts.setdefault(scene_of(image), []).append(objects)
        return {scene: joined(tiles) for scene, tiles in parts.items()}


def joined(tiles: Sequence[SceneObjects]) -> SceneObjects:
    """The objects of overlapping tiles, in the pixels of their scene, each once.

    An object of one tile and one of another are the same where they have one class and overlap
    more than ``SAME_IOU``, the closest pairs first, so that objects that lie upon each other in one
    tile stay apart. Of the same object the largest box is kept: others may be cut.
    """
    known = tiles[0]
    for tile in tiles[1:]:
        overlaps = rotated_iou(known.rboxes, tile.rboxes)
        overlaps[known.labels[:, None] != tile.labels] = 0
        same = _closest_pairs(overlaps)
        rboxes = known.rboxes.clone()
        for old, new in same:
            if tile.rboxes[new, 2:4].prod() > rboxes[old, 2:4].prod():
                rboxes[old] = tile.rboxes[new]
        met = {new for _, new in same}
        fresh = [i for i in range(len(tile.labels)) if i not in met]
        known = SceneObjects(
            torch.cat([rboxes, tile.rboxes[fresh]]),
            torch.cat([known.labels, tile.labels[fresh]]),
            torch.cat([known.ignored, tile.ignored[fresh]]),
        )
    return known


def _closest_pairs(overlaps: Tensor) -> list[tuple[int, int]]:
    """Pairs (row, column) above ``SAME_IOU``, the largest first, each row and column once."""
    rows, columns = (overlaps > SAME_IOU).nonzero().unbind(dim=1)
    order = overlaps[rows, columns].argsort(descending=True, stable=True)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for row, column in zip(rows[order].tolist(), columns[order].tolist(), strict=True):
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return list(pairs.items())


def read_scene_labels(
    folder: Path, images: Iterable[str], classes: ClassMap
) -> dict[str, SceneObjects]:
    """The objects of the scenes that ``images`` were cut from, by scene, from their label files.

    A file below ``folder`` belongs to the scene whose last part it is named after: DOTA's text
    (``P0006.txt``) or FAIR1M's xml. Objects that DOTA calls difficult are ignored, as its own tool
    does; objects without an area are left out.

    Raises FileNotFoundError for a missing folder or missing files, ValueError for two files of one
    name, for what cannot be read, and for classes that are not in ``classes``.
    """
    files = _label_files(folder)
    scenes = sorted({scene_of(image) for image in images})
    missing = [scene for scene in scenes if PurePosixPath(scene).name not in files]
    if missing:
        raise FileNotFoundError(
            f"{folder} holds no label file for {len(missing)} of {len(scenes)} scenes, such as "
            f"{PurePosixPath(missing[0]).name}.txt or .xml; without --scene-labels the truth is "
            f"put together of the tiles' own labels"
        )
    objects = {scene: _usable(files[PurePosixPath(scene).name]) for scene in scenes}
    check_classes(Counter(item.name for items in objects.values() for item in items), classes)
    return {scene: _of_annotated(items, classes) for scene, items in objects.items()}


def _label_files(folder: Path) -> dict[str, Path]:
    """The label files by name without suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: expected the label files of the scenes")
    files: dict[str, Path] = {}
    for path in sorted(path for path in folder.rglob("*") if path.suffix in _READERS):
        if path.stem in files:
            raise ValueError(
                f"two label files are called {path.stem}, {files[path.stem]} and {path}: give the "
                f"folder of one split by --scene-labels"
            )
        files[path.stem] = path
    return files


def _usable(path: Path) -> list[AnnotatedObject]:
    objects = _READERS[path.suffix](path, ReadNotes(strict=True))
    assert objects is not None  # strict notes raise
    reasons = faults(objects, _ANY_SIZE_HW)
    kept = zip(objects, reasons, strict=True)
    return [item for item, reason in kept if reason is None or reason[0] != "degenerate"]


def _of_annotated(items: Sequence[AnnotatedObject], classes: ClassMap) -> SceneObjects:
    return SceneObjects(
        rboxes=torch.from_numpy(rotated_boxes(items)),
        labels=torch.tensor([classes.index(item.name) for item in items], dtype=torch.long),
        ignored=torch.tensor([item.difficulty > 0 for item in items], dtype=torch.bool),
    )
