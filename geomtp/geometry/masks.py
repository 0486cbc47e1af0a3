"""Masks of instances: COCO run-lengths, boxes around masks, masks of polygons and rotated boxes.

A run-length is COCO's compressed form as ``bytes`` (the "counts" of pycocotools): the lengths of
alternating runs of background and foreground, column by column, each as a difference to the
length two runs before, in groups of five bits. It does not hold the mask's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomtp.geometry.rotated_boxes import enclosing_boxes, require_columns
from geomtp.types import SizeHW


def encode_rle(masks: Tensor | np.ndarray) -> list[bytes]:
    """The run-lengths of masks (N, H, W) bool, one each.

    Raises ValueError for another shape.
    """
    from faster_coco_eval.core import mask as coco

    masks = torch.as_tensor(masks).cpu()
    if masks.ndim != 3:
        raise ValueError(f"masks must have shape (N, H, W), got {tuple(masks.shape)}")
    if masks.numel() == 0:
        return [b""] * len(masks)
    masks = masks if masks.dtype == torch.bool else masks != 0
    # (N, W, H) in memory is what the library calls (H, W, N) in Fortran order.
    columns = _transposed(masks).view(torch.uint8)
    return [rle["counts"] for rle in coco.encode(columns.numpy().T)]


def decode_rle(rles: Sequence[bytes], size_hw: SizeHW) -> Tensor:
    """The masks of run-lengths: (N, H, W) bool.

    Raises ValueError where a run-length is broken or does not fit ``size_hw``.
    """
    from faster_coco_eval.core import mask as coco

    if not rles or size_hw[0] * size_hw[1] == 0:
        return torch.zeros(len(rles), *size_hw, dtype=torch.bool)
    try:
        decoded = coco.decode(_library_form(rles, size_hw))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"run-lengths do not describe masks of {size_hw}: {error}") from error
    return _transposed(torch.from_numpy(decoded.T).view(torch.bool))


def _transposed(masks: Tensor) -> Tensor:
    """(N, P, Q) → (N, Q, P), contiguous."""
    result = masks.new_empty(len(masks), masks.shape[2], masks.shape[1])
    for target, source in zip(result, masks, strict=True):
        target.copy_(source.T)  # a single matrix goes block by block, several times as fast
    return result


def _library_form(rles: Sequence[bytes], size_hw: SizeHW) -> list[dict[str, Any]]:
    return [{"size": list(size_hw), "counts": rle} for rle in rles]


def decode_rle_crop(
    rles: Sequence[bytes], size_hw: SizeHW, window_xyxy: tuple[int, int, int, int]
) -> Tensor:
    """The part of the masks inside a window of whole pixels: (N, y2 - y1, x2 - x1) bool.

    Only the window's columns are expanded, so masks of large scenes cost no more than their crop.
    Raises ValueError where the window leaves the image or a run-length does not fit ``size_hw``.
    """
    height, width = size_hw
    x1, y1, x2, y2 = window_xyxy
    if not (0 <= x1 <= x2 <= width and 0 <= y1 <= y2 <= height):
        raise ValueError(f"window {window_xyxy} must lie inside an image of {width} x {height}")
    crops = np.zeros((len(rles), x2 - x1, y2 - y1), dtype=bool)
    for crop, rle in zip(crops, rles, strict=True):
        stops = np.cumsum(_run_lengths(rle))
        if (stops[-1] if len(stops) else 0) != height * width:
            raise ValueError(f"a run-length does not describe a mask of {size_hw}")
        first, last = np.searchsorted(stops, [x1 * height, x2 * height], side="right")
        bounds = np.clip(stops[first : last + 1], x1 * height, x2 * height)
        lengths = np.diff(bounds, prepend=x1 * height)
        foreground = (np.arange(first, first + len(lengths)) % 2).astype(bool)
        crop[:] = np.repeat(foreground, lengths).reshape(x2 - x1, height)[:, y1:y2]
    return _transposed(torch.from_numpy(crops))


def rle_area(rles: Sequence[bytes]) -> Tensor:
    """Foreground pixels of each mask: (N,) int64."""
    areas = [int(_run_lengths(rle)[1::2].sum()) for rle in rles]
    return torch.tensor(areas, dtype=torch.int64)


def _run_lengths(rle: bytes) -> np.ndarray:
    """The lengths of the runs, background first: (R,) int64."""
    groups = np.frombuffer(rle, dtype=np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(groups & 32 == 0)  # bit 5: the number goes on
    if len(ends) == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    used = ends + 1 - starts
    place = np.arange(ends[-1] + 1) - np.repeat(starts, used)
    numbers = np.add.reduceat((groups[: ends[-1] + 1] & 31) << 5 * place, starts)
    numbers -= np.where(groups[ends] & 16, 1 << 5 * used, 0)  # bit 4 of the last: negative
    # From the fourth on a number is the difference to the run two before.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers


def mask_boxes(masks: Tensor) -> Tensor:
    """Boxes around masks (N, H, W) bool: (N, 4) float32, x1 y1 the first foreground column and row,
    x2 y2 the last ones plus one; zeros where a mask is empty.
    """
    boxes = torch.zeros(len(masks), 4, device=masks.device)
    if masks.numel() == 0:
        return boxes
    for axis, dim in ((0, 1), (1, 2)):
        occupied = masks.any(dim=dim)  # (N, W), then (N, H)
        position = torch.arange(1, occupied.shape[1] + 1, device=masks.device)
        last = (occupied * position).amax(dim=1)
        first = (occupied * position.flip(0)).amax(dim=1)
        boxes[:, axis] = torch.where(last > 0, occupied.shape[1] - first, 0)
        boxes[:, axis + 2] = last
    return boxes


def masks_from_rboxes(rboxes: Tensor, size_hw: SizeHW) -> Tensor:
    """Pixels whose centre lies inside or on the border of rotated boxes (N, 5): (N, H, W) bool."""
    require_columns("rboxes", rboxes, 5)
    height, width = size_hw
    masks = torch.zeros(len(rboxes), height, width, dtype=torch.bool, device=rboxes.device)
    last = torch.tensor([width, height, width, height], device=rboxes.device)
    hulls = enclosing_boxes(rboxes) + torch.tensor([-1, -1, 1, 1], device=rboxes.device)
    windows = hulls.clamp(min=0).minimum(last).long().tolist()
    # Only the pixels near a box are looked at: most masks are nearly empty.
    for mask, rbox, (x1, y1, x2, y2) in zip(masks, rboxes, windows, strict=True):
        cx, cy, w, h, angle = rbox
        dx = torch.arange(x1, x2, dtype=rbox.dtype, device=rbox.device) + 0.5 - cx
        dy = torch.arange(y1, y2, dtype=rbox.dtype, device=rbox.device)[:, None] + 0.5 - cy
        cos, sin = torch.cos(angle), torch.sin(angle)
        along_w, along_h = dx * cos + dy * sin, dy * cos - dx * sin
        mask[y1:y2, x1:x2] = (along_w.abs() <= w / 2) & (along_h.abs() <= h / 2)
    return masks
