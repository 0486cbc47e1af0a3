"""Views: what part of an image is seen, mirrored and at which size; images and labels as seen so.

A view is made in three steps: mirror the image, resize it, cut a window out. Nothing of the three
is done to whole images: both axes are mapped to pixels of the file, and only those are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.geometry import rotated_boxes
from geomtp.geometry.rotated_boxes import Direction
from geomtp.labels import ImageLabels, change_map, semantic_map
from geomtp.labels.masks.run_lengths import column_runs
from geomtp.rasters import WindowXYXY, read_size, read_window
from geomtp.types import SizeHW

Positions = NDArray[np.int64]

_MOST_DRAWS = 10
_LOG_RATIO = math.log(4 / 3)


@dataclass(frozen=True)
class AxisView:
    """One axis of a view: ``length`` pixels of the file, mirrored or not, made ``resized`` pixels
    long, of which ``start``…``stop − 1`` are seen.
    """

    length: int
    resized: int
    start: int
    stop: int
    mirrored: bool

    def nearest(self) -> Positions:
        """The file's pixel shown at each position: (stop − start,), as OpenCV's INTER_NEAREST."""
        return self._in_file(self._nearest())

    def linear(self) -> tuple[Positions, Positions, NDArray[np.float32]]:
        """Two pixels of the file for each position and the weight (0…1) of the second, as OpenCV's
        INTER_LINEAR: no smoothing where the image shrinks.
        """
        step = 1.0 / (self.resized / self.length)
        place = (np.arange(self.start, self.stop) + 0.5) * step - 0.5
        place = np.clip(place, 0, self.length - 1)
        lower = np.floor(place).astype(np.int64)
        upper = np.minimum(lower + 1, self.length - 1)
        return self._in_file(lower), self._in_file(upper), (place - lower).astype(np.float32)

    def spans(self, starts: Positions, stops: Positions) -> tuple[Positions, Positions]:
        """The positions at which the pixels ``starts``…``stops − 1`` of the file are shown.

        First position and the one after the last, both (R,); equal where nothing is shown.
        """
        if self.mirrored:
            starts, stops = self.length - stops, self.length - starts
        shown = self._nearest()
        return np.searchsorted(shown, starts), np.searchsorted(shown, stops)

    def _nearest(self) -> Positions:
        step = 1.0 / (self.resized / self.length)
        place = np.floor(np.arange(self.start, self.stop) * step).astype(np.int64)
        return np.minimum(place, self.length - 1)

    def _in_file(self, positions: Positions) -> Positions:
        return self.length - 1 - positions if self.mirrored else positions


@dataclass(frozen=True)
class ViewParameters:
    """A view of an image of size ``image_hw``: mirrored by ``flip``, resized, then cropped.

    - flip: "horizontal" (left and right), "vertical", "diagonal" (both) or None
    - resized_hw: height and width of the whole image after resizing
    - crop_xyxy: what is seen of it, whole pixels of the resized image

    Raises ValueError for a crop that is empty or leaves the resized image.
    """

    image_hw: SizeHW
    flip: Direction | None
    resized_hw: SizeHW
    crop_xyxy: WindowXYXY

    def __post_init__(self) -> None:
        x1, y1, x2, y2 = self.crop_xyxy
        height, width = self.resized_hw
        if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
            raise ValueError(
                f"the crop {self.crop_xyxy} (x1 y1 x2 y2) must lie inside the resized image, "
                f"which is {width} wide and {height} high"
            )

    @classmethod
    def whole(cls, image_hw: SizeHW, resized_hw: SizeHW | None = None) -> ViewParameters:
        """All of the image, resized or not."""
        height, width = resized_hw or image_hw
        return cls(image_hw, None, (height, width), (0, 0, width, height))

    @property
    def size_hw(self) -> SizeHW:
        """Height and width of the view."""
        x1, y1, x2, y2 = self.crop_xyxy
        return (y2 - y1, x2 - x1)

    @property
    def columns(self) -> AxisView:
        """The x axis."""
        mirrored = self.flip in ("horizontal", "diagonal")
        x1, _, x2, _ = self.crop_xyxy
        return AxisView(self.image_hw[1], self.resized_hw[1], x1, x2, mirrored)

    @property
    def rows(self) -> AxisView:
        """The y axis."""
        mirrored = self.flip in ("vertical", "diagonal")
        _, y1, _, y2 = self.crop_xyxy
        return AxisView(self.image_hw[0], self.resized_hw[0], y1, y2, mirrored)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """By how much the image grows in x and y."""
        (height, width), (resized_height, resized_width) = self.image_hw, self.resized_hw
        return (resized_width / width, resized_height / height)

    def boxes(self, boxes_xyxy: Tensor) -> Tensor:
        """Boxes (N, 4) of the file in pixels of the view, not yet clipped: (N, 4)."""
        x1, y1, x2, y2 = boxes_xyxy.unbind(dim=1)
        if self.columns.mirrored:
            x1, x2 = self.image_hw[1] - x2, self.image_hw[1] - x1
        if self.rows.mirrored:
            y1, y2 = self.image_hw[0] - y2, self.image_hw[0] - y1
        moved = torch.stack([x1, y1, x2, y2], dim=1)
        return moved * moved.new_tensor(self.scale_xy * 2) - moved.new_tensor(
            self.crop_xyxy[:2] * 2
        )

    def rboxes(self, rboxes_cxcywha: Tensor) -> Tensor:
        """Rotated boxes (N, 5) of the file in pixels of the view, never clipped: (N, 5), le90."""
        if self.flip is not None:
            rboxes_cxcywha = rotated_boxes.flip(rboxes_cxcywha, self.flip, self.image_hw)
        if self.resized_hw != self.image_hw:
            rboxes_cxcywha = rotated_boxes.rescale(rboxes_cxcywha, self.scale_xy)
        x1, y1 = self.crop_xyxy[:2]
        return rotated_boxes.translate(rboxes_cxcywha, (-x1, -y1))


def read_view(
    path: Path, view: ViewParameters, bands: Sequence[int]
) -> tuple[NDArray[np.float32], np.dtype[np.generic]]:
    """The image at ``path`` as the view shows it, (C, H, W) float32, and the file's data type.

    Values are in the file's own units. Raises ValueError when the file's size is not that of the
    view, and what ``rasters.read_window`` raises.
    """
    if read_size(path) != view.image_hw:
        raise ValueError(
            f"{path} has size {read_size(path)}, its labels {view.image_hw} (height, width): "
            f"build the store anew from the images it is used with"
        )
    left, right, x_weight = view.columns.linear()
    top, bottom, y_weight = view.rows.linear()
    window = _window_around(np.minimum(left, right), np.maximum(left, right), top, bottom)
    pixels = read_window(path, window, bands)
    x1, y1 = window[:2]
    rows = _between(pixels, top - y1, bottom - y1, y_weight[:, None, None], axis=0)
    planes = np.ascontiguousarray(rows.transpose(2, 0, 1))  # (H, w, C) -> (C, H, w)
    return _between(planes, left - x1, right - x1, x_weight, axis=2), pixels.dtype


def _between(
    values: NDArray[Any], lower: Positions, upper: Positions, weight: NDArray[np.float32], axis: int
) -> NDArray[np.float32]:
    """Between the slices ``lower`` and ``upper`` along ``axis``, by the weight of ``upper``."""
    if not weight.any():
        return values.take(lower, axis=axis).astype(np.float32)
    first = values.take(lower, axis=axis).astype(np.float32, copy=False)
    second = values.take(upper, axis=axis).astype(np.float32, copy=False)
    second -= first
    second *= weight
    second += first
    return second


def _window_around(
    left: Positions, right: Positions, top: Positions, bottom: Positions
) -> WindowXYXY:
    """The smallest window with all these columns and rows."""
    rows = np.concatenate([top, bottom])
    return (int(left.min()), int(rows.min()), int(right.max()) + 1, int(rows.max()) + 1)


def semantic_view(
    labels: ImageLabels,
    image_root: Path,
    view: ViewParameters,
    values: Mapping[int, int] | None = None,
) -> Tensor:
    """The semantic map as the view shows it: (H, W) uint8, 0 background, k + 1 class k, 255 ignore.

    ``values``: what those of a grey map mean. Raises what ``labels.semantic_map`` raises.
    """
    return _map_view(lambda window: semantic_map(labels, image_root, window, values), view)


def change_view(
    labels: ImageLabels,
    image_root: Path,
    view: ViewParameters,
    values: Mapping[int, int] | None = None,
) -> Tensor:
    """What changed, as the view shows it: (H, W) uint8, 0 unchanged, 1 changed, 255 ignore.

    ``values``: what those of the file mean. Raises what ``labels.change_map`` raises.
    """
    return _map_view(lambda window: change_map(labels, image_root, window, values), view)


def sides_of_share(
    image_hw: SizeHW, area_range: tuple[float, float], rng: np.random.Generator
) -> SizeHW | None:
    """Height and width of a part of an image: a share of its area from ``area_range`` (0…1).

    Its sides differ by a factor of 3/4 to 4/3. None where ten draws do not fit into the image,
    which is long and narrow then.
    """
    for _ in range(_MOST_DRAWS):
        area = image_hw[0] * image_hw[1] * rng.uniform(*area_range)
        ratio = math.exp(rng.uniform(-_LOG_RATIO, _LOG_RATIO))  # width / height
        height, width = round(math.sqrt(area / ratio)), round(math.sqrt(area * ratio))
        if 0 < height <= image_hw[0] and 0 < width <= image_hw[1]:
            return height, width
    return None


def _map_view(read: Callable[[WindowXYXY], NDArray[np.uint8]], view: ViewParameters) -> Tensor:
    columns, rows = view.columns.nearest(), view.rows.nearest()
    window = _window_around(columns, columns, rows, rows)
    part = read(window)
    return torch.from_numpy(part[np.ix_(rows - window[1], columns - window[0])])


def mask_views(rles: Sequence[bytes], view: ViewParameters) -> tuple[Tensor, Tensor]:
    """Masks as the view shows them, (N, H, W) bool, and their boxes, (N, 4) float32.

    A box holds the first column and row of the foreground and the last ones plus one; zeros where
    nothing of the mask is seen. The masks are painted at the size of the view straight from their
    runs; nothing of the image's size is built. Raises ValueError for a broken run-length.
    """
    masks = np.zeros((len(rles), *view.size_hw), dtype=bool)
    boxes = np.zeros((len(rles), 4), dtype=np.float32)
    columns, rows = view.columns, view.rows
    for i, rle in enumerate(rles):
        x, y1, y2 = column_runs(rle, view.image_hw)
        first, last = columns.spans(x, x + 1)
        top, bottom = rows.spans(y1, y2)
        seen = (last > first) & (bottom > top)
        if not seen.any():
            continue
        first, last, top, bottom = first[seen], last[seen], top[seen], bottom[seen]
        left, right, upper, lower = first.min(), last.max(), top.min(), bottom.max()
        boxes[i] = (left, upper, right, lower)
        # Runs of one column do not touch: each adds one where it begins and takes it where it ends.
        count = last - first
        step = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        column = np.repeat(first - left, count) + step
        edges = np.zeros((right - left, lower - upper + 1), dtype=np.int8)
        edges[column, np.repeat(top - upper, count)] += 1
        edges[column, np.repeat(bottom - upper, count)] -= 1
        filled = np.cumsum(edges, axis=1, dtype=np.int8)[:, :-1]
        masks[i, upper:lower, left:right] = filled.T
    return torch.from_numpy(masks), torch.from_numpy(boxes)
