"""What is known of a block when its windows have been seen, and the file that keeps it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.checkpoints import replacing
from geomtp.inference.objects.found_instances import FoundInstances
from geomtp.inference.objects.found_objects import FoundObjects
from geomtp.inference.windows.blocks import RectXYXY


@dataclass(frozen=True)
class Sums:
    """Sums of weighted probabilities in a part of the scene.

    - rect_xyxy: scene pixels
    - values: (K, h, w) float16, 0…1
    """

    rect_xyxy: RectXYXY
    values: NDArray[np.float16]


@dataclass(frozen=True)
class BlockMap:
    """The map of a block in one task.

    - core: (h, w) uint8, the values where no other block has a say (``Grid.core_xyxy``)
    - frame: the sums around it, to which those of the neighbours are added
    """

    core: NDArray[np.uint8]
    frame: tuple[Sums, ...]


@dataclass(frozen=True)
class BlockResult:
    """All that is known of a block.

    - valid: (h, w) bool, the block's pixels that have a value
    - maps, objects: by task
    - scene_sum: (K,) probabilities of classes of whole windows, added up; empty without that task
    - windows, skipped: how many were looked at, and left out because they hold no value
    - seconds: that the block took
    """

    valid: NDArray[np.bool_]
    maps: Mapping[str, BlockMap]
    objects: Mapping[str, FoundObjects | FoundInstances]
    scene_sum: NDArray[np.float64]
    windows: int
    skipped: int
    seconds: float

    def save(self, path: Path) -> None:
        """Write to ``path``; the file appears whole or not at all."""
        arrays: dict[str, Any] = {
            "valid": np.packbits(self.valid),
            "shape": np.array(self.valid.shape),
            "scene_sum": self.scene_sum,
            "counts": np.array([self.windows, self.skipped, self.seconds], dtype=np.float64),
        }
        for task, found in self.maps.items():
            arrays[f"map/{task}/core"] = found.core
            for index, part in enumerate(found.frame):
                arrays[f"map/{task}/rect/{index}"] = np.array(part.rect_xyxy)
                arrays[f"map/{task}/sums/{index}"] = part.values
        for task, objects in self.objects.items():
            for name, column in objects.columns().items():
                arrays[f"objects/{task}/{name}"] = column
        with replacing(path) as part_file, part_file.open("wb") as file:
            np.savez(file, **arrays)


@dataclass(frozen=True)
class StoredBlock:
    """A block's file, of which only what is asked for is read."""

    path: Path

    def exists(self) -> bool:
        """Whether the block is done."""
        return self.path.is_file()

    def valid(self) -> NDArray[np.bool_]:
        """(h, w) bool."""
        with np.load(self.path) as file:
            height, width = file["shape"].tolist()
            bits = np.unpackbits(file["valid"], count=height * width)
        return np.asarray(bits.reshape(height, width).astype(bool))

    def core(self, task: str) -> NDArray[np.uint8]:
        """Of the map of ``task``: (h, w)."""
        with np.load(self.path) as file:
            return np.asarray(file[f"map/{task}/core"])

    def frame(self, task: str) -> list[Sums]:
        """Of the map of ``task``."""
        with np.load(self.path) as file:
            names = [name for name in file.files if name.startswith(f"map/{task}/rect/")]
            parts = []
            for name in names:
                x1, y1, x2, y2 = file[name].tolist()
                parts.append(Sums((x1, y1, x2, y2), file[name.replace("/rect/", "/sums/")]))
        return parts

    def boxes(self, task: str) -> FoundObjects:
        """The boxes of "rotated" or "horizontal"."""
        return FoundObjects.of_columns(self._columns(task))

    def instances(self) -> FoundInstances:
        """The masks of "instance"."""
        return FoundInstances.of_columns(self._columns("instance"))

    def _columns(self, task: str) -> dict[str, NDArray[Any]]:
        prefix = f"objects/{task}/"
        with np.load(self.path) as file:
            names = [name for name in file.files if name.startswith(prefix)]
            return {name.removeprefix(prefix): file[name] for name in names}

    def figures(self) -> tuple[NDArray[np.float64], int, int, float]:
        """``scene_sum``, windows, windows left out, seconds."""
        with np.load(self.path) as file:
            windows, skipped, seconds = file["counts"].tolist()
            return file["scene_sum"], int(windows), int(skipped), seconds
