"""An airfield: runway, taxiway, apron with parked aircraft, hangars, helipads, a fuel depot."""

from __future__ import annotations

import math
from functools import partial

from geomtp.data.scenes.figures import WHITE, Colour, Figure, Part, patch
from geomtp.data.scenes.movers import helicopter, large_vehicle, plane, small_vehicle
from geomtp.data.scenes.planner import Planner
from geomtp.data.scenes.shapes import disc, rectangle
from geomtp.data.scenes.structures import hangar, storage_tank, tree
from geomtp.data.scenes.town import ASPHALT, Block, car_park

APRON: Colour = (0.56, 0.56, 0.54)
TARMAC: Colour = (0.30, 0.30, 0.31)
YELLOW: Colour = (0.72, 0.58, 0.20)
BAND_M = 330.0


def airfield(plan: Planner) -> None:
    """Bands along u, repeated: the apron lies near the image's centre."""
    plan.ground = ((0.40, 0.43, 0.27), (0.47, 0.45, 0.32))[int(plan.rng.integers(2))]
    shift = plan.uniform(-75, 25)
    bands = math.ceil(plan.reach_m / BAND_M) + 1
    for band in range(-bands, bands + 1):
        v = shift + band * BAND_M
        if not plan.reaches(v - 170, v + 135):
            continue
        _strip(plan, v - 140, 32, TARMAC)
        _runway_marks(plan, v - 140)
        _strip(plan, v - 78, 14, TARMAC)
        _strip(plan, v - 78, 0.5, YELLOW)
        _strip(plan, v, 78, APRON)
        _joints(plan, v)
        _strip(plan, v + 92, 8, ASPHALT)
        _traffic(plan, v)
        _stands(plan, v)
        _buildings(plan, v + 62)


def _strip(plan: Planner, v: float, width: float, colour: Colour) -> None:
    reach = plan.reach_m + 40
    for i in range(math.ceil(2 * reach / 60)):
        plan.lay(patch(colour, 60.5, width, 0.7), -reach + 60 * i + 30, v)


def _runway_marks(plan: Planner, v: float) -> None:
    u = -plan.reach_m
    while u < plan.reach_m:
        plan.lay(patch(WHITE, 22, 0.9, 0.4), u, v)
        for edge in (-14.5, 14.5):
            plan.lay(patch(WHITE, 45, 0.9, 0.4), u, v + edge)
        u += 42


def _joints(plan: Planner, v: float) -> None:
    """The slabs of the concrete apron and the yellow lines that aircraft follow."""
    u = -plan.reach_m
    while u < plan.reach_m:
        plan.lay(patch((0.48, 0.48, 0.46), 0.3, 78, 0.4), u, v)
        for row in (-26, -13, 0, 13, 26):
            plan.lay(patch((0.48, 0.48, 0.46), 13, 0.3, 0.4), u + 6.5, v + row)
        u += 13


def _stands(plan: Planner, v: float) -> None:
    """Two rows of parked aircraft, now and then a helipad instead."""
    for row, heading in ((v + 18, math.pi / 2), (v - 18, -math.pi / 2)):
        u = -plan.reach_m + plan.uniform(0, 20)
        while u < plan.reach_m:
            if plan.chance(0.25):
                plan.lay(_helipad(), u + 9, row)
                if plan.chance(0.8):
                    plan.put(helicopter, u + 9, row, plan.uniform(0, 2 * math.pi))
                u += 20
                continue
            figure = plane(plan.rng)
            span = 2 * figure.frame_m()[3]
            turn = heading + plan.rng.normal(0, 0.06) + plan.rng.choice([0, 0, math.pi, 0.6])
            plan.lay(patch(YELLOW, 0.4, 34, 0.3), u + span / 2, row)
            if plan.chance(0.8):
                plan.stand(figure, u + span / 2, row + plan.uniform(-2, 2), turn, gap_m=0.8)
            u += span + plan.uniform(2, 6)
    if plan.chance(0.6):
        plan.put(plane, plan.uniform(-0.6, 0.6) * plan.reach_m, v - 78, gap_m=2)
    if plan.chance(0.5):
        turn = plan.rng.choice([0.0, math.pi])
        plan.put(plane, plan.uniform(-0.6, 0.6) * plan.reach_m, v - 140, turn)


def _helipad() -> Figure:
    parts = [Part(disc(8), WHITE, 0.2), Part(disc(7.4), (0.42, 0.43, 0.43), 0.6)]
    for across in (-1.8, 1.8):
        parts.append(Part(rectangle(6, 0.8, (0, across)), WHITE, 0.2))
    parts.append(Part(rectangle(0.8, 3.6), WHITE, 0.2))
    return Figure("", tuple(parts))


def _traffic(plan: Planner, v: float) -> None:
    """Ground vehicles: service lorries among the aircraft, cars on the road behind."""
    for _ in range(int(plan.reach_m / 9) + 2):
        spot = plan.uniform(-plan.reach_m, plan.reach_m), v + plan.uniform(-34, 34)
        turn = plan.rng.choice([0, 1, 2, 3]) * math.pi / 2 + plan.rng.normal(0, 0.2)
        vehicle = large_vehicle if plan.chance(0.4) else small_vehicle
        plan.put(vehicle, *spot, turn, gap_m=1.0)
    for _ in range(int(plan.reach_m / 12) + 1):
        lane = int(plan.rng.integers(2)) * 2 - 1
        spot = plan.uniform(-plan.reach_m, plan.reach_m), v + 92 + lane * 1.9
        turn = (0 if lane > 0 else math.pi) + plan.rng.normal(0, 0.03)
        vehicle = large_vehicle if plan.chance(0.3) else small_vehicle
        plan.put(vehicle, *spot, turn, gap_m=0.6)


def _buildings(plan: Planner, v: float) -> None:
    """Hangars, a car park or a fuel depot behind the apron; trees beyond the road."""
    u = -plan.reach_m - 10
    while u < plan.reach_m + 10:
        length, depth = plan.uniform(24, 42), plan.uniform(22, 36)
        kind = plan.rng.random()
        if kind < 0.5:
            plan.lay(patch(APRON, length + 4, 46, 0.8), u + length / 2, v)
            turn = plan.rng.choice([0.0, math.pi / 2]) if length < 34 else 0.0
            plan.put(partial(hangar, length=length, width=depth), u + length / 2, v, turn)
        elif kind < 0.65:
            car_park(plan, Block(u, u + length, v - 20, v + 20))
        else:
            radius = plan.uniform(3.5, 5)
            for i in range(2):
                for j in range(2):
                    spot = u + (i * 2.6 + 1.5) * radius, v + (j * 2.6 - 1.3) * radius
                    plan.put(partial(storage_tank, radius=radius), *spot, -plan.angle_rad)
        for _ in range(5):
            spot = u + plan.uniform(0, length), v + plan.uniform(38, 70)
            plan.put(partial(tree, radius=plan.uniform(1.5, 3.5)), *spot)
        u += length + plan.uniform(5, 10)
