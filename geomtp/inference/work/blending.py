"""Probabilities of windows added up to maps, block by block.

The weights of all windows add up to 1 at each pixel (see ``blocks``), so that a sum of weighted
probabilities is already their mean. Inside a block all windows that have a say are its own. In the
frame along its border its sums lack what the neighbours' windows say: they are kept as they are,
and added to those of the neighbours when all blocks are done.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from geomtp.inference.windows.blocks import Grid, RectXYXY, Window
from geomtp.inference.work.block_results import BlockMap, Sums
from geomtp.types import IGNORE


class BlockSums:
    """Adds up the windows of a block for one map."""

    def __init__(self, grid: Grid, block: int) -> None:
        self._grid, self._block = grid, block
        self._rect = grid.extent_xyxy(block)
        self._total = torch.zeros(0)

    def add(self, probabilities: Tensor, window: Window, share: float) -> None:
        """Add the probabilities (K, h, w) of a window, with ``share`` of its weight."""
        mapped = _on_scene(probabilities.float().cpu(), window, self._grid)
        if not len(self._total):
            x1, y1, x2, y2 = self._rect
            self._total = torch.zeros(len(mapped), y2 - y1, x2 - x1)
        down, across = (torch.from_numpy(part) for part in window.weights_yx)
        part = _inside(self._total, self._rect, window.reach_xyxy)
        part.addcmul_(mapped, (down * share)[:, None] * across)

    def map(self) -> BlockMap:
        """The block's map; of a block without windows an empty one."""
        core = self._grid.core_xyxy(self._block)
        if not len(self._total):
            height, width = max(0, core[3] - core[1]), max(0, core[2] - core[0])
            return BlockMap(np.full((height, width), IGNORE, dtype=np.uint8), ())
        labels = _most_likely(_inside(self._total, self._rect, core))
        frame = tuple(
            Sums(rect, _inside(self._total, self._rect, rect).half().numpy())
            for rect in _frame(self._rect, core)
        )
        return BlockMap(labels, frame)


def whole_map(
    grid: Grid, block: int, core: NDArray[np.uint8], sums: Iterable[Sums]
) -> NDArray[np.uint8]:
    """The finished map of a block, (h, w) uint8: its ``core``, the most likely values around it.

    ``sums``: the frames of this block and of all its neighbours.
    """
    rect, inner = grid.block_xyxy(block), grid.core_xyxy(block)
    x1, y1, x2, y2 = rect
    result = np.full((y2 - y1, x2 - x1), IGNORE, dtype=np.uint8)
    result[inner[1] - y1 : inner[3] - y1, inner[0] - x1 : inner[2] - x1] = core
    parts = list(sums)
    for border in _frame(rect, inner):
        total = None
        for part in parts:
            common = _common(border, part.rect_xyxy)
            if common is None:
                continue
            if total is None:
                shape = (len(part.values), border[3] - border[1], border[2] - border[0])
                total = np.zeros(shape, dtype=np.float32)
            there = _within(total, border, common)
            there += _within(part.values, part.rect_xyxy, common)
        if total is not None:
            _within(result[None], rect, border)[0] = _most_likely(torch.from_numpy(total))
    return result


def _most_likely(values: Tensor) -> NDArray[np.uint8]:
    """The index of the largest of (K, h, w), the first of equal ones: (h, w)."""
    # max, for it goes through the values in the order of memory: argmax takes five times as long.
    return np.asarray(values.max(dim=0).indices.to(torch.uint8))


def _on_scene(probabilities: Tensor, window: Window, grid: Grid) -> Tensor:
    """Those of a window at the pixels of its reach in the scene: (K, h, w)."""
    left, top, right, bottom = window.reach_xyxy
    factor = grid.looks[window.look][0].factor
    x, y = window.origin_xy
    if factor == 1:
        return probabilities[:, top - y : bottom - y, left - x : right - x]
    height, width = probabilities.shape[1:]
    # Middles of scene pixels in the window, from −1 to 1 between its outer borders.
    across = ((torch.arange(left, right) + 0.5) * factor - x) * 2 / width - 1
    down = ((torch.arange(top, bottom) + 0.5) * factor - y) * 2 / height - 1
    points = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)
    return F.grid_sample(
        probabilities[None], points[None], padding_mode="border", align_corners=False
    )[0]


def _frame(outer: RectXYXY, inner: RectXYXY) -> list[RectXYXY]:
    """What ``outer`` has around ``inner``: above, below, left and right of it."""
    x1, y1, x2, y2 = outer
    left, top, right, bottom = inner
    rects = [
        (x1, y1, x2, top),
        (x1, bottom, x2, y2),
        (x1, top, left, bottom),
        (right, top, x2, bottom),
    ]
    return [rect for rect in rects if rect[0] < rect[2] and rect[1] < rect[3]]


def _common(a: RectXYXY, b: RectXYXY) -> RectXYXY | None:
    x1, y1, x2, y2 = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def _inside(values: Tensor, rect: RectXYXY, part: RectXYXY) -> Tensor:
    """The part of ``values`` (K, h, w), which lie at ``rect``, that lies at ``part``."""
    x, y = rect[:2]
    return values[:, part[1] - y : part[3] - y, part[0] - x : part[2] - x]


def _within(values: NDArray[Any], rect: RectXYXY, part: RectXYXY) -> NDArray[Any]:
    x, y = rect[:2]
    return values[:, part[1] - y : part[3] - y, part[0] - x : part[2] - x]
