"""Segmenters: from annotated objects to masks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.features import rasterize

from geomtp.labels.annotations import Annotations, Polygon, Ring
from geomtp.labels.masks.box_masks import box_mask, box_window, inner_window
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.shapes import rotated_boxes
from geomtp.types import SizeHW


class Segmenter(ABC):
    """Makes one mask per annotated object of an image.

    The image is handed over as a path, so that a segmenter that needs no pixels reads none and one
    that does may read a huge image by windows.
    """

    @abstractmethod
    def segment(self, image: Path, annotations: Annotations) -> list[ObjectMask]:
        """One mask per object, in their order.

        A mask may be empty: the object is then left out of the instances. Raises ValueError for
        objects that this segmenter cannot use.
        """


class PolygonSegmenter(Segmenter):
    """The annotation itself is the mask: its polygons, or the mask it comes with.

    A pixel belongs to a polygon when its centre lies inside.
    """

    def __init__(self, *, fill_boxes: bool = False) -> None:
        """``fill_boxes``: objects without polygon and mask get their boxes, filled."""
        self.fill_boxes = fill_boxes

    def segment(self, image: Path, annotations: Annotations) -> list[ObjectMask]:
        """See ``Segmenter``. Raises ValueError for a box alone, unless ``fill_boxes``."""
        masks = []
        for item in annotations.objects:
            if item.rle is not None:
                masks.append(ObjectMask(item.rle))
            elif item.polygons is not None:
                masks.append(ObjectMask(_fill_polygons(item.polygons, annotations.size_hw)))
            elif self.fill_boxes:
                masks += BoxSegmenter().segment(image, replace(annotations, objects=(item,)))
            else:
                raise ValueError(
                    f"{item.where}: only a box, no outline to take as mask; use the segmenter 'box'"
                )
        return masks


class BoxSegmenter(Segmenter):
    """Every pixel whose centre lies in the rotated box belongs to the object."""

    def segment(self, image: Path, annotations: Annotations) -> list[ObjectMask]:
        """See ``Segmenter``."""
        size_hw = annotations.size_hw
        masks = []
        for rbox in rotated_boxes(annotations.objects, size_hw):
            window = box_window(rbox, size_hw)
            rle = rle_of_part(box_mask(rbox, window), window[:2], size_hw)
            masks.append(ObjectMask(rle))
        return masks


def _fill_polygons(polygons: tuple[Polygon, ...], size_hw: SizeHW) -> bytes:
    points = np.concatenate([polygon[0] for polygon in polygons])
    bounds = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    x1, y1, x2, y2 = inner_window(bounds, size_hw)
    shapes: list[dict[str, Any]] = [
        {"type": "Polygon", "coordinates": [_closed(ring - (x1, y1)) for ring in polygon]}
        for polygon in polygons
    ]
    mask: NDArray[np.uint8] = rasterize(shapes, out_shape=(y2 - y1, x2 - x1), dtype="uint8")
    return rle_of_part(mask.astype(bool), (x1, y1), size_hw)


def _closed(ring: Ring) -> list[list[float]]:
    points: list[list[float]] = ring.tolist()
    return [*points, points[0]]


SEGMENTERS: dict[str, Segmenter] = {"box": BoxSegmenter(), "polygon": PolygonSegmenter()}
"""The segmenters by the name that the command line uses."""
