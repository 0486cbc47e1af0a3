"""A harbour: basins with piers and ships; quays with tank farms, sheds, lorries and containers."""

from __future__ import annotations

import math
from functools import partial

from geomtp.data.scenes.figures import WHITE, Colour, Figure, Part, choose, patch
from geomtp.data.scenes.movers import large_vehicle, ship
from geomtp.data.scenes.planner import Planner
from geomtp.data.scenes.shapes import polygon
from geomtp.data.scenes.structures import container_stack, flat_building, storage_tank, tree
from geomtp.data.scenes.town import ASPHALT, Block

CONCRETE: Colour = (0.55, 0.54, 0.51)
WATERS: tuple[Colour, ...] = ((0.12, 0.22, 0.27), (0.14, 0.26, 0.26), (0.10, 0.18, 0.25))
LAND_M, BASIN_M = 120.0, 150.0


def harbour(plan: Planner) -> None:
    """Bands of land and basins in turn; the shore runs near the image's centre."""
    plan.ground = (0.44, 0.42, 0.37)
    water = choose(plan.rng, WATERS, 0.015)
    shift = plan.uniform(-25, 85)
    period = LAND_M + BASIN_M
    bands = math.ceil(plan.reach_m / period) + 1
    for band in range(-bands, bands + 1):
        shore = shift + band * period  # land above (v < shore), water below
        if plan.reaches(shore, shore + BASIN_M):
            _basin(plan, shore, water)
        if plan.reaches(shore - LAND_M, shore):
            _quay(plan, shore)


def _basin(plan: Planner, shore: float, water: Colour) -> None:
    reach = plan.reach_m + 60
    for u0 in _steps(-reach, reach, 60):  # by pieces, so that drawing stays linear in the area
        middle = shore + BASIN_M / 2
        plan.lay(patch(water, 60.5, BASIN_M, 0.35), u0 + 30, middle)
    u = -reach + plan.uniform(0, 50)
    while u < reach:
        width, length = plan.uniform(4, 9), plan.uniform(32, 62)
        plan.lay(patch((0.40, 0.39, 0.37), width + 1, length + 1, 0.8), u, shore + length / 2)
        plan.lay(patch(CONCRETE, width, length, 0.8), u, shore + length / 2)
        for side in (-1, 1):
            _moor(plan, u, side, width, shore + 4, shore + length)
        if plan.chance(0.4):
            turn = math.pi / 2 * plan.rng.choice([-1, 1])
            spot = shore + plan.uniform(0.2, 0.7) * length
            plan.put(large_vehicle, u, spot, turn, gap_m=0.1)
        u += plan.uniform(38, 64)
    _at_anchor(plan, shore)


def _moor(plan: Planner, u: float, side: int, width: float, v0: float, v1: float) -> None:
    """Ships along one side of a pier."""
    v = v0
    while v < v1 - 6:
        length = plan.uniform(8, 15) if plan.chance(0.7) else plan.uniform(20, 42)
        if plan.chance(0.72) and v + length < v1 + 8 and plan.sees(u, v + length / 2):
            figure = ship(plan.rng, length)
            beam = figure.frame_m()[3]
            at = u + side * (width / 2 + beam + 0.8)
            turn = math.pi / 2 * plan.rng.choice([-1, 1]) + plan.rng.normal(0, 0.02)
            plan.stand(figure, at, v + length / 2, turn, gap_m=0.3)
        v += length + plan.uniform(1, 4)


def _at_anchor(plan: Planner, shore: float) -> None:
    """Ships under way in the basin, some with a wake."""
    reach = plan.reach_m + 20
    count = int(reach * BASIN_M / 1800)
    for _ in range(count):
        u, v = plan.uniform(-reach, reach), shore + plan.uniform(45, BASIN_M - 25)
        length = plan.uniform(8, 15) if plan.chance(0.6) else plan.uniform(22, 55)
        turn = plan.uniform(-math.pi, math.pi)
        half, tail = length / 2, length * plan.uniform(1.5, 3)
        stern = v - math.sin(turn) * (half + tail)
        under_way = shore < stern < shore + BASIN_M and plan.chance(0.6)
        if plan.put(partial(ship, length=length), u, v, turn, gap_m=2.0) and under_way:
            foam = polygon(
                (-half * 0.8, 0), (-half - tail, tail * 0.1), (-half - tail, -tail * 0.1)
            )
            part = Part(foam, (0.62, 0.68, 0.70), 2.0, 0.35, blur_m=2.0)
            plan.lay(Figure("", (part,)), u, v, turn)


