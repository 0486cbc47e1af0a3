"""Figures that come and go: vehicles, aircraft, ships."""

from __future__ import annotations

import math

import numpy as np

from geomtp.data.scenes.figures import GLASS, WHITE, Colour, Figure, Part, choose, lighter
from geomtp.data.scenes.shapes import Shape, capsule, disc, mirrored, polygon, rectangle

CAR_PAINTS: tuple[Colour, ...] = (
    (0.86, 0.86, 0.87),
    (0.70, 0.71, 0.73),
    (0.36, 0.37, 0.39),
    (0.15, 0.15, 0.17),
    (0.55, 0.13, 0.12),
    (0.16, 0.24, 0.45),
    (0.62, 0.58, 0.46),
)


def small_vehicle(rng: np.random.Generator) -> Figure:
    """A car or a van."""
    length, width = rng.uniform(4.2, 5.4), rng.uniform(1.8, 2.1)
    paint = choose(rng, CAR_PAINTS)
    parts = [Part(rectangle(length, width, rounding=0.45), paint, 0.05, solid=True)]
    if rng.random() < 0.8:
        front, back = length * 0.17, -length * 0.33
        parts.append(Part(rectangle(0.75, width * 0.78, (front, 0)), GLASS, 0))
        parts.append(Part(rectangle(0.55, width * 0.74, (back, 0)), GLASS, 0))
    else:
        parts.append(Part(rectangle(0.7, width * 0.8, (length * 0.3, 0)), GLASS, 0))
    return Figure("small-vehicle", tuple(parts), 1.6)


def large_vehicle(rng: np.random.Generator) -> Figure:
    """A lorry with its load, or a bus."""
    length, width = rng.uniform(9, 15), rng.uniform(2.5, 2.9)
    paint = choose(rng, CAR_PAINTS)
    if rng.random() < 0.3:  # a bus: one body with hatches on its roof
        body = [Part(rectangle(length, width, rounding=0.35), paint, 0.05, solid=True)]
        hatch = lighter(paint, 0.8)
        body += [Part(rectangle(1.1, 1.1, (length * t, 0)), hatch, 0) for t in (-0.3, 0.02, 0.3)]
        return Figure("large-vehicle", tuple(body), 3.2)
    cab = 2.3
    load = choose(rng, (WHITE, *CAR_PAINTS), 0.07)
    parts = (
        Part(rectangle(length, width * 0.5), (0.16, 0.16, 0.17), 0.05, solid=True),
        Part(rectangle(length - cab - 0.5, width, (-(cab + 0.5) / 2, 0)), load, 0.08, solid=True),
        Part(rectangle(cab, width * 0.95, (length / 2 - cab / 2, 0), 0.3), paint, 0.05, solid=True),
        Part(rectangle(0.5, width * 0.8, (length / 2 - 0.6, 0)), GLASS, 0),
    )
    return Figure("large-vehicle", parts, 3.4)


def plane(rng: np.random.Generator) -> Figure:
    """A jet with swept wings, or a light aircraft with straight ones."""
    jet = rng.random() < 0.6
    span = rng.uniform(17, 27) if jet else rng.uniform(10.5, 14)
    length = span * (rng.uniform(0.95, 1.12) if jet else rng.uniform(0.68, 0.8))
    paint = choose(rng, (WHITE, WHITE, (0.72, 0.73, 0.76), (0.60, 0.62, 0.66)), 0.03)
    tail_paint = choose(rng, ((0.5, 0.12, 0.12), (0.12, 0.2, 0.45), paint), 0.05)
    radius = length * (0.055 if jet else 0.06)
    sweep = 0.30 if jet else 0.03
    root_front, root_back = length * 0.12, -length * (0.10 if jet else 0.07)
    tip = root_front - span / 2 * sweep * 2
    wing = polygon(
        (root_front, 0),
        (root_back, 0),
        (min(tip, root_back) - length * 0.01, span / 2),
        (tip + length * (0.05 if jet else 0.02), span / 2),
    )
    rear = -length * 0.47
    fin_span = span * (0.19 if jet else 0.16)
    stabiliser = polygon(
        (rear + length * 0.13, 0),
        (rear + length * 0.01, 0),
        (rear - length * 0.01, fin_span),
        (rear + length * 0.05, fin_span),
    )
    body = capsule((rear + radius, 0), (length * 0.5 - radius, 0), radius)
    dark = lighter(paint, 0.88)
    parts = [
        Part(wing, dark, 0.04, solid=True),
        Part(mirrored(wing), dark, 0.04, solid=True),
        Part(stabiliser, dark, 0.04, solid=True),
        Part(mirrored(stabiliser), dark, 0.04, solid=True),
    ]
    if jet:
        for side in (-1, 1):
            engine = capsule(
                (root_front * 0.4, side * span * 0.17),
                (root_front * 1.1, side * span * 0.17),
                span * 0.022,
            )
            parts.append(Part(engine, lighter(paint, 0.7), 0, solid=True))
    parts.append(Part(body, paint, 0.04, solid=True))
    fin = capsule((rear + length * 0.01, 0), (rear + length * 0.13, 0), radius * 0.3)
    parts.append(Part(fin, tail_paint, 0))
    nose = length * 0.5 - radius * 1.4
    parts.append(Part(rectangle(radius * 0.5, radius * 1.1, (nose, 0)), GLASS, 0))
    return Figure("plane", tuple(parts), 3.5)


