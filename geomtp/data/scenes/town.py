"""A town: streets in a turned grid; blocks of houses, car parks, sports grounds and halls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from geomtp.data.scenes.figures import WHITE, Colour, patch
from geomtp.data.scenes.movers import large_vehicle, small_vehicle
from geomtp.data.scenes.planner import Planner
from geomtp.data.scenes.structures import (
    basketball_court,
    flat_building,
    house,
    swimming_pool,
    tennis_court,
    tree,
)

ASPHALT: Colour = (0.34, 0.34, 0.35)
PAVEMENT: Colour = (0.58, 0.57, 0.54)
GRASSES: tuple[Colour, ...] = (
    (0.33, 0.38, 0.22),
    (0.40, 0.42, 0.26),
    (0.29, 0.35, 0.20),
    (0.46, 0.43, 0.31),
)

MIX = {"houses": 0.46, "car_park": 0.2, "sports_ground": 0.2, "halls": 0.14}


@dataclass(frozen=True)
class Block:
    """A rectangle of the frame between streets, in metres."""

    u0: float
    u1: float
    v0: float
    v1: float

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle."""
        return (self.u0 + self.u1) / 2, (self.v0 + self.v1) / 2

    @property
    def length(self) -> float:
        """Its extent along u."""
        return self.u1 - self.u0

    @property
    def width(self) -> float:
        """Its extent along v."""
        return self.v1 - self.v0


def town(plan: Planner, mix: Mapping[str, float] = MIX) -> None:
    """Lay out streets and blocks over the whole plan; ``mix`` weighs what fills the blocks."""
    plan.ground = GRASSES[int(plan.rng.integers(len(GRASSES)))]
    us, vs = plan.lines(52, 85), plan.lines(44, 62)
    street = 8.0
    for u0, u1 in pairwise(us):
        for v0, v1 in pairwise(vs):
            half = street / 2 + 1.6
            block = Block(u0 + half, u1 - half, v0 + half, v1 - half)
            if math.hypot(*block.centre) < plan.reach_m + 60:
                _streets(plan, u0, u1, v0, v1, street)
                fill = BLOCKS[str(plan.rng.choice(list(mix), p=list(mix.values())))]
                fill(plan, block)


def _streets(plan: Planner, u0: float, u1: float, v0: float, v1: float, width: float) -> None:
    """The streets along the upper and the left side of a block, with their traffic."""
    for turn, start, stop, at in ((0.0, u0, u1, v0), (math.pi / 2, v0, v1, u0)):
        middle, length = (start + stop) / 2, stop - start
        place = (middle, at) if turn == 0 else (at, middle)
        plan.lay(patch(PAVEMENT, length - width, width + 3.2, 0.6), *place, turn)
        plan.lay(patch(ASPHALT, length + width, width, 0.7), *place, turn)
        dash = start + width
        while dash < stop - width:
            dashed = (dash, at) if turn == 0 else (at, dash)
            plan.lay(patch(WHITE, 2.0, 0.22, 0.2), *dashed, turn)
            dash += 5.0
        for _ in range(int(plan.rng.integers(0, 4))):
            lane = int(plan.rng.integers(2)) * 2 - 1
            along, across = plan.uniform(start, stop), at + lane * plan.uniform(1.7, 2.4)
            spot = (along, across) if turn == 0 else (across, along)
            vehicle = large_vehicle if plan.chance(0.18) else small_vehicle
            heading = turn + (0 if lane > 0 else math.pi) + plan.rng.normal(0, 0.03)
            plan.put(vehicle, *spot, heading, gap_m=0.8)


def houses(plan: Planner, block: Block) -> None:
    """Two rows of houses back to back, with gardens, pools, drives and trees."""
    for side in (-1, 1):
        row = block.centre[1] + side * (block.width / 2 - plan.uniform(7.5, 9.5))
        at = block.u0 + plan.uniform(7, 10)
        while at < block.u1 - 6:
            lot = plan.uniform(16, 21)
            garden = GRASSES[int(plan.rng.integers(len(GRASSES)))]
            depth = block.width / 2 - 0.6
            plan.lay(
                patch(garden, lot - 0.5, depth, 1.3), at, block.centre[1] + side * block.width / 4
            )
            turn = plan.rng.normal(0, 0.04) + (0 if side > 0 else math.pi)
            plan.put(house, at, row + plan.uniform(-1, 1), turn, gap_m=0.8)
            if plan.chance(0.65):
                drive = at + lot / 2 - 1.9
                edge = block.centre[1] + side * (block.width / 2 - 3.6)
                plan.lay(patch(PAVEMENT, 3.0, 7.2, 0.5), drive, edge)
                if plan.chance(0.75):
                    heading = math.pi / 2 + plan.rng.normal(0, 0.05)
                    plan.put(small_vehicle, drive, edge, heading, gap_m=0.1)
            back = block.centre[1] + side * plan.uniform(3.5, 7.5)
            if plan.chance(0.4):
                heading = plan.rng.choice([0.0, math.pi / 2]) + plan.rng.normal(0, 0.1)
                plan.put(swimming_pool, at + plan.uniform(-3, 3), back, heading)
            _trees_around(plan, at, back, lot / 2, 4, count=3)
            at += lot


