"""One annotated object seen through a window: moved into it, or cut by its border."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.geometry import minimum_area_rbox, quads_from_rboxes
from geomtp.labels.annotations import AnnotatedObject, Polygon
from geomtp.labels.masks.run_lengths import column_runs, rle_box, rle_in_window
from geomtp.labels.outlines import geometry_of, geos, polygons_of
from geomtp.labels.shapes import rotated_boxes
from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW

CutBoxes = Literal["whole", "part"]
"""What becomes of the rotated box of a cut object: kept whole, or made anew around the part."""

_TRUNCATED = 2  # DOTA's difficulty of an object that the border of a tile cuts


def whole_outline(item: AnnotatedObject, size_hw: SizeHW) -> Any:
    """The area of an object as a shapely geometry, pixels; of a mask only the box around it.

    The first that there is of polygons, mask, rotated box, horizontal box.
    """
    if item.polygons is not None:
        return geometry_of(item.polygons)
    if item.rle is not None:
        return geos.box(*(rle_box(item.rle, size_hw) or (0, 0, 0, 0)))
    if item.rbox_cxcywha is not None:
        rbox = torch.tensor([item.rbox_cxcywha], dtype=torch.float64)
        return geos.Polygon(quads_from_rboxes(rbox)[0].numpy())
    if item.box_xyxy is None:
        raise ValueError(f"{item.where}: an object without any shape")
    return geos.box(*item.box_xyxy)


def mask_shares(rle: bytes, windows: NDArray[Any], size_hw: SizeHW) -> NDArray[np.float64]:
    """Which fraction of a mask's pixels lies in each window (W, 4) x1 y1 x2 y2: (W,) 0…1."""
    x, y1, y2 = column_runs(rle, size_hw)
    shares = np.zeros(len(windows))
    for i, (left, top, right, bottom) in enumerate(windows.tolist()):
        rows = np.minimum(y2, bottom) - np.maximum(y1, top)
        shares[i] = rows[(x >= left) & (x < right) & (rows > 0)].sum() / (y2 - y1).sum()
    return shares


def moved_object(
    item: AnnotatedObject, window_xyxy: WindowXYXY, size_hw: SizeHW
) -> AnnotatedObject:
    """The same object in the pixels of a window that holds it."""
    x, y, *_ = window_xyxy
    box, rbox = item.box_xyxy, item.rbox_cxcywha
    return dataclasses.replace(
        item,
        box_xyxy=box and (box[0] - x, box[1] - y, box[2] - x, box[3] - y),
        rbox_cxcywha=rbox and (rbox[0] - x, rbox[1] - y, *rbox[2:]),
        polygons=item.polygons and _moved(item.polygons, x, y),
        rle=item.rle and rle_in_window(item.rle, _inside(window_xyxy, size_hw), size_hw),
    )


def cut_object(
    item: AnnotatedObject, window_xyxy: WindowXYXY, size_hw: SizeHW, boxes: CutBoxes
) -> AnnotatedObject:
    """The part of an object in a window, in the window's pixels, with difficulty 2.

    Polygons, mask and horizontal box are cut at the window and the image. The rotated box is the
    whole object's, or with ``boxes="part"`` the smallest around what remains.
    """
    x1, y1, x2, y2 = frame = _inside(window_xyxy, size_hw)
    polygons, box = item.polygons, item.box_xyxy
    if polygons is not None:
        polygons = polygons_of(geometry_of(polygons).intersection(geos.box(*frame)))
    if box is not None:
        box = (max(box[0], x1), max(box[1], y1), min(box[2], x2), min(box[3], y2))
    whole = rotated_boxes([item], size_hw)[0]
    rbox = None  # polygons, mask or box of the part say it
    if boxes == "whole":
        rbox = whole
    elif item.rbox_cxcywha is not None and item.polygons is None and item.rle is None:
        part = whole_outline(item, size_hw).intersection(geos.box(*frame))
        rbox = minimum_area_rbox(torch.from_numpy(geos.get_coordinates(part))).numpy()
    cut = dataclasses.replace(
        item,
        box_xyxy=box,
        rbox_cxcywha=None if rbox is None else tuple(rbox.tolist()),
        polygons=polygons,
        difficulty=_TRUNCATED,
    )
    return moved_object(cut, window_xyxy, size_hw)


def _inside(window_xyxy: WindowXYXY, size_hw: SizeHW) -> WindowXYXY:
    """The part of a window that lies in the image."""
    x1, y1, x2, y2 = window_xyxy
    return (x1, y1, min(x2, size_hw[1]), min(y2, size_hw[0]))


def _moved(polygons: tuple[Polygon, ...], x: float, y: float) -> tuple[Polygon, ...]:
    return tuple(tuple(ring - (x, y) for ring in polygon) for polygon in polygons)
