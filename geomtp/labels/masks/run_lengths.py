"""COCO run-lengths without the dense mask: reading, writing, their boxes, painting windows.

A mask (H, W) is read column by column: pixel (x, y) has the number x·H + y. Its run-length holds
the lengths of the alternating runs of background and foreground, background first, packed in text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW

Counts = NDArray[np.int64]


def counts_from_rle(rle: bytes) -> Counts:
    """The run lengths in a compressed string: (R,) int64, background first.

    Each number is written in groups of five bits, low ones first, 48 added to make a letter; bit 6
    says that another group follows, and bit 5 of the last is the sign. From the fourth number on,
    the difference to the number two before is written (format of the COCO API).

    Raises ValueError for bytes that are none of this.
    """
    letters = np.frombuffer(rle, dtype=np.uint8).astype(np.int64) - 48
    if len(letters) == 0:
        return np.zeros(0, dtype=np.int64)
    if letters.min() < 0 or letters.max() > 63 or letters[-1] & 32:
        raise ValueError("not a compressed run-length")
    last = np.flatnonzero(~letters & 32)  # the last group of each number
    first = np.concatenate([[0], last[:-1] + 1])
    length = last - first + 1
    if length.max() > 7:  # 2^34 pixels and no overflow below
        raise ValueError("not a compressed run-length: a number has more than seven groups")
    place = np.arange(len(letters)) - np.repeat(first, length)
    numbers = np.add.reduceat((letters & 31) << (5 * place), first)
    numbers -= np.where(letters[last] & 16, np.int64(1) << (5 * length), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    if numbers.min() < 0:
        raise ValueError("not a compressed run-length: a run is negative")
    return numbers


def rle_from_counts(counts: NDArray[Any]) -> bytes:
    """The compressed string of run lengths (R,), background first; see ``counts_from_rle``.

    Raises ValueError for what are no run lengths.
    """
    if counts.ndim != 1 or counts.dtype.kind not in "iu" or (counts < 0).any():
        raise ValueError("run lengths are a list of whole numbers, none of them negative")
    numbers = counts.astype(np.int64)
    numbers[3:] -= counts[1:-2]
    groups = []
    for number in numbers.tolist():
        while True:
            group, number = number & 31, number >> 5
            done = number == (-1 if group & 16 else 0)
            groups.append(48 + group + (0 if done else 32))
            if done:
                break
    return bytes(groups)


def check_rle(rle: bytes, size_hw: SizeHW) -> None:
    """Raise ValueError unless ``rle`` is a run-length of a mask of ``size_hw``."""
    counts, pixels = counts_from_rle(rle), size_hw[0] * size_hw[1]
    if (counts > pixels).any() or counts.sum() != pixels:
        raise ValueError(
            f"the mask is not of the image's size of {size_hw[0]} × {size_hw[1]} pixels"
        )


def column_runs(rle: bytes, size_hw: SizeHW) -> tuple[Counts, Counts, Counts]:
    """The foreground column by column: x (R,), first row y1 (R,) and the row after the last y2."""
    height = size_hw[0]
    edges = np.cumsum(counts_from_rle(rle))
    starts, ends = edges[0 : 2 * (len(edges) // 2) : 2], edges[1::2]
    filled = ends > starts
    starts, last = starts[filled], ends[filled] - 1
    columns = last // height - starts // height + 1  # a run may go on in the next columns
    step = np.arange(columns.sum()) - np.repeat(np.cumsum(columns) - columns, columns)
    x = np.repeat(starts // height, columns) + step
    y1 = np.where(step == 0, np.repeat(starts % height, columns), 0)
    y2 = np.where(
        step == np.repeat(columns, columns) - 1, np.repeat(last % height + 1, columns), height
    )
    return x, y1, y2


def rle_area(rle: bytes) -> int:
    """The number of foreground pixels."""
    return int(counts_from_rle(rle)[1::2].sum())


def rle_box(rle: bytes, size_hw: SizeHW) -> tuple[int, int, int, int] | None:
    """x1 y1 (first foreground column and row) x2 y2 (the last plus one); None for an empty mask."""
    x, y1, y2 = column_runs(rle, size_hw)
    if len(x) == 0:
        return None
    return (int(x.min()), int(y1.min()), int(x.max()) + 1, int(y2.max()))


def rle_of_part(mask: NDArray[np.bool_], corner_xy: tuple[int, int], size_hw: SizeHW) -> bytes:
    """The run-length, for an image of ``size_hw``, of a mask (h, w) of a part of it.

    ``corner_xy`` is the part's first pixel; the part must lie inside the image. Nothing of the
    image's size is built.
    """
    height, width = size_hw
    columns, rows = np.nonzero(mask.T)  # column by column
    pixels = (columns + corner_xy[0]).astype(np.int64) * height + rows + corner_xy[1]
    breaks = np.flatnonzero(np.diff(pixels) != 1)
    starts = pixels[np.concatenate([[0], breaks + 1])] if len(pixels) else pixels
    ends = pixels[np.concatenate([breaks, [len(pixels) - 1]])] + 1 if len(pixels) else pixels
    return _rle_of_edges(np.stack([starts, ends], axis=1).reshape(-1), height * width)


def rle_in_window(rle: bytes, window_xyxy: WindowXYXY, size_hw: SizeHW) -> bytes:
    """The run-length of the part of a mask of ``size_hw`` in a window inside the image.

    Its size is the window's (x1 y1 x2 y2 pixels); no dense mask is built.
    """
    x1, y1, x2, y2 = window_xyxy
    height, width = y2 - y1, x2 - x1
    x, top, bottom = column_runs(rle, size_hw)
    top, bottom = np.maximum(top, y1), np.minimum(bottom, y2)
    inside = (x >= x1) & (x < x2) & (top < bottom)
    column = (x[inside] - x1) * height
    starts, ends = column + top[inside] - y1, column + bottom[inside] - y1
    edges = np.stack([starts, ends], axis=1).reshape(-1)
    # A run that reaches the bottom goes on in the next column: there the two are one.
    joined = 2 * np.flatnonzero(edges[1:-1:2] == edges[2::2]) + 1
    edges = np.delete(edges, np.concatenate([joined, joined + 1]))
    return _rle_of_edges(edges, height * width)


def _rle_of_edges(edges: Counts, pixels: int) -> bytes:
    """The run-length of a mask of so many ``pixels``, from the numbers where its runs change."""
    counts = np.diff(np.concatenate([[0], edges, [pixels]]))
    return rle_from_counts(counts[:-1] if counts[-1] == 0 and len(counts) > 1 else counts)
