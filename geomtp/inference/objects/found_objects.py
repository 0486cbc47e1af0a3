"""Objects of single windows, and how those of a whole scene are made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.geometry import enclosing_boxes
from geomtp.geometry.rotated_boxes import rescale, translate
from geomtp.inference.windows.blocks import Window
from geomtp.types import Predictions

BOX_COLUMNS = {"rotated": 5, "horizontal": 4}
"""Tasks whose results are boxes, and how many numbers make one."""

NEAR_SHARE = 0.5
"""Objects whose middle lies outside a window's cell by at most this share of ``Axis.ramp`` are kept
besides: two windows that place one object a little differently might both call it the other's."""

_CUT_PX, _CUT_SHARE = 2.0, 1 / 128
"""Boxes that end so near to a side of their window, in pixels or shares of it, are cut off."""


@dataclass(frozen=True)
class FoundObjects:
    """What windows found, with doubles and pieces.

    - boxes: (N, 5) rotated, cx cy w h angle, or (N, 4) horizontal, x1 y1 x2 y2; scene pixels
    - scores (N,), labels (N,)
    - own, near: (N,) whether the middle lies in the window's cell, and in it or close beside it
    - cut: (N,) whether a side of the window cuts it off (a border of the scene does not count)
    - seen_xyxy: (N, 4) what the window sees, scene pixels
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    own: NDArray[np.bool_]
    near: NDArray[np.bool_]
    cut: NDArray[np.bool_]
    seen_xyxy: NDArray[np.float64]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The fields by name, to be stored."""
        return dict(vars(self))

    @staticmethod
    def of_columns(columns: Mapping[str, NDArray[Any]]) -> FoundObjects:
        """The inverse of ``columns``."""
        return FoundObjects(**columns)

    def chosen(self, rows: NDArray[Any]) -> FoundObjects:
        """Those that a mask or indices choose."""
        return FoundObjects(**{name: column[rows] for name, column in vars(self).items()})

    @staticmethod
    def joined(parts: Sequence[FoundObjects], columns: int) -> FoundObjects:
        """All of ``parts``; ``columns`` of a box where there are none."""
        if not parts:
            none, no = np.zeros(0), np.zeros(0, dtype=bool)
            labels = none.astype(np.int64)
            return FoundObjects(np.zeros((0, columns)), none, labels, no, no, no, np.zeros((0, 4)))
        names = vars(parts[0])
        return FoundObjects(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def found_in_window(
    found: Predictions, task: str, window: Window, factor: float, ramp: float, least: float
) -> FoundObjects:
    """The rotated ("rotated") or horizontal boxes of a window that may be its own, or are cut off.

    - factor: pixels of the window per scene pixel; ramp: ``Axis.ramp``; least: score that is kept
    """
    height, width = window.size_hw
    shift = (window.origin_xy[0] / factor, window.origin_xy[1] / factor)
    if task == "rotated":
        boxes, scores, labels = found.rboxes, found.rbox_scores, found.rbox_labels
    else:
        boxes, scores, labels = found.boxes, found.box_scores, found.box_labels
    assert boxes is not None
    assert scores is not None
    assert labels is not None
    boxes = boxes.double().cpu()
    cut = _cut_off(boxes, window)
    if task == "rotated":
        boxes = translate(rescale(boxes, (1 / factor, 1 / factor)), shift)
        middles = boxes[:, :2]
    else:
        boxes = boxes / factor + boxes.new_tensor(shift * 2)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    own, near = near_cell(middles, window, ramp)
    kept = (near | cut) & (scores.cpu() >= least)
    seen = np.array([*shift, shift[0] + width / factor, shift[1] + height / factor])
    return FoundObjects(
        boxes[kept].numpy(),
        scores.cpu().double()[kept].numpy(),
        labels.cpu().long()[kept].numpy(),
        own[kept].numpy(),
        near[kept].numpy(),
        cut[kept].numpy(),
        seen[None].repeat(int(kept.sum()), axis=0),
    )


def _cut_off(boxes: Tensor, window: Window) -> Tensor:
    """Which boxes, in pixels of the window, end at a side of it that is no border of the scene."""
    height, width = window.size_hw
    slack = max(_CUT_PX, _CUT_SHARE * max(height, width))
    edges = enclosing_boxes(boxes) if boxes.shape[1] == 5 else boxes
    beyond = torch.stack(
        [
            edges[:, 0] < slack,
            edges[:, 1] < slack,
            edges[:, 2] > width - slack,
            edges[:, 3] > height - slack,
        ],
        dim=1,
    )
    return (beyond & torch.tensor(window.inner_edges)).any(dim=1)


def near_cell(middles_xy: Tensor, window: Window, ramp: float) -> tuple[Tensor, Tensor]:
    """Which points (N, 2) lie in the cell of a window, and which in it or close beside it: (N,)."""
    x1, y1, x2, y2 = window.cell_xyxy
    left, top, right, bottom = window.reach_xyxy
    start, end = middles_xy.new_tensor([x1, y1]), middles_xy.new_tensor([x2, y2])
    # No slack at the borders of the scene: there is no other cell.
    before = middles_xy.new_tensor([left < x1, top < y1]) * NEAR_SHARE * ramp
    after = middles_xy.new_tensor([right > x2, bottom > y2]) * NEAR_SHARE * ramp
    own = ((middles_xy >= start) & (middles_xy < end)).all(dim=1)
    near = ((middles_xy >= start - before) & (middles_xy < end + after)).all(dim=1)
    return own, near
