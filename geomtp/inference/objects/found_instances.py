"""Masks of single windows, and how the instances of a whole scene are made of them.

An object that fits between two windows is seen whole by the one in whose cell its middle lies. A
larger one (a runway, a row of houses) is cut by all of them. So all masks that windows cut off are
kept, and those of neighbouring windows are taken for one object when they agree where both windows
look. Of such a group one that is not cut off is taken as it is; else all are joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from geomtp.geometry import mask_boxes, polygons_from_mask
from geomtp.inference.objects.found_objects import near_cell
from geomtp.inference.objects.pieces import agreeing_pairs, connected
from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.inference.windows.blocks import Window
from geomtp.types import Predictions


@dataclass(frozen=True)
class FoundInstances:
    """What windows found, with doubles and pieces.

    - polygons: (N,) shapely polygons or multi-polygons, scene pixels
    - scores (N,), labels (N,)
    - own: (N,) whether the middle lies in the window's cell
    - whole: (N,) whether no side of the window cuts it off (a border of the scene does not count)
    - seen_xyxy: (N, 4) what the window sees, scene pixels
    """

    polygons: NDArray[Any]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    own: NDArray[np.bool_]
    whole: NDArray[np.bool_]
    seen_xyxy: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The fields by name, to be stored; polygons as well-known binary, one after the other."""
        texts = [shapely.to_wkb(polygon) for polygon in self.polygons]
        return {
            **{name: values for name, values in vars(self).items() if name != "polygons"},
            "wkb": np.frombuffer(b"".join(texts), dtype=np.uint8),
            "wkb_lengths": np.array([len(text) for text in texts], dtype=np.int64),
        }

    @staticmethod
    def of_columns(columns: Mapping[str, NDArray[Any]]) -> FoundInstances:
        """The inverse of ``columns``."""
        others = {name: values for name, values in columns.items() if not name.startswith("wkb")}
        ends = np.cumsum(columns["wkb_lengths"]).tolist()
        data = columns["wkb"].tobytes()
        starts = [0, *ends[:-1]]
        texts = [data[start:end] for start, end in zip(starts, ends, strict=False)]
        return FoundInstances(polygons=_array(shapely.from_wkb(texts)), **others)

    @staticmethod
    def joined(parts: Sequence[FoundInstances]) -> FoundInstances:
        """All of ``parts``."""
        empty = np.zeros(0)
        nothing = FoundInstances(
            empty.astype(object),
            empty,
            empty.astype(np.int64),
            empty.astype(bool),
            empty.astype(bool),
            np.zeros((0, 4)),
        )
        names = vars(nothing)
        every = [nothing, *parts]
        return FoundInstances(*(np.concatenate([getattr(p, n) for p in every]) for n in names))


def instances_in_window(
    found: Predictions, window: Window, factor: float, ramp: float, least: float
) -> FoundInstances:
    """The masks of a window that are its own, or pieces of what may be: arguments as of boxes."""
    assert found.masks is not None
    assert found.box_scores is not None
    assert found.box_labels is not None
    boxes = mask_boxes(found.masks)
    chosen = (found.box_scores >= least) & (boxes[:, 2] > boxes[:, 0])
    boxes, masks = boxes[chosen], found.masks[chosen]
    shift = np.array(window.origin_xy)
    polygons = [_outline(mask, box, shift, factor) for mask, box in zip(masks, boxes, strict=True)]
    height, width = window.size_hw
    left, top, right, bottom = window.inner_edges
    x1, y1, x2, y2 = boxes.unbind(dim=1)  # a mask that ends at the last pixel but one is cut, too
    cut = (
        (x1 <= 1) & left | (y1 <= 1) & top | (x2 >= width - 1) & right | (y2 >= height - 1) & bottom
    )
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2 + boxes.new_tensor(shift.tolist())) / factor
    own, near = near_cell(middles.double(), window, ramp)
    kept = (near | cut).numpy()
    seen = np.concatenate([shift, shift + np.array([width, height])]) / factor
    return FoundInstances(
        polygons=_array(polygons)[kept],
        scores=found.box_scores[chosen].double().numpy()[kept],
        labels=found.box_labels[chosen].long().numpy()[kept],
        own=own.numpy()[kept],
        whole=~cut.numpy()[kept],
        seen_xyxy=np.repeat(seen[None], kept.sum(), axis=0),
    )


def instances_of_scene(found: FoundInstances, iou: float) -> SceneObjects:
    """Each instance once, by falling score.

    ``iou``: from which masks of a class are one object, counted where both windows look.
    """
    pairs = agreeing_pairs(found.polygons, found.labels, found.seen_xyxy, iou)
    groups = connected(len(found.scores), pairs)
    merged = [_merged(found, group) for group in groups]
    scores = np.array([found.scores[group].max() for group in groups], dtype=np.float64)
    labels = np.array([found.labels[group[0]] for group in groups], dtype=np.int64)
    order = np.argsort(-scores, kind="stable")
    return SceneObjects(
        scores=scores[order], labels=labels[order], polygons=tuple(merged[i] for i in order)
    )


def _outline(mask: Any, box: Any, shift: NDArray[Any], factor: float) -> Any:
    """The polygon of a mask (h, w) inside its ``box``, scene pixels."""
    x1, y1, x2, y2 = (int(edge) for edge in box)
    corner = shift + np.array([x1, y1])
    parts = [
        shapely.polygons(outer, holes=[shapely.linearrings(hole) for hole in holes] or None)
        for outer, *holes in polygons_from_mask(mask[y1:y2, x1:x2])
    ]
    whole = parts[0] if len(parts) == 1 else shapely.multipolygons(parts)
    return shapely.transform(whole, lambda points: (points + corner) / factor)


def _merged(found: FoundInstances, group: list[int]) -> Any:
    whole = [i for i in group if found.whole[i]]
    if whole:
        best = max(whole, key=lambda i: (bool(found.own[i]), float(found.scores[i])))
        return found.polygons[best]
    return shapely.union_all(found.polygons[group])


def _array(polygons: Sequence[Any] | NDArray[Any]) -> NDArray[Any]:
    """(N,) objects, also where there are none."""
    array = np.empty(len(polygons), dtype=object)
    array[:] = polygons
    return array
