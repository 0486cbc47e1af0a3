"""Turning views by any angle: pixels, maps and rotated boxes together."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from geomtp.geometry import rotated_boxes
from geomtp.types import IGNORE, ClassMap, SizeHW, Targets

_RIGHT_ANGLES = (math.pi / 2, math.pi, -math.pi / 2, -math.pi)


@dataclass(frozen=True)
class Turning:
    """Which views are turned, and by how much.

    - share: of the views, 0…1
    - degrees: the angle is drawn evenly from -degrees…degrees
    - square_classes: views with an object of these are turned by 90 or 180 degrees only, because
      their boxes would no longer enclose them (round objects)

    Raises ValueError for other values.
    """

    share: float
    degrees: float = 180.0
    square_classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 < self.degrees <= 180:
            raise ValueError(
                f"a share in 0…1 of the views is turned by 0…180 degrees, "
                f"got {self.share} and {self.degrees}"
            )

    def draw(self, targets: Targets, classes: ClassMap, rng: np.random.Generator) -> float:
        """The angle in radians, clockwise as seen; 0 for a view that is not turned.

        Raises ValueError for square classes that are none of ``classes``.
        """
        square = [classes.index(name) for name in self.square_classes]
        turned, angle = rng.random() < self.share, math.radians(rng.uniform(-1, 1) * self.degrees)
        right_angle = _RIGHT_ANGLES[rng.integers(len(_RIGHT_ANGLES))]
        if not turned:
            return 0.0
        present = [] if targets.rbox_labels is None else targets.rbox_labels.tolist()
        return right_angle if set(square) & set(present) else angle


def turned_pixels(pixels: NDArray[np.float32], angle_rad: float) -> NDArray[np.float32]:
    """(C, H, W) turned about its middle, clockwise as seen, bilinearly; 0 where nothing was."""
    image = torch.from_numpy(np.ascontiguousarray(pixels))[None]
    grid = _grid(image.shape[2:], angle_rad)
    turned: NDArray[np.float32] = F.grid_sample(image, grid, align_corners=False)[0].numpy()
    return turned


def turned_map(values: Tensor, angle_rad: float) -> Tensor:
    """A map (H, W) uint8 turned alike, by nearest values; 255 (ignored) where nothing was."""
    missing = (IGNORE - values.float())[None, None]  # outside is 0, which stands for IGNORE
    grid = _grid(values.shape, angle_rad)
    turned = F.grid_sample(missing, grid, mode="nearest", align_corners=False)[0, 0]
    return (IGNORE - turned).to(torch.uint8)


def turned_targets(targets: Targets, size_hw: SizeHW, angle_rad: float) -> Targets:
    """Maps and rotated boxes of a view turned alike; boxes stay whose centre stays inside."""
    changes: dict[str, Any] = {}
    for name in ("semantic", "change"):
        values = getattr(targets, name)
        if values is not None:
            changes[name] = turned_map(values, angle_rad)
    if targets.rboxes is not None and targets.rbox_labels is not None:
        height, width = size_hw
        boxes = rotated_boxes.rotate(targets.rboxes, (width / 2, height / 2), angle_rad)
        x, y = boxes[:, 0], boxes[:, 1]
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        changes |= {"rboxes": boxes[inside], "rbox_labels": targets.rbox_labels[inside]}
    return dataclasses.replace(targets, **changes)


def _grid(size_hw: tuple[int, ...], angle_rad: float) -> Tensor:
    """Where each pixel of the turned image comes from, as ``grid_sample`` wants it."""
    height, width = size_hw
    cos, sin = math.cos(angle_rad), math.sin(angle_rad)
    # Normalised coordinates count half widths and half heights: a turn must not shear them.
    back = torch.tensor([[cos, sin * height / width, 0.0], [-sin * width / height, cos, 0.0]])
    return F.affine_grid(back[None], [1, 1, height, width], align_corners=False)
