"""Polygons to masks and masks to polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomtp.types import SizeHW


def rle_from_polygons(polygons: Sequence[np.ndarray | Tensor], size_hw: SizeHW) -> bytes:
    """The run-length of ONE instance made of polygons, each (P, 2) x y pixels, P ≥ 3.

    Polygons are joined, not subtracted; which border pixels count is COCO's rule.
    Raises ValueError for another shape.
    """
    from faster_coco_eval.core import mask as coco

    for polygon in polygons:
        if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
            raise ValueError(
                f"a polygon must have shape (P, 2) with P at least 3, got {tuple(polygon.shape)}"
            )
    if not polygons:
        return bytes(coco.encode(np.zeros((*size_hw, 1), dtype=np.uint8, order="F"))[0]["counts"])
    flat = [np.asarray(polygon, dtype=np.float64).ravel().tolist() for polygon in polygons]
    parts: Any = coco.frPyObjects(flat, *size_hw)
    return bytes(coco.merge(parts)["counts"])


def polygons_from_mask(mask: Tensor | np.ndarray) -> list[list[np.ndarray]]:
    """The borders of a mask (H, W): one polygon per connected region (sharing an edge, not only a
    corner), each a list of its outer ring and its holes.

    A ring is (P, 2) float64, x y pixels along the pixels' outer edges, so that a polygon's area
    is the number of its pixels; its first point is repeated at the end.
    Raises ValueError for another shape.
    """
    from rasterio.features import shapes

    array = np.asarray(torch.as_tensor(mask).cpu())
    if array.ndim != 2:
        raise ValueError(f"mask must have shape (H, W), got {array.shape}")
    foreground = array != 0
    return [
        [np.asarray(ring, dtype=np.float64) for ring in shape["coordinates"]]
        for shape, _ in shapes(foreground.astype(np.uint8), mask=foreground, connectivity=4)
    ]
