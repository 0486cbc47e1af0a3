"""A figure is what can be drawn: coloured shapes in metres, facing along +x, and a height."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomtp.data.scenes.shapes import Shape, rectangle

Colour = tuple[float, float, float]

WHITE: Colour = (0.88, 0.88, 0.86)
GLASS: Colour = (0.13, 0.15, 0.18)


@dataclass(frozen=True)
class Part:
    """One coloured shape of a figure.

    - colour: red green blue, 0…1
    - texture: how much of the ground's texture shows (0 smooth)
    - opacity: 0…1; blur_m: width of a soft edge in metres
    - facing_rad: direction that a sloped face looks to; None for a level one
    - solid: the part belongs to the figure's outline (mask and box) and casts a shadow
    - stripes_m: period of furrows along the figure, 0 for none
    """

    shape: Shape
    colour: Colour
    texture: float = 0.15
    opacity: float = 1.0
    blur_m: float = 0.0
    facing_rad: float | None = None
    solid: bool = False
    stripes_m: float = 0.0


@dataclass(frozen=True)
class Figure:
    """A thing that can be drawn: its class name ("" for scenery), its parts and its height."""

    name: str
    parts: tuple[Part, ...]
    height_m: float = 0.0

    @property
    def outline(self) -> tuple[Shape, ...]:
        """The shapes whose union is the figure as its mask counts it."""
        return tuple(part.shape for part in self.parts if part.solid)

    def frame_m(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of all parts in metres."""
        lows = [part.shape.corners.min(axis=0) - part.shape.radius for part in self.parts]
        highs = [part.shape.corners.max(axis=0) + part.shape.radius for part in self.parts]
        (left, top), (right, bottom) = np.min(lows, axis=0), np.max(highs, axis=0)
        return float(left), float(top), float(right), float(bottom)


def patch(colour: Colour, length: float, width: float, texture: float = 1.0) -> Figure:
    """A flat rectangle of ground."""
    return Figure("", (Part(rectangle(length, width), colour, texture),))


def choose(rng: np.random.Generator, paints: tuple[Colour, ...], spread: float = 0.05) -> Colour:
    """One of ``paints``, a little lighter, darker or off in hue."""
    base = paints[int(rng.integers(len(paints)))]
    shift = rng.normal(0, spread) + rng.normal(0, spread / 3, 3)
    red, green, blue = np.clip(np.array(base) + shift, 0.03, 0.97).tolist()
    return red, green, blue


def lighter(colour: Colour, factor: float) -> Colour:
    """``colour`` times ``factor``."""
    red, green, blue = (min(1.0, channel * factor) for channel in colour)
    return red, green, blue
