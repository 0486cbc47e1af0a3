"""Predictions of tiles, merged into the scenes that the tiles were cut from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import torch

from geomtp.evaluation.fusion import suppressed_rotated
from geomtp.geometry.rotated_boxes import translate
from geomtp.types import Predictions, SizeHW

_TILE = re.compile(r"(?P<scene>.+)__(?P<size>\d+)__(?P<x>\d+)___(?P<y>\d+)")


@dataclass(frozen=True)
class Tile:
    """A tile by its name: the scene (path without suffix), side and left upper corner, pixels."""

    scene: str
    size_px: int
    x: int
    y: int


def tile_of(image: str) -> Tile | None:
    """What the name ``SCENE__size__x___y`` of a tile says; None where an image is no tile."""
    path = PurePosixPath(image)
    match = _TILE.fullmatch(path.stem)
    if match is None:
        return None
    scene = (path.parent / match["scene"]).as_posix()
    return Tile(scene, int(match["size"]), int(match["x"]), int(match["y"]))


class SceneMerger:
    """Collects rotated boxes of tiles, and of images that are no tiles, by scene.

    Tiles of any size may overlap: those of several rates are in the pixels of the same scene.
    """

    def __init__(self, nms_iou: float = 0.1) -> None:
        """``nms_iou``: boxes of a class are one where they overlap more than this."""
        self.nms_iou = nms_iou
        self._parts: dict[str, list[Predictions]] = {}
        self._sizes: dict[str, SizeHW] = {}

    def add(self, image: str, found: Predictions, size_hw: SizeHW) -> None:
        """Take in one tile or image of height and width ``size_hw``, in its own pixels.

        Raises ValueError for predictions without rotated boxes.
        """
        if found.rboxes is None or found.rbox_scores is None or found.rbox_labels is None:
            raise ValueError(f"the predictions of {image} hold no rotated boxes to merge")
        tile = tile_of(image)
        x, y = (0, 0) if tile is None else (tile.x, tile.y)
        name = str(PurePosixPath(image).with_suffix("")) if tile is None else tile.scene
        moved = Predictions(
            rboxes=translate(found.rboxes.double(), (float(x), float(y))),
            rbox_scores=found.rbox_scores,
            rbox_labels=found.rbox_labels,
        )
        self._parts.setdefault(name, []).append(moved)
        height, width = self._sizes.get(name, (0, 0))
        self._sizes[name] = (max(height, y + size_hw[0]), max(width, x + size_hw[1]))

    def size_hw(self, scene: str) -> SizeHW:
        """Height and width that the tiles of a scene cover."""
        return self._sizes[scene]

    def scenes(self) -> Iterator[tuple[str, Predictions]]:
        """Each scene with its rotated boxes by falling score, sorted by name."""
        for name in sorted(self._parts):
            parts = self._parts[name]
            joined = Predictions(
                rboxes=torch.cat([p.rboxes for p in parts if p.rboxes is not None]),
                rbox_scores=torch.cat([p.rbox_scores for p in parts if p.rbox_scores is not None]),
                rbox_labels=torch.cat([p.rbox_labels for p in parts if p.rbox_labels is not None]),
            )
            yield name, suppressed_rotated(joined, self.nms_iou)
