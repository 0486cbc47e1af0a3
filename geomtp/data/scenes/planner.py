"""Where figures stand: a plan in metres, in a turned frame, without two things in one place."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geomtp.data.scenes.canvas import Pose
from geomtp.data.scenes.figures import Colour, Figure
from geomtp.data.scenes.shapes import rectangle
from geomtp.types import SizeHW

CELL_M = 0.5  # of the grid that remembers what is taken


@dataclass(frozen=True)
class Placement:
    """A figure and where it stands (pixels)."""

    figure: Figure
    pose: Pose


class Planner:
    """Collects placements. The frame (u, v) has its origin at the image's centre plus a shift.

    - size_hw: pixels; gsd_m: metres per pixel
    - placements: in drawing order (ground first; the renderer sorts by height)
    """

    def __init__(self, size_hw: SizeHW, gsd_m: float, rng: np.random.Generator) -> None:
        self.size_hw, self.gsd_m, self.rng = size_hw, gsd_m, rng
        self.angle_rad = rng.uniform(-math.pi, math.pi)
        self.ground: Colour = (0.3, 0.34, 0.2)
        self.placements: list[Placement] = []
        height, width = size_hw
        self.height_m, self.width_m = height * gsd_m, width * gsd_m
        self.reach_m = math.hypot(self.height_m, self.width_m) / 2
        rows, columns = math.ceil(self.height_m / CELL_M), math.ceil(self.width_m / CELL_M)
        self._taken = np.zeros((rows, columns), dtype=bool)

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.rng.random() < probability)

    def uniform(self, low: float, high: float) -> float:
        """A number between ``low`` and ``high``."""
        return low + (high - low) * float(self.rng.random())

    def lines(self, shortest_m: float, longest_m: float) -> list[float]:
        """Ascending coordinates over the whole reach, at random distances."""
        at, positions = -self.reach_m - longest_m * self.uniform(0, 1), []
        while at < self.reach_m + longest_m:
            positions.append(at)
            at += self.uniform(shortest_m, longest_m)
        return positions

    def lay(self, figure: Figure, u: float, v: float, turn_rad: float = 0.0) -> None:
        """Put down ground or scenery, whatever lies there; what is out of sight is left out."""
        x, y, angle = self._to_image(u, v, turn_rad)
        left, top, right, bottom = figure.frame_m()
        reach = math.hypot(max(-left, right), max(-top, bottom)) + 1
        if -reach < x < self.width_m + reach and -reach < y < self.height_m + reach:
            self.placements.append(Placement(figure, Pose(x / self.gsd_m, y / self.gsd_m, angle)))

    def stand(
        self, figure: Figure, u: float, v: float, turn_rad: float = 0.0, gap_m: float = 0.5
    ) -> bool:
        """Put up a figure if its centre is in the image and ``gap_m`` around it is free."""
        x, y, angle = self._to_image(u, v, turn_rad)
        if not self._inside(x, y) or not self._take(figure, x, y, angle, gap_m):
            return False
        self.placements.append(Placement(figure, Pose(x / self.gsd_m, y / self.gsd_m, angle)))
        return True

    def put(
        self,
        make: Callable[[np.random.Generator], Figure],
        u: float,
        v: float,
        turn_rad: float = 0.0,
        gap_m: float = 0.5,
    ) -> bool:
        """As ``stand``, with a figure that is only made where its centre is in the image."""
        return self.sees(u, v) and self.stand(make(self.rng), u, v, turn_rad, gap_m)

    def sees(self, u: float, v: float) -> bool:
        """Whether this point of the frame lies in the image."""
        x, y, _ = self._to_image(u, v, 0.0)
        return self._inside(x, y)

    def reaches(self, low: float, high: float) -> bool:
        """Whether the stretch from ``low`` to ``high`` of either axis may touch the image."""
        return low < self.reach_m and high > -self.reach_m

    def _inside(self, x: float, y: float) -> bool:
        return 0 < x < self.width_m and 0 < y < self.height_m

    def _to_image(self, u: float, v: float, turn_rad: float) -> tuple[float, float, float]:
        """Metres from the image's upper left corner and heading of a point of the frame."""
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        x = self.width_m / 2 + cos * u - sin * v
        y = self.height_m / 2 + sin * u + cos * v
        return x, y, self.angle_rad + turn_rad

    def _take(self, figure: Figure, x: float, y: float, angle: float, gap_m: float) -> bool:
        """Mark the figure's rectangle as taken; False where something stands there already.

        Both rectangles are grown by 0.4 m, more than half a cell's diagonal: two that touch
        anywhere share a cell centre, so nothing slips between.
        """
        left, top, right, bottom = figure.frame_m()
        centre = ((left + right) / 2, (top + bottom) / 2)
        frame = rectangle(right - left + 0.8, bottom - top + 0.8, centre)
        placed = frame.moved(x / CELL_M, y / CELL_M, angle, 1 / CELL_M)
        margin = gap_m / CELL_M
        rows, columns = self._taken.shape
        (x0, y0), (x1, y1) = placed.corners.min(axis=0), placed.corners.max(axis=0)
        c0, c1 = max(0, math.floor(x0 - margin)), min(columns, math.ceil(x1 + margin))
        r0, r1 = max(0, math.floor(y0 - margin)), min(rows, math.ceil(y1 + margin))
        grid_x = np.arange(c0, c1, dtype=np.float32) + np.float32(0.5)
        grid_y = np.arange(r0, r1, dtype=np.float32) + np.float32(0.5)
        distance = placed.signed_distance(grid_x, grid_y)
        window = self._taken[r0:r1, c0:c1]
        if bool((window & (distance < margin)).any()):
            return False
        window |= distance < 0
        return True
