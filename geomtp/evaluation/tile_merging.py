"""Predictions of tiles, merged into the scenes that the tiles were cut from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from geomtp.evaluation.fusion import suppressed_rotated
from geomtp.geometry.rotated_boxes import translate
from geomtp.labels.tiles.tile_names import scene_of, tile_of
from geomtp.parallel import gather_to_first
from geomtp.rasters import WindowXYXY
from geomtp.types import Predictions, SizeHW


@dataclass(frozen=True)
class _Part:
    """What was found in one tile or image, in the pixels of its scene."""

    scene: str
    window_xyxy: WindowXYXY
    found: Predictions


class SceneMerger:
    """Collects rotated boxes of tiles, and of images that are no tiles, by scene.

    Tiles of any size may overlap: those of several rates are in the pixels of the same scene. What
    comes out does not depend on the order in which they are added.
    """

    def __init__(self, nms_iou: float = 0.1) -> None:
        """``nms_iou``: boxes of a class are one where they overlap more than this."""
        self.nms_iou = nms_iou
        self._parts: dict[str, _Part] = {}

    def add(self, image: str, found: Predictions, size_hw: SizeHW) -> None:
        """Take in one tile or image of height and width ``size_hw``, in its own pixels.

        Raises ValueError for predictions without rotated boxes.
        """
        if found.rboxes is None or found.rbox_scores is None or found.rbox_labels is None:
            raise ValueError(f"the predictions of {image} hold no rotated boxes to merge")
        x, y = corner_of(image)
        moved = Predictions(
            rboxes=translate(found.rboxes.double(), (float(x), float(y))),
            rbox_scores=found.rbox_scores,
            rbox_labels=found.rbox_labels,
        )
        window = (x, y, x + size_hw[1], y + size_hw[0])
        self._parts[image] = _Part(scene_of(image), window, moved)

    def gather(self) -> None:
        """Hand all parts to the first process; afterwards it alone can merge."""
        self._parts = dict(gather_to_first(list(self._parts.items())))

    def size_hw(self, scene: str) -> SizeHW:
        """Height and width that the tiles of a scene cover."""
        windows = [part.window_xyxy for part in self._parts.values() if part.scene == scene]
        return max(y2 for *_, y2 in windows), max(x2 for _, _, x2, _ in windows)

    def with_gaps(self) -> list[str]:
        """The scenes whose tiles leave out a part of what they reach over, sorted by name."""
        return [
            scene
            for scene, parts in self._by_scene()
            if covered_share([part.window_xyxy for part in parts]) < 1
        ]

    def scenes(self) -> Iterator[tuple[str, Predictions]]:
        """Each scene with its rotated boxes by falling score, sorted by name."""
        for scene, parts in self._by_scene():
            found = [part.found for part in parts]
            joined = Predictions(
                rboxes=torch.cat([p.rboxes for p in found if p.rboxes is not None]),
                rbox_scores=torch.cat([p.rbox_scores for p in found if p.rbox_scores is not None]),
                rbox_labels=torch.cat([p.rbox_labels for p in found if p.rbox_labels is not None]),
            )
            yield scene, suppressed_rotated(joined, self.nms_iou)

    def _by_scene(self) -> list[tuple[str, list[_Part]]]:
        """Scenes and, in them, tiles by their names: equal scores then always rank the same."""
        scenes: dict[str, list[_Part]] = {}
        for _, part in sorted(self._parts.items()):
            scenes.setdefault(part.scene, []).append(part)
        return sorted(scenes.items())


def corner_of(image: str) -> tuple[int, int]:
    """The left upper corner x, y of a tile in its scene, pixels; 0, 0 of what is no tile."""
    tile = tile_of(image)
    return (0, 0) if tile is None else (tile.x, tile.y)


def covered_share(windows_xyxy: Iterable[WindowXYXY]) -> float:
    """Which share of the area from 0, 0 to their farthest corner the windows cover: 0…1."""
    windows = np.array(list(windows_xyxy))
    xs, ys = (np.unique([0, *windows[:, axis::2].ravel()]) for axis in (0, 1))
    covered = np.zeros((len(ys) - 1, len(xs) - 1), dtype=bool)
    for x1, y1, x2, y2 in windows.tolist():
        rows, columns = np.searchsorted(ys, (y1, y2)), np.searchsorted(xs, (x1, x2))
        covered[slice(*rows), slice(*columns)] = True
    areas = np.diff(ys)[:, None] * np.diff(xs)
    return float(areas[covered].sum() / areas.sum())
