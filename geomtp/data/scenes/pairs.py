"""Two dates of one place: what was built or removed between them, and what only looks different."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geomtp.data.scenes.canvas import Light, mark
from geomtp.data.scenes.scene import GSD_M, photograph, plan_scene

PERMANENT = (
    "building",
    "hangar",
    "storage-tank",
    "tennis-court",
    "basketball-court",
    "swimming-pool",
)


@dataclass(frozen=True)
class ChangePair:
    """One place on two dates.

    - before, after: (H, W, 3) uint8, RGB
    - change: (H, W) bool, pixels of what was built or removed
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]
    change: NDArray[np.bool_]


def change_pair(
    kind: str, size_px: int, seed: int, *, changed: float = 0.3, gsd_m: float = GSD_M
) -> ChangePair:
    """A pair of pictures of one place, the same for the same arguments.

    A share ``changed`` of the permanent figures (``PERMANENT``) stands on one date only and makes
    the change map. Vehicles, ships and aircraft come and go, light, haze, blur and noise differ:
    none of that counts. Raises ValueError listing the known kinds.
    """
    rng = np.random.default_rng(seed)
    plan = plan_scene(kind, (size_px, size_px), rng, gsd_m)
    change = np.zeros(plan.size_hw, dtype=bool)
    dates: tuple[list[bool], list[bool]] = ([], [])
    for placement in plan.placements:
        name, draws = placement.figure.name, rng.random(2)
        here = (True, True)
        if name in PERMANENT and draws[0] < changed:
            mark(change, placement.figure, placement.pose, 1 / gsd_m, True)
            here = (True, False) if draws[1] < 0.5 else (False, True)
        elif name and name not in PERMANENT:
            here = (bool(draws[0] < 0.6), bool(draws[1] < 0.6))
        for date, present in zip(dates, here, strict=True):
            date.append(present)
    images = []
    for date in dates:
        stays = tuple(p for p, present in zip(plan.placements, date, strict=True) if present)
        light = Light.draw(rng)
        images.append(photograph(dataclasses.replace(plan, placements=stays), (), light, rng).image)
    return ChangePair(images[0], images[1], change)
