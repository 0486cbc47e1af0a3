"""Where the model looks at a scene: blocks of work, the windows of each, and what counts of them.

One axis of a scene (the other is alike), with three windows and their cells::

    scene    ├──────────────┬──────────────┬─────────┤
    cells    │      0       │      1       │    2    │   they tile the scene
    windows  ├──────────────────┤      ├─────────────┤   each reaches over its cell
                        ├──────────────────┤
    weights  ─────────────╳──────────────╳───────────    they add up to 1 everywhere

A window is what the model gets to see; its cell is what it answers for. An object belongs to the
window in whose cell its middle lies. Where two cells meet, the weight of one falls as that of the
other rises (a cosine), over half of what both windows see: next to its border, where it sees too
little around, no window has a say. Windows that would reach beyond the scene are moved back into
it; only where the scene is smaller than they are, is it mirrored at its border. A block is a square
of cells: one piece of work.

Cells, windows and strides are counted in pixels of a look, which may be finer or coarser than the
scene's by a factor; everything that leaves this module is in pixels of the scene.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from geomtp.types import SizeHW

RectXYXY = tuple[int, int, int, int]
"""x1 y1 x2 y2 in whole pixels; x2 and y2 are the first column and row outside."""


@dataclass(frozen=True)
class Axis:
    """The cells of one look along one axis.

    - length: of the scene, in its pixels
    - factor: pixels of the look per pixel of the scene
    - window, stride: pixels of the look
    - block: scene pixels; a scene that one block and one window hold has a window of its own length
    """

    length: int
    factor: float
    window: int
    stride: int
    block: int

    @property
    def look_length(self) -> int:
        """The scene's length in pixels of the look."""
        return max(1, math.floor(self.length * self.factor + 1e-6))

    @property
    def seen_whole(self) -> bool:
        """Whether one window sees all of it, and nothing else."""
        return self.look_length <= self.window and self.length <= self.block

    @property
    def window_px(self) -> int:
        """The length of each window."""
        return self.look_length if self.seen_whole else self.window

    @property
    def cells(self) -> int:
        """How many there are."""
        return 1 if self.seen_whole else -(-self.look_length // self.stride)

    @property
    def ramp(self) -> float:
        """Half the way over which weights pass from one cell to the next, in scene pixels.

        Half of what a window sees beyond its cell: what lies nearer to its border never counts.
        """
        return min((self.window - self.stride) // 4, self.stride // 2) / self.factor

    def origin(self, cell: int) -> int:
        """The first pixel of a cell's window."""
        pad = (self.window - self.stride) // 2
        return max(0, min(cell * self.stride - pad, self.look_length - self.window))

    def edges(self, cell: int) -> tuple[float, float]:
        """Where a cell begins and ends, in scene pixels."""
        last = cell == self.cells - 1
        return (
            cell * self.stride / self.factor,
            float(self.length) if last else (cell + 1) * self.stride / self.factor,
        )

    def reach(self, cell: int) -> tuple[int, int]:
        """The first scene pixel and the last plus one where a cell's weight is not nothing."""
        start, end = self.edges(cell)
        first = 0 if cell == 0 else max(0, math.floor(start - self.ramp))
        last = self.length if cell == self.cells - 1 else math.ceil(end + self.ramp)
        return first, min(self.length, last)

    def weights(self, cell: int) -> NDArray[np.float32]:
        """The weight of a cell at the middles of the pixels of its ``reach``: (n,), 0…1."""
        first, last = self.reach(cell)
        start, end = self.edges(cell)
        middles = np.arange(first, last) + 0.5
        rise = np.ones(len(middles)) if cell == 0 else self._risen(middles - start)
        fall = np.zeros(len(middles)) if cell == self.cells - 1 else self._risen(middles - end)
        return (rise - fall).astype(np.float32)

    def _risen(self, beyond: NDArray[np.floating]) -> NDArray[np.float64]:
        """0…1 at pixels that lie so far beyond the border between two cells."""
        if self.ramp == 0:
            return (beyond >= 0).astype(np.float64)
        share = np.clip((beyond / self.ramp + 1) / 2, 0, 1)
        return np.asarray(np.sin(share * np.pi / 2) ** 2)


@dataclass(frozen=True)
class Window:
    """One window of one look.

    - look: index into ``Grid.looks``
    - origin_xy, size_hw: in pixels of the look; it may end beyond the scene
    - cell_xyxy: what it answers for, in scene pixels
    - reach_xyxy: where it has a weight, whole scene pixels
    - weights_yx: (h,) and (w,), whose outer product is that weight
    - inner_edges: which of its sides (left, top, right, bottom) are no border of the scene
    """

    look: int
    origin_xy: tuple[int, int]
    size_hw: SizeHW
    cell_xyxy: tuple[float, float, float, float]
    reach_xyxy: RectXYXY
    weights_yx: tuple[NDArray[np.float32], NDArray[np.float32]]
    inner_edges: tuple[bool, bool, bool, bool]


@dataclass(frozen=True)
class Grid:
    """The blocks and windows of a scene.

    - size_hw: of the scene
    - window: side of the windows; stride: from one to the next, at most a window and at least half
    - factors: pixels of each look per scene pixel, about; ``looks`` has them as they are
    - cells_per_block: along each axis, in the first look

    Raises ValueError for windows that leave gaps or overlap by more than half.
    """

    size_hw: SizeHW
    window: int
    stride: int
    factors: tuple[float, ...] = (1.0,)
    cells_per_block: int = 8

    def __post_init__(self) -> None:
        if not self.window / 2 <= self.stride <= self.window:
            raise ValueError(
                f"windows of {self.window} px every {self.stride} px leave gaps or overlap by more "
                f"than half: choose an overlap from 0 to 0.5"
            )

    @property
    def block_px(self) -> int:
        """The side of a block, in scene pixels."""
        return max(1, round(self.cells_per_block * self.stride / self.factors[0]))

    @cached_property
    def looks(self) -> tuple[tuple[Axis, Axis], ...]:
        """The axes y and x of each look; its factor makes a block a whole number of cells."""
        looks = []
        for wanted in self.factors:
            cells = self._cells_per_block(wanted)
            stride = max(1, round(self.block_px * wanted / cells))
            factor = cells * stride / self.block_px
            y, x = (Axis(side, factor, self.window, stride, self.block_px) for side in self.size_hw)
            looks.append((y, x))
        return tuple(looks)

    def _cells_per_block(self, factor: float) -> int:
        return max(1, math.ceil(self.block_px * factor / self.stride - 1e-2))

    @cached_property
    def frame_px(self) -> int:
        """How far the windows of a block reach into its neighbours, in scene pixels."""
        return max(math.ceil(axis.ramp) for look in self.looks for axis in look)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        rows, columns = (-(-side // self.block_px) for side in self.size_hw)
        return rows, columns

    def __len__(self) -> int:
        rows, columns = self.shape
        return rows * columns

    def block_xyxy(self, block: int) -> RectXYXY:
        """The pixels of a block; blocks are counted row by row."""
        row, column = divmod(block, self.shape[1])
        y, x = row * self.block_px, column * self.block_px
        height, width = self.size_hw
        return (x, y, min(width, x + self.block_px), min(height, y + self.block_px))

    def extent_xyxy(self, block: int) -> RectXYXY:
        """The pixels that the windows of a block have a weight at."""
        x1, y1, x2, y2 = self.block_xyxy(block)
        height, width = self.size_hw
        frame = self.frame_px
        return (max(0, x1 - frame), max(0, y1 - frame),
                min(width, x2 + frame), min(height, y2 + frame))  # fmt: skip

    def core_xyxy(self, block: int) -> RectXYXY:
        """The pixels of a block that no window of another block has a weight at."""
        x1, y1, x2, y2 = self.block_xyxy(block)
        height, width = self.size_hw
        frame = self.frame_px
        left, top = (edge + frame * (edge > 0) for edge in (x1, y1))
        right, bottom = x2 - frame * (x2 < width), y2 - frame * (y2 < height)
        return (left, top, max(left, right), max(top, bottom))

    def window_count(self, block: int) -> int:
        """How many windows a block has."""
        return sum(len(rows) * len(columns) for rows, columns in self._cells(block))

    def windows(self, block: int) -> Iterator[Window]:
        """The windows of a block, look by look, row by row."""
        for look, (rows, columns) in enumerate(self._cells(block)):
            y, x = self.looks[look]
            for i in rows:
                for j in columns:
                    yield _window(look, y, x, i, j)

    def _cells(self, block: int) -> Iterator[tuple[range, range]]:
        """The rows and columns of cells of a block in each look."""
        row, column = divmod(block, self.shape[1])
        for wanted, (y, x) in zip(self.factors, self.looks, strict=True):
            cells = self._cells_per_block(wanted)
            yield (
                range(row * cells, min((row + 1) * cells, y.cells)),
                range(column * cells, min((column + 1) * cells, x.cells)),
            )


def _window(look: int, y: Axis, x: Axis, i: int, j: int) -> Window:
    (x1, x2), (y1, y2) = x.edges(j), y.edges(i)
    (left, right), (top, bottom) = x.reach(j), y.reach(i)
    origin_x, origin_y = x.origin(j), y.origin(i)
    return Window(
        look=look,
        origin_xy=(origin_x, origin_y),
        size_hw=(y.window_px, x.window_px),
        cell_xyxy=(x1, y1, x2, y2),
        reach_xyxy=(left, top, right, bottom),
        weights_yx=(y.weights(i), x.weights(j)),
        inner_edges=(
            origin_x > 0,
            origin_y > 0,
            origin_x + x.window_px < x.look_length,
            origin_y + y.window_px < y.look_length,
        ),
    )