def _quay(plan: Planner, shore: float) -> None:
    """The land behind one shore: a paved strip with lorries, then plots."""
    reach = plan.reach_m + 40
    for u0 in _steps(-reach, reach, 40):
        plan.lay(patch(CONCRETE, 40.5, 22, 0.9), u0 + 20, shore - 11)
        plan.lay(patch((0.36, 0.35, 0.33), 40.5, 0.8, 0.4), u0 + 20, shore - 0.4)
        plan.lay(patch(ASPHALT, 40.5, 9, 0.7), u0 + 20, shore - 26)
        plan.lay(patch(WHITE, 40.5, 0.2, 0.2), u0 + 20, shore - 26)
    u = -reach
    while u < reach:
        if plan.chance(0.5):
            turn = plan.rng.choice([0.0, math.pi]) + plan.rng.normal(0, 0.03)
            lane = shore - plan.rng.choice([23.8, 28.2])
            plan.put(large_vehicle, u, lane, turn, gap_m=0.5)
        kind = plan.rng.random()
        if kind < 0.3:
            turn = plan.rng.choice([0.0, math.pi / 2])
            plan.put(container_stack, u, shore - plan.uniform(9, 15), turn)
        elif kind < 0.5:
            turn = plan.uniform(-math.pi, math.pi)
            plan.put(large_vehicle, u, shore - plan.uniform(8, 15), turn)
        u += plan.uniform(14, 24)
    u = -reach
    while u < reach:
        length = plan.uniform(38, 62)
        plot = Block(u, u + length, shore - LAND_M + 4, shore - 33)
        (tank_farm if plan.chance(0.55) else sheds)(plan, plot)
        u += length + 5


def tank_farm(plan: Planner, plot: Block) -> None:
    """Tanks in a grid, two sizes, each group within a low wall."""
    radius = plan.uniform(4.5, 11)
    step = 2 * radius + plan.uniform(3.5, 7)
    v = plot.v1 - step / 2
    while v > plot.v0 + step / 2:
        u = plot.u0 + step / 2
        while u < plot.u1 - step / 3:
            plan.lay(patch((0.50, 0.47, 0.41), step - 1.2, step - 1.2, 0.8), u, v)
            if plan.chance(0.82):
                small = radius * (plan.uniform(0.55, 0.7) if plan.chance(0.25) else 1.0)
                # a disc has no heading: the frame's own is taken back, so that its box is upright
                plan.put(partial(storage_tank, radius=small), u, v, -plan.angle_rad, gap_m=0.3)
            u += step
        v -= step


def sheds(plan: Planner, plot: Block) -> None:
    """Warehouses one behind the other, containers and trees between."""
    v = plot.v1 - 2
    while v > plot.v0 + 16:
        depth = plan.uniform(14, 22)
        length = plot.length * plan.uniform(0.5, 0.85)
        shed = partial(flat_building, length=length, width=depth)
        if plan.chance(0.85):
            plan.put(shed, plot.centre[0] + plan.uniform(-3, 3), v - depth / 2)
        for _ in range(4):
            spot = plan.uniform(plot.u0, plot.u1), v - depth - plan.uniform(2, 8)
            turn = plan.rng.choice([0.0, math.pi / 2])
            if plan.chance(0.5):
                plan.put(container_stack, *spot, turn)
            else:
                plan.put(partial(tree, radius=plan.uniform(1.5, 3)), *spot)
        v -= depth + plan.uniform(9, 14)


def _steps(start: float, stop: float, step: float) -> list[float]:
    return [start + i * step for i in range(math.ceil((stop - start) / step))]
