"""Land without objects: farmland and forest, for scene classes and for negative images."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from itertools import pairwise

from geomtp.data.scenes.figures import Colour, Figure, choose, patch
from geomtp.data.scenes.planner import Planner
from geomtp.data.scenes.structures import tree

CROPS: tuple[Colour, ...] = (
    (0.36, 0.42, 0.22),
    (0.52, 0.49, 0.30),
    (0.44, 0.35, 0.26),
    (0.28, 0.37, 0.19),
    (0.58, 0.53, 0.38),
    (0.40, 0.44, 0.30),
)
TRACK: Colour = (0.55, 0.50, 0.41)


def farmland(plan: Planner) -> None:
    """Rectangular fields with furrows, tracks and hedges between them."""
    plan.ground = (0.40, 0.40, 0.25)
    us, vs = plan.lines(35, 110), plan.lines(25, 70)
    for u0, u1 in pairwise(us):
        for v0, v1 in pairwise(vs):
            middle = (u0 + u1) / 2, (v0 + v1) / 2
            if math.hypot(*middle) < plan.reach_m + 70:
                plan.lay(_field(plan, u1 - u0 - 2.4, v1 - v0 - 2.4), *middle)
        if plan.chance(0.3):
            for v0, v1 in pairwise(vs):
                plan.lay(patch(TRACK, v1 - v0 + 1, 3.5, 0.8), u0, (v0 + v1) / 2, math.pi / 2)
        elif plan.chance(0.4):
            for v in plan.lines(4, 15):
                plan.put(partial(tree, radius=plan.uniform(1.2, 2.8)), u0 + plan.uniform(-1, 1), v)


def _field(plan: Planner, length: float, width: float) -> Figure:
    figure = patch(choose(plan.rng, CROPS, 0.03), length, width, plan.uniform(0.6, 1.2))
    furrows = float(plan.rng.choice([0.0, 1.6, 2.4, 4.0]))
    (part,) = figure.parts
    return Figure("", (dataclasses.replace(part, stripes_m=furrows),))


def forest(plan: Planner) -> None:
    """Crowns close together, a clearing now and then."""
    plan.ground = (0.20, 0.25, 0.13)
    step = 5.0
    rows, columns = math.ceil(plan.height_m / step) + 1, math.ceil(plan.width_m / step) + 1
    for row in range(rows):
        for column in range(columns):
            if plan.chance(0.92):
                x, y = column * step - plan.width_m / 2, row * step - plan.height_m / 2
                x, y = x + plan.uniform(-1.6, 1.6), y + plan.uniform(-1.6, 1.6)
                cos, sin = math.cos(plan.angle_rad), math.sin(plan.angle_rad)
                figure = tree(plan.rng, plan.uniform(2.0, 3.8))
                plan.lay(figure, cos * x + sin * y, cos * y - sin * x, plan.uniform(0, 6))
