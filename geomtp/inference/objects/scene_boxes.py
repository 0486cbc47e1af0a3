"""The boxes of a whole scene made of those of its windows.

What several windows found is suppressed across windows. An object that is longer than what two
windows both see may be cut off by every window, and each says a box of what it sees of it. Pieces
of neighbouring windows are taken for one object when they agree where both windows look, and only
when no window can have seen it whole: otherwise the one that did is believed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray

from geomtp.geometry import (
    minimum_area_rbox,
    quads_from_rboxes,
    rboxes_from_boxes,
    regularise,
    sweep_nms,
)
from geomtp.inference.objects.found_objects import FoundObjects
from geomtp.inference.objects.pieces import agreeing_pairs, connected
from geomtp.inference.objects.scene_objects import SceneObjects

_AGREE_IOU = 0.3  # of two boxes of it, where both windows look
_FILLED = 0.5  # least share of the joined box that its pieces fill: they lie in one line
_COVERED = 0.5  # share of a piece inside a joined box from which it is of that object
_AT_ONCE = 1 << 16


def boxes_of_scene(found: FoundObjects, iou: float) -> SceneObjects:
    """Each object once: rotated or horizontal boxes, by falling score.

    Of boxes of a class that overlap more than ``iou``, the surer one stays; but a window's own
    object goes before any that another window saw from aside. Pieces of long objects are joined.
    """
    found = _with_joined_pieces(found)
    boxes = torch.from_numpy(found.boxes)
    rotated = boxes.shape[1] == 5
    rank = torch.from_numpy(found.scores + found.own)
    rboxes = boxes if rotated else rboxes_from_boxes(boxes)
    kept = sweep_nms(rboxes, rank, iou, torch.from_numpy(found.labels)).numpy()
    kept = kept[np.argsort(-found.scores[kept], kind="stable")]
    return SceneObjects(
        scores=found.scores[kept],
        labels=found.labels[kept],
        rboxes_cxcywha=found.boxes[kept] if rotated else None,
        boxes_xyxy=None if rotated else found.boxes[kept],
    )


def _with_joined_pieces(found: FoundObjects) -> FoundObjects:
    """The boxes near the cells of their windows, long ones in one piece.

    A piece that agrees with a whole box goes; pieces that agree with each other become one box, the
    smallest around them, with the score of the surest; all others stay as they are.
    """
    pieces = np.flatnonzero(found.cut)
    kept = found.near.copy()
    if not len(pieces):
        return found.chosen(kept)
    outlines = _outlines(found.boxes[pieces])
    wholes = _meeting(found, shapely.STRtree(outlines))
    rows = np.concatenate([pieces, wholes])
    pairs = agreeing_pairs(
        np.concatenate([outlines, _outlines(found.boxes[wholes])]),
        found.labels[rows],
        found.seen_xyxy[rows],
        _AGREE_IOU,
    )
    pairs = pairs[pairs[:, 0] < len(pieces)]  # pieces come first in rows, and in each pair
    beaten = np.zeros(len(rows), dtype=bool)
    beaten[pairs[pairs[:, 1] >= len(pieces), 0]] = True
    kept[rows[beaten]] = False
    among = pairs[(pairs[:, 1] < len(pieces)) & ~beaten[pairs].any(axis=1)]
    joined = []
    for group in connected(len(pieces), among):
        if len(group) == 1:
            continue
        part = found.chosen(pieces[group])
        box = _joined_box(part, outlines[group])
        if box is not None:
            joined.append(_as_found(box, part))
            kept[pieces[group]] = False
    everything = FoundObjects.joined(joined, found.boxes.shape[1])
    _drop_covered(found, pieces, outlines, everything, kept)
    return FoundObjects.joined([found.chosen(kept), everything], found.boxes.shape[1])


def _meeting(found: FoundObjects, pieces: shapely.STRtree) -> NDArray[np.int64]:
    """The whole boxes that touch a piece."""
    wholes = np.flatnonzero(~found.cut)
    met = [wholes[:0]]
    for start in range(0, len(wholes), _AT_ONCE):
        some = wholes[start : start + _AT_ONCE]
        touching = pieces.query(_outlines(found.boxes[some]), predicate="intersects")[0]
        met.append(some[np.unique(touching)])
    return np.concatenate(met)


def _joined_box(part: FoundObjects, outlines: NDArray[Any]) -> NDArray[np.float64] | None:
    """The box around pieces of one object; None where they may be no such pieces."""
    union = shapely.union_all(outlines)
    left, top, right, bottom = shapely.bounds(union)
    if max(right - left, bottom - top) <= _seen_twice(part.seen_xyxy):
        return None
    if part.boxes.shape[1] == 4:
        box, area = np.array([left, top, right, bottom]), (right - left) * (bottom - top)
    else:
        box, area = _drawn_out(part.boxes, shapely.get_coordinates(outlines))
    return box if shapely.area(union) >= _FILLED * area else None


def _drawn_out(
    rboxes: NDArray[np.float64], corners: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """The rotated box of pieces (N, 5) with these corners; the area of what is around them.

    Its direction is that of the smallest rectangle around all, its length reaches over all; but it
    lies and is wide as the largest piece: smaller ones may be cut along the object, and where a
    border cuts obliquely, the boxes of tips stick out.
    """
    around = minimum_area_rbox(torch.from_numpy(corners)).numpy()
    angle = around[4]
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    reach = corners @ along
    x, y, w, h, turned = rboxes[(rboxes[:, 2] * rboxes[:, 3]).argmax()]
    centre = along * (reach.min() + reach.max()) / 2 + across * (across @ (x, y))
    width = h if abs(np.cos(turned - angle)) > 0.5**0.5 else w
    box = np.array([*centre, np.ptp(reach), width, angle])
    return regularise(torch.from_numpy(box[None]))[0].numpy(), float(around[2] * around[3])


def _seen_twice(seen_xyxy: NDArray[np.float64]) -> float:
    """The least that two of the windows have in common across their border.

    An object that is shorter lies whole in one of them, or in one between them. One window alone
    has no border with itself: infinite.
    """
    start, end = seen_xyxy[:, None, :2], seen_xyxy[:, None, 2:]
    sides = np.minimum(end, end.swapaxes(0, 1)) - np.maximum(start, start.swapaxes(0, 1))
    differ = (seen_xyxy[:, None] != seen_xyxy[None]).any(axis=2)
    common = sides.min(axis=2)[differ & (sides > 0).all(axis=2)]
    return float(common.min(initial=np.inf))


def _as_found(box: NDArray[np.float64], part: FoundObjects) -> FoundObjects:
    """A joined box in the place of its pieces."""
    surest = part.chosen(np.array([part.scores.argmax()]))
    yes = np.ones(1, dtype=bool)
    return FoundObjects(box[None], surest.scores, surest.labels, yes, yes, ~yes, surest.seen_xyxy)


def _drop_covered(
    found: FoundObjects,
    pieces: NDArray[np.int64],
    outlines: NDArray[Any],
    joined: FoundObjects,
    kept: NDArray[np.bool_],
) -> None:
    """Drop pieces that lie in a joined box of their class: corners of it that a window saw."""
    boxes = _outlines(joined.boxes)
    i, j = shapely.STRtree(outlines).query(boxes, predicate="intersects")[::-1]
    inside = shapely.area(shapely.intersection(outlines[i], boxes[j]))
    alike = found.labels[pieces[i]] == joined.labels[j]
    kept[pieces[i[alike & (inside >= _COVERED * shapely.area(outlines[i]))]]] = False


def _outlines(boxes: NDArray[np.float64]) -> NDArray[Any]:
    """Polygons (N,) of rotated (N, 5) or horizontal (N, 4) boxes."""
    if boxes.shape[1] == 4:
        return np.asarray(shapely.box(*boxes.T))
    return np.asarray(shapely.polygons(quads_from_rboxes(torch.from_numpy(boxes)).numpy()))
