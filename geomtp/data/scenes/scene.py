"""Scenes: an overhead picture with exact rotated boxes, masks and a semantic map."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.data.scenes.airfield import airfield
from geomtp.data.scenes.canvas import Canvas, Light
from geomtp.data.scenes.countryside import farmland, forest
from geomtp.data.scenes.harbour import harbour
from geomtp.data.scenes.planner import Placement, Planner
from geomtp.data.scenes.shapes import minimum_box
from geomtp.data.scenes.town import town
from geomtp.geometry import regularise
from geomtp.types import ClassMap, SizeHW

KINDS: dict[str, Callable[[Planner], None]] = {
    "harbour": harbour,
    "airfield": airfield,
    "town": town,
    "residential": partial(town, mix={"houses": 1.0}),
    "parking": partial(town, mix={"car_park": 1.0}),
    "farmland": farmland,
    "forest": forest,
}

GSD_M = 0.25

CLASSES: dict[str, ClassMap] = {
    "harbour": ClassMap(("ship", "storage-tank", "building", "vehicle")),
    "airfield": ClassMap(("aircraft", "vehicle", "building", "storage-tank")),
    "town": ClassMap(("vehicle", "building", "court", "swimming-pool")),
}

GROUPS = {
    "small-vehicle": "vehicle",
    "large-vehicle": "vehicle",
    "plane": "aircraft",
    "helicopter": "aircraft",
    "hangar": "building",
    "tennis-court": "court",
    "basketball-court": "court",
}
"""Figures that may also go by a wider name; a list of classes can hold either."""


@dataclass(frozen=True)
class Scene:
    """A drawn scene.

    - image: (H, W, 3) uint8, RGB
    - rboxes: (N, 5) float32, cx cy w h pixels, angle radians (le90): the minimum-area box of the
      object's whole outline, also where the image's border cuts the object
    - labels: (N,) int64, 0…K−1 into ``classes``
    - instances: (H, W) int32, 0 for none, i+1 for object i: pixels whose centre lies inside it
    - classes: class names in order
    """

    image: NDArray[np.uint8]
    rboxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    instances: NDArray[np.int32]
    classes: tuple[str, ...]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W): the visible pixels of each object."""
        numbers = np.arange(1, len(self.labels) + 1, dtype=np.int32)
        masks: NDArray[np.bool_] = self.instances[None] == numbers[:, None, None]
        return masks

    @property
    def semantic(self) -> NDArray[np.uint8]:
        """(H, W): 0 background, k+1 for class k."""
        values = np.concatenate([[0], self.labels + 1]).astype(np.uint8)
        return values[self.instances]


@dataclass(frozen=True)
class Plan:
    """What stands where, before light and camera."""

    size_hw: SizeHW
    gsd_m: float
    ground: tuple[float, float, float]
    placements: tuple[Placement, ...]


def plan_scene(kind: str, size_hw: SizeHW, rng: np.random.Generator, gsd_m: float = GSD_M) -> Plan:
    """A random plan of this kind. Raises ValueError listing the known kinds."""
    if kind not in KINDS:
        raise ValueError(f"unknown kind of scene {kind!r}; known: {', '.join(sorted(KINDS))}")
    planner = Planner(size_hw, gsd_m, rng)
    KINDS[kind](planner)
    placements = tuple(sorted(planner.placements, key=lambda p: p.figure.height_m))
    return Plan(size_hw, gsd_m, planner.ground, placements)


def photograph(plan: Plan, classes: Sequence[str], light: Light, rng: np.random.Generator) -> Scene:
    """Draw ``plan`` under ``light``; figures whose name is in ``classes`` become objects."""
    canvas = Canvas(plan.size_hw, 1 / plan.gsd_m, light, rng)
    canvas.fill(plan.ground)
    objects: list[Placement] = []
    for placement in plan.placements:
        named = _class_of(placement.figure.name, classes) is not None
        if named:
            objects.append(placement)
        canvas.draw(placement.figure, placement.pose, len(objects) if named else 0)
    image = canvas.photograph(rng)
    pixels = np.bincount(canvas.instances.reshape(-1), minlength=len(objects) + 1)
    seen = np.flatnonzero(pixels[1:] > 0)
    renumbered = np.zeros(len(objects) + 1, dtype=np.int32)
    renumbered[seen + 1] = np.arange(1, len(seen) + 1)
    kept = [objects[i] for i in seen]
    names = [_class_of(placement.figure.name, classes) for placement in kept]
    labels = np.array([classes.index(name) for name in names if name], dtype=np.int64)
    instances = renumbered[canvas.instances]
    return Scene(image, _rboxes(kept, plan.gsd_m), labels, instances, tuple(classes))


def _class_of(figure: str, classes: Sequence[str]) -> str | None:
    """The name in ``classes`` that a figure goes by: its own or that of its group."""
    names = (figure, GROUPS.get(figure, figure))
    return next((name for name in names if name in classes), None)


def _rboxes(placements: Sequence[Placement], gsd_m: float) -> NDArray[np.float32]:
    boxes = []
    for placement in placements:
        pose = placement.pose
        outline = placement.figure.outline
        placed = [s.moved(pose.x, pose.y, pose.angle_rad, 1 / gsd_m) for s in outline]
        boxes.append(minimum_box(placed))
    rboxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 5)
    regular: NDArray[np.float32] = regularise(rboxes).numpy()
    return regular


def draw_scene(
    kind: str,
    size_px: int,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
    gsd_m: float = GSD_M,
) -> Scene:
    """A square scene of this kind: the same bytes for the same arguments and numpy version.

    ``classes`` names what becomes an object, in the order of the ids (by default the list of the
    kind in ``CLASSES``, none for kinds without one); other things are drawn all the same.
    Raises ValueError listing the known kinds.
    """
    return large_scene(kind, (size_px, size_px), seed, classes=classes, gsd_m=gsd_m)


def large_scene(
    kind: str,
    size_hw: SizeHW,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
    gsd_m: float = GSD_M,
) -> Scene:
    """As ``draw_scene`` for any size; time and memory grow with the area, not faster."""
    if classes is None:
        classes = CLASSES[kind].names if kind in CLASSES else ()
    rng = np.random.default_rng(seed)
    plan = plan_scene(kind, size_hw, rng, gsd_m)
    return photograph(plan, classes, Light.draw(rng), rng)
