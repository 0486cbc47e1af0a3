"""Rotated and horizontal boxes of annotated objects, and which of the objects are usable."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.geometry import (
    enclosing_boxes,
    minimum_area_rbox,
    rboxes_from_boxes,
    rboxes_from_quads,
    regularise,
)
from geomtp.labels.annotations import AnnotatedObject
from geomtp.labels.masks.run_lengths import column_runs, rle_area
from geomtp.types import SizeHW

_LARGEST_PX = 1e7
_SMALLEST_PX = 1e-3  # rotated overlaps are computed with sides of at least this


def rotated_boxes(
    objects: Sequence[AnnotatedObject], size_hw: SizeHW | None = None
) -> NDArray[np.float64]:
    """The rotated box of each object: (N, 5) float64, cx cy w h pixels, angle radians (le90).

    In order of preference: the annotated one; the smallest around the polygons; around the mask
    (needs ``size_hw``); the horizontal box.
    """
    boxes = torch.zeros((len(objects), 5), dtype=torch.float64)
    # Together what can be: a call for each of a thousand objects takes seconds.
    turned = [i for i, item in enumerate(objects) if item.rbox_cxcywha is not None]
    quads = [i for i, item in enumerate(objects) if item.rbox_cxcywha is None and _is_quad(item)]
    if turned:
        given = [objects[i].rbox_cxcywha for i in turned]
        boxes[turned] = regularise(torch.tensor(given, dtype=torch.float64))
    if quads:
        corners = np.stack([_outer_points(objects[i]) for i in quads])
        boxes[quads] = rboxes_from_quads(torch.from_numpy(corners))
    for i in sorted(set(range(len(objects))).difference(turned, quads)):
        boxes[i] = _rotated_box(objects[i], size_hw)
    return boxes.numpy()


def _outer_points(item: AnnotatedObject) -> NDArray[np.float64]:
    """The points of all outer rings: (P, 2); (0, 2) without polygons."""
    rings = [polygon[0] for polygon in item.polygons or ()]
    return np.concatenate([np.zeros((0, 2)), *rings])


def _is_quad(item: AnnotatedObject) -> bool:
    return sum(len(polygon[0]) for polygon in item.polygons or ()) == 4


def _rotated_box(item: AnnotatedObject, size_hw: SizeHW | None) -> torch.Tensor:
    """Of an object that has neither a rotated box nor four corners."""
    if item.polygons is not None:
        return minimum_area_rbox(torch.from_numpy(_outer_points(item)))
    if item.rle is not None and size_hw is not None:
        return minimum_area_rbox(torch.from_numpy(_mask_corners(item.rle, size_hw)))
    if item.box_xyxy is None:
        raise ValueError(f"{item.where}: an object without any shape")
    return rboxes_from_boxes(torch.tensor([item.box_xyxy], dtype=torch.float64))[0]


def horizontal_box(item: AnnotatedObject, size_hw: SizeHW) -> tuple[float, float, float, float]:
    """The horizontal box of an object, clipped to the image: x1 y1 x2 y2 pixels.

    In order of preference: the annotated one; around the polygons; around the rotated box.
    """
    if item.box_xyxy is not None:
        x1, y1, x2, y2 = item.box_xyxy
    elif item.polygons is not None:
        points = np.concatenate([polygon[0] for polygon in item.polygons])
        (x1, y1), (x2, y2) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    else:
        rbox = torch.from_numpy(rotated_boxes([item], size_hw))
        x1, y1, x2, y2 = enclosing_boxes(rbox)[0].tolist()
    height, width = size_hw
    return (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))


def fault(item: AnnotatedObject, size_hw: SizeHW) -> tuple[str, str] | None:
    """Why an object is of no use, as (reason, sentence); None for a good one.

    "degenerate": numbers that are not finite or absurd, coincident neighbouring corners of a
    quadrilateral, no area; "outside": no part of it lies in the image.
    """
    return faults([item], size_hw)[0]


def faults(objects: Sequence[AnnotatedObject], size_hw: SizeHW) -> list[tuple[str, str] | None]:
    """``fault`` of each object, faster together than one by one."""
    found = [_fault_of_numbers(item) for item in objects]
    sound = [i for i, reason in enumerate(found) if reason is None]
    rboxes = rotated_boxes([objects[i] for i in sound], size_hw)
    for i, rbox in zip(sound, rboxes, strict=True):
        found[i] = _fault_of_place(objects[i], rbox, size_hw)
    return found


def _fault_of_numbers(item: AnnotatedObject) -> tuple[str, str] | None:
    """What the numbers alone say."""
    numbers = [*(item.box_xyxy or ()), *(item.rbox_cxcywha or ())]
    rings = [ring for polygon in item.polygons or () for ring in polygon]
    values = np.concatenate([numbers, *(ring.reshape(-1) for ring in rings)])
    if not (np.abs(values) < _LARGEST_PX).all():  # also false for NaN
        return ("degenerate", "a coordinate is not finite or absurdly large")
    is_quad = len(rings) == 1 and len(rings[0]) == 4
    if is_quad and (rings[0] == np.roll(rings[0], 1, axis=0)).all(axis=1).any():
        return ("degenerate", "two neighbouring corners of the quadrilateral coincide")
    x1, y1, x2, y2 = item.box_xyxy or (0.0, 0.0, 1.0, 1.0)
    _, _, w, h, _ = item.rbox_cxcywha or (0.0, 0.0, 1.0, 1.0, 0.0)
    if min(x2 - x1, y2 - y1, w, h) < _SMALLEST_PX:
        return ("degenerate", "the box has no area")
    if item.rle is not None and rle_area(item.rle) == 0:
        return ("degenerate", "the mask is empty")
    return None


def _fault_of_place(
    item: AnnotatedObject, rbox_cxcywha: NDArray[np.float64], size_hw: SizeHW
) -> tuple[str, str] | None:
    """What size and place in the image say."""
    if rbox_cxcywha[2:4].min() < _SMALLEST_PX:
        return ("degenerate", "the outline has no area")
    x1, y1, x2, y2 = horizontal_box(item, size_hw)
    if x1 >= x2 or y1 >= y2 or _is_apart(rbox_cxcywha, size_hw):
        return ("outside", f"the object lies outside the image of {size_hw[1]} × {size_hw[0]}")
    return None


def _is_apart(rbox_cxcywha: NDArray[np.float64], size_hw: SizeHW) -> bool:
    """Whether one of the box's own sides separates it from the image."""
    cx, cy, w, h, angle = rbox_cxcywha.tolist()
    height, width = size_hw
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)]) - (cx, cy)
    along = corners @ (np.cos(angle), np.sin(angle))
    across = corners @ (-np.sin(angle), np.cos(angle))
    return bool(
        along.min() >= w / 2
        or along.max() <= -w / 2
        or across.min() >= h / 2
        or across.max() <= -h / 2
    )


def _mask_corners(rle: bytes, size_hw: SizeHW) -> NDArray[np.float64]:
    """The corners of the runs of a mask: (P, 2) x y; their hull is that of all its pixels."""
    x, y1, y2 = column_runs(rle, size_hw)
    corners = [(x, y1), (x + 1, y1), (x, y2), (x + 1, y2)]
    return np.concatenate([np.stack(pair, axis=1) for pair in corners]).astype(np.float64)