def helicopter(rng: np.random.Generator) -> Figure:
    """A helicopter; the thin rotor is drawn, but does not count to its outline."""
    length = rng.uniform(9, 13)
    paint = choose(rng, ((0.27, 0.31, 0.22), (0.70, 0.18, 0.14), WHITE, (0.2, 0.25, 0.38)), 0.04)
    cabin = capsule((0, 0), (length * 0.22, 0), length * 0.095)
    tail = polygon(
        (0, length * 0.05), (0, -length * 0.05), (-length * 0.58, -0.22), (-length * 0.58, 0.22)
    )
    fin = rectangle(length * 0.05, length * 0.17, (-length * 0.52, 0))
    parts = [Part(shape, paint, 0.04, solid=True) for shape in (tail, fin, cabin)]
    parts.append(Part(rectangle(length * 0.07, length * 0.13, (length * 0.25, 0)), GLASS, 0))
    turn, reach = rng.uniform(0, math.pi), length * 0.46
    for blade in range(2):
        angle = turn + blade * math.pi / 2
        du, dv = reach * math.cos(angle), reach * math.sin(angle)
        centre = length * 0.06
        rotor = capsule((centre - du, -dv), (centre + du, dv), 0.17)
        parts.append(Part(rotor, (0.2, 0.2, 0.2), 0, 0.8))
    return Figure("helicopter", tuple(parts), 3.0)


def ship(rng: np.random.Generator, length: float) -> Figure:
    """A motor boat (under 16 m) or a coaster with hatches."""
    width = length * (rng.uniform(0.26, 0.32) if length < 16 else rng.uniform(0.16, 0.2))
    half, beam = length / 2, width / 2
    hull = polygon(
        (half, 0),
        (half * 0.72, beam * 0.62),
        (half * 0.42, beam),
        (-half * 0.92, beam * 0.95),
        (-half, beam * 0.6),
        *[(x, -y) for x, y in ((half * 0.72, beam * 0.62), (half * 0.42, beam))],
        (-half * 0.92, -beam * 0.95),
        (-half, -beam * 0.6),
    )
    paint = choose(rng, (WHITE, WHITE, (0.5, 0.2, 0.16), (0.24, 0.3, 0.4), (0.4, 0.41, 0.4)))
    deck = Shape(hull.corners * (0.94, 0.8))
    deck_paint = choose(rng, ((0.62, 0.56, 0.48), (0.75, 0.74, 0.72), (0.46, 0.40, 0.36)))
    parts = [Part(hull, paint, 0.03, solid=True), Part(deck, deck_paint, 0.1)]
    if length < 16:
        cabin = rectangle(length * 0.32, width * 0.62, (-length * 0.04, 0), width * 0.12)
        parts.append(Part(cabin, WHITE, 0.03))
        parts.append(Part(rectangle(length * 0.06, width * 0.5, (length * 0.1, 0)), GLASS, 0))
        return Figure("ship", tuple(parts), 2.0)
    bridge = rectangle(length * 0.13, width * 0.8, (-half * 0.76, 0), 0.4)
    count = max(2, int(length / 14))
    step = length * 0.62 / count
    for i in range(count):
        hatch = choose(rng, ((0.42, 0.26, 0.22), (0.34, 0.38, 0.42), deck_paint), 0.06)
        at = -half * 0.5 + (i + 0.5) * step
        parts.append(Part(rectangle(step * 0.82, width * 0.58, (at, 0)), hatch, 0.1))
    parts.append(Part(bridge, WHITE, 0.03))
    parts.append(Part(disc(width * 0.09, (-half * 0.82, 0)), (0.25, 0.24, 0.24), 0))
    return Figure("ship", tuple(parts), 5.0)
