"""The semantic map or the change map of one image, or of a window of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.masks.run_lengths import column_runs
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.rasters import WindowXYXY, read_size, read_window
from geomtp.types import IGNORE, SizeHW

Runs = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


def semantic_map(
    labels: ImageLabels,
    image_root: Path,
    window_xyxy: WindowXYXY | None = None,
    values: Mapping[int, int] | None = None,
) -> NDArray[np.uint8]:
    """The classes of the pixels of a window (without one: of the whole image).

    Returns (H, W) uint8: 0 background, k + 1 for class k, 255 to be ignored. It is read from the
    grey map (255 there is background, c is class c, unless ``values`` say what each value means),
    or painted from the masks, larger objects first so that smaller ones lie on top (equal areas:
    the one of the higher score, where there are scores, then the later one); ``ignored_rles`` go
    below all others. Areas are those of whole masks, whatever the window. Only what the window
    needs is decoded.

    Raises ValueError when the image has neither map nor masks, for a window that leaves the image,
    and for a grey map of another kind; OSError where the map cannot be read.
    """
    window = _window(labels, window_xyxy)
    if labels.semantic is not None:
        path = image_root / labels.semantic
        grey = _read_grey_map(path, labels.size_hw, window)
        if values is not None:
            return translated(grey, values, path)
        return grey + np.uint8(1)  # wraps: the background 255 becomes 0
    if labels.rles is None:
        raise ValueError(f"{labels.image} has no semantic labels: neither a grey map nor masks")
    return _paint(labels, window)


def change_map(
    labels: ImageLabels,
    image_root: Path,
    window_xyxy: WindowXYXY | None = None,
    values: Mapping[int, int] | None = None,
) -> NDArray[np.uint8]:
    """What changed in a window (without one: in the whole image) between the two dates.

    Returns (H, W) uint8: 0 unchanged, 1 changed, 255 unknown; ``values`` say what each value of the
    file means where it holds others. Raises like ``semantic_map``.
    """
    window = _window(labels, window_xyxy)
    if labels.change is None:
        raise ValueError(f"{labels.image} has no map of what changed")
    path = image_root / labels.change
    own = {0: 0, 1: 1, IGNORE: IGNORE}
    return translated(_read_grey_map(path, labels.size_hw, window), values or own, path)


def translated(grey: NDArray[np.uint8], values: Mapping[int, int], path: Path) -> NDArray[np.uint8]:
    """A grey map (H, W) by a table; ``path`` names it.

    Raises ValueError listing the values that the table lacks, with counts.
    """
    counts = np.bincount(grey.reshape(-1), minlength=256)
    if strangers := [
        f"{v} ({counts[v]} pixels)" for v in np.flatnonzero(counts) if v not in values
    ]:
        raise ValueError(
            f"{path} holds values that mean nothing: {', '.join(strangers[:8])}; "
            f"known: {', '.join(map(str, sorted(values)))}"
        )
    table = np.zeros(256, dtype=np.uint8)
    table[list(values)] = list(values.values())
    return table[grey]


def _window(labels: ImageLabels, window_xyxy: WindowXYXY | None) -> WindowXYXY:
    """The window, or the whole image. Raises ValueError for one that leaves the image."""
    height, width = labels.size_hw
    window = window_xyxy or (0, 0, width, height)
    x1, y1, x2, y2 = window
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise ValueError(
            f"the window {window} (x1 y1 x2 y2) must lie inside {labels.image}, "
            f"which is {width} wide and {height} high"
        )
    return window


def _read_grey_map(path: Path, size_hw: SizeHW, window_xyxy: WindowXYXY) -> NDArray[np.uint8]:
    if read_size(path) != size_hw:
        raise ValueError(f"{path} has size {read_size(path)}, its image {size_hw} (height, width)")
    grey = read_window(path, window_xyxy, expand_palette=False)
    if grey.dtype != np.uint8 or grey.shape[2] != 1:
        raise ValueError(
            f"{path} must be a grey map of 8 bits, found {grey.shape[2]} bands of {grey.dtype}"
        )
    return grey[:, :, 0]


def _paint(labels: ImageLabels, window_xyxy: WindowXYXY) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = window_xyxy
    assert labels.rles is not None
    assert labels.box_labels is not None
    canvas = np.zeros((x2 - x1, y2 - y1), dtype=np.uint8)  # (W, H): masks run down the columns
    for rle in labels.ignored_rles:
        _fill(canvas, column_runs(rle, labels.size_hw), window_xyxy, IGNORE)
    shapes = []
    for i in _near_window(labels, window_xyxy):
        x, top, bottom = column_runs(labels.rles[i], labels.size_hw)
        score = 0.0 if labels.scores is None else float(labels.scores[i])
        shapes.append((-int((bottom - top).sum()), score, i, (x, top, bottom)))
    for _, _, i, runs in sorted(shapes, key=lambda shape: shape[:3]):
        _fill(canvas, runs, window_xyxy, int(labels.box_labels[i]) + 1)
    return np.ascontiguousarray(canvas.T)


def _fill(canvas: NDArray[np.uint8], runs: Runs, window_xyxy: WindowXYXY, value: int) -> None:
    """Write ``value`` where ``runs`` (x, top, bottom in pixels of the image) meet the window."""
    x, top, bottom = runs
    x1, y1, x2, y2 = window_xyxy
    inside = (x >= x1) & (x < x2) & (bottom > y1) & (top < y2)
    columns = (x[inside] - x1).tolist()
    starts = (np.maximum(top[inside], y1) - y1).tolist()
    ends = (np.minimum(bottom[inside], y2) - y1).tolist()
    for column, start, end in zip(columns, starts, ends, strict=True):
        canvas[column, start:end] = value


def _near_window(labels: ImageLabels, window_xyxy: WindowXYXY) -> list[int]:
    """The objects whose boxes touch the window; all of them where there are no boxes."""
    assert labels.rles is not None
    if labels.boxes is None:
        return list(range(len(labels.rles)))
    x1, y1, x2, y2 = window_xyxy
    # One pixel of slack: boxes may come from outlines, masks hold whole pixels.
    apart = (labels.boxes[:, :2] > (x2 + 1, y2 + 1)) | (labels.boxes[:, 2:] < (x1 - 1, y1 - 1))
    near: list[int] = np.flatnonzero(~apart.any(axis=1)).tolist()
    return near
