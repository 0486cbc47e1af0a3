"""Figures that stay: buildings, tanks, courts, pools, and the scenery between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from geomtp.data.scenes.figures import WHITE, Colour, Figure, Part, choose, lighter
from geomtp.data.scenes.shapes import capsule, disc, polygon, rectangle

ROOF_PAINTS: tuple[Colour, ...] = (
    (0.56, 0.36, 0.29),
    (0.48, 0.42, 0.38),
    (0.40, 0.40, 0.42),
    (0.64, 0.60, 0.55),
    (0.66, 0.45, 0.34),
    (0.33, 0.34, 0.38),
)


def storage_tank(rng: np.random.Generator, radius: float) -> Figure:
    """A round tank: rim, roof, the shade of the rim on the roof."""
    paint = choose(rng, (WHITE, WHITE, (0.62, 0.62, 0.6), (0.55, 0.46, 0.38)), 0.04)
    spot = radius * 0.12
    parts = (
        Part(disc(radius), lighter(paint, 0.78), 0.03, solid=True),
        Part(disc(radius * 0.94), paint, 0.06),
        Part(disc(spot, (radius * 0.3, 0)), lighter(paint, 0.72), 0, 0.7),
        Part(capsule((-radius * 0.9, 0), (radius * 0.9, 0), 0.12), lighter(paint, 0.7), 0, 0.5),
        Part(rectangle(1.0, 1.6, (radius * 0.9, 0)), lighter(paint, 0.6), 0, 0.8),
    )
    return Figure("storage-tank", parts, rng.uniform(0.5, 0.8) * min(radius, 12))


def house(rng: np.random.Generator) -> Figure:
    """A dwelling under a gabled or hipped roof, sometimes with a wing."""
    length, width = rng.uniform(10, 15), rng.uniform(8, 10.5)
    paint = choose(rng, ROOF_PAINTS)
    parts = _roof(length, width, (0.0, 0.0), paint, hip=rng.choice([0.0, 0.25, 0.4]))
    if rng.random() < 0.35:
        wing = (length * rng.uniform(-0.25, 0.25), width * 0.5)
        parts += _roof(width * 0.6, width * 0.6, wing, paint, hip=0.0)
    if rng.random() < 0.5:
        chimney = (length * rng.uniform(-0.2, 0.2), width * 0.15)
        parts.append(Part(rectangle(0.8, 0.8, chimney), lighter(paint, 0.6), 0))
    return Figure("building", tuple(parts), rng.uniform(4.5, 7.5))


def _roof(
    length: float, width: float, centre: tuple[float, float], paint: Colour, hip: float
) -> list[Part]:
    """A ridge roof along x: two long faces, and two hips where ``hip`` (of the width) is not 0."""
    x, y = centre
    half, side, ridge = length / 2, width / 2, length / 2 - hip * width
    faces = [
        ([(-half, 0), (-half, side), (half, side), (half, 0)], math.pi / 2),
        ([(-half, 0), (-half, -side), (half, -side), (half, 0)], -math.pi / 2),
    ]
    if hip:
        faces.append(([(half, side), (half, -side), (ridge, 0)], 0.0))
        faces.append(([(-half, side), (-half, -side), (-ridge, 0)], math.pi))
    base = [Part(rectangle(length, width, centre), lighter(paint, 0.9), 0.2, solid=True)]
    return base + [
        Part(polygon(*[(x + u, y + v) for u, v in corners]), paint, 0.3, facing_rad=facing)
        for corners, facing in faces
    ]


def flat_building(
    rng: np.random.Generator, length: float, width: float, name: str = "building"
) -> Figure:
    """A hall or block with a flat roof, a parapet and machines on it."""
    paint = choose(rng, ((0.62, 0.62, 0.60), (0.50, 0.50, 0.50), (0.74, 0.72, 0.68), WHITE))
    parts = [
        Part(rectangle(length, width), lighter(paint, 1.12), 0.1, solid=True),
        Part(rectangle(length - 1.2, width - 1.2), paint, 0.45),
    ]
    for _ in range(int(rng.integers(2, 3 + int(length * width / 120)))):
        at = (rng.uniform(-0.4, 0.4) * length, rng.uniform(-0.36, 0.36) * width)
        long, broad = rng.uniform(1, 3.5), rng.uniform(1, 2.2)
        parts.append(
            Part(rectangle(long, broad, (at[0] + 0.5, at[1] + 0.5)), (0.2, 0.2, 0.2), 0, 0.5)
        )
        parts.append(Part(rectangle(long, broad, at), lighter(paint, rng.uniform(0.7, 1.25)), 0))
    return Figure(name, tuple(parts), rng.uniform(6, 13))


def hangar(rng: np.random.Generator, length: float, width: float) -> Figure:
    """A hall under a barrel roof: strips that face more and more to the side."""
    paint = choose(rng, ((0.66, 0.68, 0.70), (0.50, 0.56, 0.54), (0.72, 0.66, 0.56)))
    parts = [Part(rectangle(length, width), paint, 0.1, solid=True)]
    strips = 8
    for i in range(strips):
        offset = (i + 0.5) / strips * 2 - 1
        strip = rectangle(length, width / strips, (0, offset * width / 2))
        side = math.copysign(math.pi / 2, offset)
        tone = 1 - 0.05 * (i % 2)
        slope = min(1.0, abs(offset) * 1.1)
        parts.append(Part(strip, lighter(paint, tone), 0.12, slope, facing_rad=side))
    return Figure("hangar", tuple(parts), rng.uniform(8, 11))


def tree(rng: np.random.Generator, radius: float) -> Figure:
    """A crown: clumps of leaves, lighter towards one side. Scenery, without a label."""
    green = choose(rng, ((0.17, 0.26, 0.12), (0.21, 0.30, 0.15), (0.25, 0.31, 0.16)), 0.03)
    parts = [Part(disc(radius * 0.9), lighter(green, 0.8), 1.2, solid=True)]
    for _ in range(4):
        angle = rng.uniform(0, 2 * math.pi)
        at = (0.45 * radius * math.cos(angle), 0.45 * radius * math.sin(angle))
        clump = disc(radius * rng.uniform(0.3, 0.55), at)
        tone = lighter(green, rng.uniform(0.85, 1.3))
        parts.append(Part(clump, tone, 1.5, 0.9, radius * 0.25, facing_rad=angle))
    return Figure("", tuple(parts), radius * 1.6)


def tennis_court(rng: np.random.Generator) -> Figure:
    """The field of play within its outer lines, on a surround that does not count."""
    surround = choose(rng, ((0.24, 0.40, 0.30), (0.50, 0.27, 0.20), (0.36, 0.40, 0.42)), 0.03)
    field = choose(rng, ((0.22, 0.36, 0.52), (0.25, 0.45, 0.33), (0.60, 0.34, 0.25)), 0.03)
    half, side, single = 11.89, 5.49, 4.11
    lines = [
        ((-half, -single), (half, -single)),
        ((-half, single), (half, single)),
        ((-6.4, -single), (-6.4, single)),
        ((6.4, -single), (6.4, single)),
        ((-6.4, 0), (6.4, 0)),
    ]
    parts = [
        Part(rectangle(34, 16.5), surround, 0.3),
        Part(rectangle(2 * half, 2 * side), WHITE, 0.05, solid=True),
        Part(rectangle(2 * half - 0.4, 2 * side - 0.4), field, 0.2),
        *_lines_of(lines, 0.14),
        Part(rectangle(0.25, 2 * side + 1.2), (0.2, 0.22, 0.22), 0),
    ]
    return Figure("tennis-court", tuple(parts))


def basketball_court(rng: np.random.Generator) -> Figure:
    """A court with its keys, centre circle and outer lines."""
    field = choose(rng, ((0.62, 0.40, 0.26), (0.45, 0.46, 0.47), (0.25, 0.42, 0.34)), 0.03)
    key = choose(rng, ((0.60, 0.24, 0.20), (0.22, 0.32, 0.50), field), 0.03)
    half, side = 14.0, 7.5
    parts = [
        Part(rectangle(2 * half, 2 * side), WHITE, 0.05, solid=True),
        Part(rectangle(2 * half - 0.4, 2 * side - 0.4), field, 0.25),
        Part(disc(1.9), WHITE, 0.05),
        Part(disc(1.6), field, 0.25),
    ]
    for end in (-1, 1):
        parts.append(Part(rectangle(5.9, 5.0, (end * (half - 2.95), 0)), WHITE, 0.05))
        parts.append(Part(rectangle(5.4, 4.5, (end * (half - 2.85), 0)), key, 0.2))
        parts.append(Part(rectangle(0.6, 1.8, (end * (half - 1.2), 0)), WHITE, 0))
    parts += _lines_of([((0, -side), (0, side))], 0.16)
    return Figure("basketball-court", tuple(parts))


def _lines_of(
    lines: Iterable[tuple[tuple[float, float], tuple[float, float]]], half_width: float
) -> list[Part]:
    return [Part(capsule(start, stop, half_width), WHITE, 0.05, 0.9) for start, stop in lines]


def swimming_pool(rng: np.random.Generator) -> Figure:
    """A garden pool with a light coping that does not count."""
    length, width = rng.uniform(7, 11), rng.uniform(3.6, 5)
    water = choose(rng, ((0.25, 0.62, 0.70), (0.20, 0.55, 0.68), (0.35, 0.68, 0.70)), 0.03)
    rounding = width * rng.choice([0.08, 0.3, 0.5])
    basin = rectangle(length, width, rounding=rounding)
    coping = dataclasses.replace(basin, radius=basin.radius + 0.9)
    depth = rectangle(length * 0.4, width * 0.6, (length * 0.18, 0), width * 0.2)
    parts = (
        Part(coping, (0.74, 0.70, 0.64), 0.2),
        Part(basin, water, 0.1, solid=True),
        Part(depth, lighter(water, 0.82), 0.1, 0.8, 1.0),
    )
    return Figure("swimming-pool", parts)


def container_stack(rng: np.random.Generator) -> Figure:
    """Rows of shipping containers. Scenery, without a label."""
    paints: tuple[Colour, ...] = (
        (0.55, 0.22, 0.16),
        (0.20, 0.32, 0.50),
        (0.30, 0.42, 0.32),
        (0.62, 0.52, 0.30),
        (0.66, 0.66, 0.66),
    )
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(1, 3))
    parts = [Part(rectangle(6.4 * columns, 2.7 * rows), (0.2, 0.2, 0.2), 0.1, solid=True)]
    for row in range(rows):
        for column in range(columns):
            if rng.random() < 0.9:
                at = ((column - (columns - 1) / 2) * 6.4, (row - (rows - 1) / 2) * 2.7)
                parts.append(Part(rectangle(6.1, 2.45, at), choose(rng, paints), 0.1))
    return Figure("", tuple(parts), rng.choice([2.6, 5.2]))
