"""Drawing figures: smooth edges, cast shadows, texture, and the camera at the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.data.scenes.figures import Colour, Figure, Part
from geomtp.data.scenes.shapes import FloatMap, Shape
from geomtp.types import SizeHW

SHADOW = np.array([0.62, 0.57, 0.48], dtype=np.float32)  # what a shadow takes; the sky is blue

_STRIP_ROWS = 256


@dataclass(frozen=True)
class Light:
    """Sun and camera on one day.

    - azimuth_rad: where shadows fall to, clockwise from +x; length: metres of shadow per metre
    - gain (3,), haze 0…1, noise (standard deviation of 0…1), blur 0…1
    """

    azimuth_rad: float
    length: float
    gain: Colour
    haze: float
    noise: float
    blur: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Light:
        """A random day."""
        warmth = rng.normal(0, 0.035)
        level = rng.uniform(0.85, 1.18)
        gain = (level * (1 + warmth), level, level * (1 - warmth))
        return Light(
            rng.uniform(0, 2 * math.pi),
            rng.uniform(0.35, 1.1),
            gain,
            rng.uniform(0, 0.14),
            rng.uniform(0.006, 0.022),
            rng.uniform(0.1, 0.75),
        )


@dataclass(frozen=True)
class Pose:
    """Where a figure stands: pixels, radians clockwise."""

    x: float
    y: float
    angle_rad: float


def value_noise(size_hw: SizeHW, cell_px: int, rng: np.random.Generator) -> FloatMap:
    """Smooth random field (H, W) in -1…1 that varies over about ``cell_px`` pixels."""
    height, width = size_hw
    lattice = rng.random((height // cell_px + 3, width // cell_px + 3), dtype=np.float32) * 2 - 1
    rows = _between(lattice, height, cell_px)
    return np.ascontiguousarray(_between(rows.T, width, cell_px).T)


def _between(lattice: FloatMap, length: int, cell_px: int) -> FloatMap:
    """Lattice rows stretched to ``length`` rows by smooth interpolation."""
    at = np.arange(length) + 0.5
    index = (at // cell_px).astype(np.int64)
    t = (at / cell_px - index).astype(np.float32)
    weight = (t * t * (3 - 2 * t))[:, None]
    stretched: FloatMap = lattice[index] * (1 - weight) + lattice[index + 1] * weight
    return stretched


def distances(
    shape: Shape, size_hw: SizeHW, margin_px: float
) -> tuple[tuple[slice, slice], FloatMap]:
    """The window of an image that ``shape`` (pixels) touches and its signed distance there (h, w).

    Both are empty where the shape and its margin lie outside.
    """
    height, width = size_hw
    reach = shape.radius + margin_px
    (left, top), (right, bottom) = shape.corners.min(axis=0), shape.corners.max(axis=0)
    x0, x1 = max(0, math.floor(left - reach)), min(width, math.ceil(right + reach))
    y0, y1 = max(0, math.floor(top - reach)), min(height, math.ceil(bottom + reach))
    if x0 >= x1 or y0 >= y1:
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=np.float32)
    near = Shape(shape.corners - (x0, y0), shape.radius)  # small numbers: float32 is exact
    x = np.arange(x1 - x0, dtype=np.float32) + np.float32(0.5)
    y = np.arange(y1 - y0, dtype=np.float32) + np.float32(0.5)
    return (slice(y0, y1), slice(x0, x1)), near.signed_distance(x, y)


def mark(numbers: NDArray[Any], figure: Figure, pose: Pose, px_per_m: float, number: int) -> None:
    """Write ``number`` where a pixel of ``numbers`` (H, W) has its centre inside the figure."""
    height, width = numbers.shape
    for shape in figure.outline:
        placed = shape.moved(pose.x, pose.y, pose.angle_rad, px_per_m)
        window, distance = distances(placed, (height, width), 1.0)
        numbers[window][distance < 0] = number


class Canvas:
    """A picture in the making: colours, shadows kept apart until the end, and instance numbers.

    - rgb: (H, W, 3) float32, 0…1
    - shade: (H, W) float32, 0 lit … 1 in full shadow
    - instances: (H, W) int32, 0 for none, else the number given to :meth:`draw`
    """

    def __init__(
        self, size_hw: SizeHW, px_per_m: float, light: Light, rng: np.random.Generator
    ) -> None:
        height, width = size_hw
        self.size_hw, self.px_per_m, self.light = size_hw, px_per_m, light
        self.rgb = np.zeros((height, width, 3), dtype=np.float32)
        self.shade = np.zeros((height, width), dtype=np.float32)
        self.instances = np.zeros((height, width), dtype=np.int32)
        self.texture = self._texture(rng)

    def _texture(self, rng: np.random.Generator) -> FloatMap:
        """Roughness of the ground: patches of 12 m, 3 m, and single pixels."""
        total = 0.045 * value_noise(self.size_hw, max(2, round(12 * self.px_per_m)), rng)
        total += 0.035 * value_noise(self.size_hw, max(2, round(3 * self.px_per_m)), rng)
        total += 0.05 * (rng.random(self.size_hw, dtype=np.float32) - np.float32(0.5))
        return total.astype(np.float32)

    def fill(self, colour: Colour, texture: float = 1.0) -> None:
        """Cover everything with one kind of ground."""
        self.rgb[:] = np.array(colour, dtype=np.float32)
        self.rgb += (self.texture * np.float32(texture))[..., None]

    def draw(self, figure: Figure, pose: Pose, number: int = 0) -> None:
        """Draw ``figure``: its shadow first, then its parts; ``number`` marks its pixels."""
        if figure.height_m > 0:
            self._cast_shadow(figure, pose)
        for part in figure.parts:
            self._paint(part, pose)
        if number:
            mark(self.instances, figure, pose, self.px_per_m, number)

    def _paint(self, part: Part, pose: Pose) -> None:
        shape = part.shape.moved(pose.x, pose.y, pose.angle_rad, self.px_per_m)
        extent = np.ptp(shape.corners, axis=0).max() + 2 * shape.radius
        if extent < 1 and not part.solid:  # below a pixel: a detail that would only cost time
            return
        softness = max(1.0, part.blur_m * self.px_per_m)
        window, distance = distances(shape, self.size_hw, softness / 2)
        if distance.size == 0:
            return
        alpha = np.clip(0.5 - distance / np.float32(softness), 0, 1) * np.float32(part.opacity)
        tone = 1.0
        if part.facing_rad is not None:  # shadows fall away from the sun
            tone -= 0.16 * math.cos(part.facing_rad + pose.angle_rad - self.light.azimuth_rad)
        colour = np.array(part.colour, dtype=np.float32) * np.float32(tone)
        rough = self.texture[window] * np.float32(part.texture)
        if part.stripes_m:
            rough = rough + self._furrows(window, part.stripes_m, pose)
        target = colour + rough[..., None]
        rgb = self.rgb[window]
        rgb += alpha[..., None] * (target - rgb)
        self.shade[window] *= 1 - alpha

    def _furrows(self, window: tuple[slice, slice], period_m: float, pose: Pose) -> FloatMap:
        """Rows along the figure: a triangle wave across it, (h, w)."""
        rows, columns = window
        frequency = 1 / (period_m * self.px_per_m)
        along_x = (
            -math.sin(pose.angle_rad)
            * frequency
            * (np.arange(columns.start, columns.stop) - pose.x)
        )
        along_y = math.cos(pose.angle_rad) * frequency * (np.arange(rows.start, rows.stop) - pose.y)
        phase = (along_x[None, :] + along_y[:, None]).astype(np.float32)
        wave: FloatMap = np.abs(phase - np.floor(phase) - np.float32(0.5)) - np.float32(0.25)
        return wave * np.float32(0.16)

    def _cast_shadow(self, figure: Figure, pose: Pose) -> None:
        reach = figure.height_m * self.light.length * self.px_per_m
        shift = (reach * math.cos(self.light.azimuth_rad), reach * math.sin(self.light.azimuth_rad))
        for shape in figure.outline:
            placed = shape.moved(pose.x, pose.y, pose.angle_rad, self.px_per_m).swept(*shift)
            window, distance = distances(placed, self.size_hw, 0.75)
            if distance.size:
                dark = np.clip(0.5 - distance / np.float32(1.5), 0, 1)
                np.maximum(self.shade[window], dark, out=self.shade[window])

    def photograph(self, rng: np.random.Generator) -> NDArray[np.uint8]:
        """The finished picture, (H, W, 3) uint8: shadows, light, haze, blur and noise applied."""
        height, width = self.size_hw
        picture = np.empty((height, width, 3), dtype=np.uint8)
        for top in range(0, height, _STRIP_ROWS):  # strips keep the memory low
            bottom = min(height, top + _STRIP_ROWS)
            first, last = max(0, top - 1), min(height, bottom + 1)  # the blur looks one row further
            strip = self._seen(slice(first, last))[top - first : bottom - first]
            noise = rng.standard_normal(strip.shape, dtype=np.float32)
            noise *= np.float32(255 * self.light.noise)
            noise += strip
            picture[top:bottom] = np.clip(noise + np.float32(0.5), 0, 255)
        return picture

    def _seen(self, rows: slice) -> FloatMap:
        """Some rows as the lens shows them, 0…255, before noise."""
        light = self.light
        rgb = self.rgb[rows] * (1 - self.shade[rows, :, None] * SHADOW)
        rgb *= np.array(light.gain, dtype=np.float32) * np.float32(255 * (1 - light.haze))
        rgb += np.float32(255 * light.haze) * np.array([0.62, 0.66, 0.70], dtype=np.float32)
        for axis in (0, 1):
            rgb = _blurred(rgb, axis, light.blur / 4)
        return rgb


def _blurred(rgb: FloatMap, axis: int, side_weight: float) -> FloatMap:
    """Three-tap blur along ``axis``; the border repeats."""
    order = np.arange(rgb.shape[axis])
    sides = rgb.take(np.maximum(order - 1, 0), axis=axis)
    sides += rgb.take(np.minimum(order + 1, len(order) - 1), axis=axis)
    sides -= 2 * rgb
    sides *= np.float32(side_weight)
    sides += rgb
    return sides