def _trees_around(
    plan: Planner, u: float, v: float, spread_u: float, spread_v: float, count: int
) -> None:
    for _ in range(count):
        spot = u + plan.uniform(-spread_u, spread_u), v + plan.uniform(-spread_v, spread_v)
        plan.put(partial(tree, radius=plan.uniform(1.3, 3.4)), *spot, gap_m=0.2)


def car_park(plan: Planner, block: Block, busy: float = 0.6) -> None:
    """Rows of stalls with cars, a few lorries along one side."""
    plan.lay(patch(ASPHALT, block.length, block.width, 0.8), *block.centre)
    stall, depth, aisle = 2.7, 5.3, 6.2
    row = block.v0 + 1 + depth / 2
    down = 1
    while row + depth / 2 < block.v1 - 0.5:
        lorries = plan.chance(0.14)
        step = 4.2 if lorries else stall
        at = block.u0 + 2.5
        while at < block.u1 - 2.5:
            if not lorries:
                plan.lay(patch(WHITE, 0.16, depth, 0.2), at - step / 2, row)
            if plan.chance(busy):
                turn = down * math.pi / 2 + plan.rng.normal(0, 0.03)
                if plan.chance(0.4):
                    turn += math.pi
                vehicle = large_vehicle if lorries else small_vehicle
                plan.put(vehicle, at, row + plan.uniform(-0.3, 0.3), turn, gap_m=0.1)
            at += step
        row += aisle + depth if down > 0 else depth + 0.4
        down = -down


def sports_ground(plan: Planner, block: Block) -> None:
    """Tennis or basketball courts side by side on grass, trees around."""
    tennis = plan.chance(0.5)
    across, along = (17.5, 36.0) if tennis else (20.0, 33.0)
    upright = plan.chance(0.5)
    step_u, step_v = (across, along) if upright else (along, across)
    count_u, count_v = max(1, int(block.length / step_u)), max(1, int(block.width / step_v))
    skew = plan.rng.normal(0, 0.03)
    for i in range(count_u):
        for j in range(count_v):
            u = block.centre[0] + (i - (count_u - 1) / 2) * step_u
            v = block.centre[1] + (j - (count_v - 1) / 2) * step_v
            turn = (math.pi / 2 if upright else 0.0) + skew
            if plan.chance(0.85):
                court = tennis_court if tennis else basketball_court
                plan.put(court, u, v, turn, gap_m=0.2)
    _trees_around(plan, *block.centre, block.length / 2, block.width / 2, count=14)


def halls(plan: Planner, block: Block) -> None:
    """One or two large flat roofs on a paved yard, lorries at the docks, cars beside."""
    plan.lay(patch((0.46, 0.45, 0.43), block.length, block.width, 0.9), *block.centre)
    length = block.length * plan.uniform(0.35, 0.6)
    width = block.width * plan.uniform(0.35, 0.5)
    u, v = block.u0 + length / 2 + 3, block.v0 + width / 2 + 3
    plan.put(partial(flat_building, length=length, width=width), u, v)
    at = block.u0 + 4.0
    while at < block.u0 + length:
        if plan.chance(0.55):
            turn = math.pi / 2 * plan.rng.choice([-1, 1]) + plan.rng.normal(0, 0.02)
            plan.put(large_vehicle, at, v + width / 2 + 10, turn, gap_m=0.3)
        at += 4.4
    yard = Block(block.u0 + length + 6, block.u1, block.v0, block.v1)
    if yard.length > 12:
        car_park(plan, yard, busy=0.4)


BLOCKS: dict[str, Callable[[Planner, Block], None]] = {
    "houses": houses,
    "car_park": car_park,
    "sports_ground": sports_ground,
    "halls": halls,
}
