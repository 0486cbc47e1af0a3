"""Where the model looks at a scene: blocks of work, the windows of each, and what counts of them.

One axis of a scene (the other is alike), with three windows and their cells::

    windows  ├────────────────────┤       ├────────────────────┤
                           ├────────────────────┤
    scene    ├─────────────────┬─────────────┬─────────────────┤
    cells    │        0        │      1      │        2        │   they tile the scene
    weights  ──────────────────╳─────────────╳──────────────────   they add up to 1 everywhere

A window is what the model gets to see; its cell is what it answers for. An object belongs to the
window in whose cell its middle lies. Where two cells meet, the weight of one falls as that of the
other rises (a cosine), over half of what both windows see: next to its border, where it sees too
little around, no window has a say. The last window is moved back into the scene; a scene shorter
than a window is seen as it is. A block is a square of cells: one piece of work.

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
class Blocks:
    """The blocks along one axis, in scene pixels.

    - length: of the scene; count: how many there are
    - side: of a block; the first begins ``offset`` pixels earlier, the last goes on to the end
    """

    length: int
    count: int
    side: int
    offset: int

    def edge(self, number: int) -> int:
        """Where block ``number`` begins, and the one before it ends."""
        if number == 0:
            return 0
        return self.length if number == self.count else number * self.side + self.offset


@dataclass(frozen=True)
class Axis:
    """The cells of one look along one axis.

    - blocks: of the scene; per_block: cells in each
    - factor: pixels of the look per pixel of the scene
    - window, stride: pixels of the look
    """

    blocks: Blocks
    per_block: int
    factor: float
    window: int
    stride: int

    @property
    def length(self) -> int:
        """Of the scene, in its pixels."""
        return self.blocks.length

    @property
    def look_length(self) -> int:
        """Of the scene, in pixels of the look."""
        return look_length(self.length, self.factor)

    @property
    def seen_whole(self) -> bool:
        """Whether each window sees all of it, so that a block needs no more than one."""
        return self.look_length <= self.window

    @property
    def window_px(self) -> int:
        """The length of each window."""
        return min(self.look_length, self.window)

    @property
    def cells(self) -> int:
        """How many there are."""
        if self.seen_whole:
            return self.blocks.count
        return cell_count(self.look_length, self.window, self.stride)

    @property
    def pad(self) -> int:
        """What a window sees beyond its cell on each side, pixels of the look."""
        return (self.window - self.stride) // 2

    @property
    def ramp(self) -> float:
        """Half the way over which weights pass from one cell to the next, in scene pixels.

        Half of what a window sees beyond its cell: what lies nearer to its border never counts.
        """
        return 0.0 if self.seen_whole else min(self.pad // 2, self.stride // 2) / self.factor

    @property
    def frame(self) -> float:
        """How far cells of a block reach into the next one, in scene pixels."""
        if self.seen_whole:
            return 0.0
        pad, offset = self.pad / self.factor, self.blocks.offset
        # Cells of other looks do not begin where blocks do; and the last may go on to the end.
        return max(self.ramp + abs(pad - offset), 2 * pad - offset if pad != offset else 0.0)

    def cells_of(self, block: int) -> range:
        """The cells of a block; there may be none in the last."""
        if self.seen_whole:
            return range(block, block + 1)
        start, end = block * self.per_block, (block + 1) * self.per_block
        return range(start, self.cells if block == self.blocks.count - 1 else min(end, self.cells))

    def origin(self, cell: int) -> int:
        """The first pixel of a cell's window, in pixels of the look."""
        return 0 if self.seen_whole else min(cell * self.stride, self.look_length - self.window)

    def edge(self, cell: int) -> float:
        """Where a cell begins and the one before it ends, in scene pixels."""
        if self.seen_whole:
            return float(self.blocks.edge(cell))
        if cell == 0:
            return 0.0
        if cell == self.cells:
            return float(self.length)
        return (cell * self.stride + self.pad) / self.factor

    def reach(self, cell: int) -> tuple[int, int]:
        """The first scene pixel and the last plus one where a cell's weight is not nothing."""
        first = 0 if cell == 0 else max(0, math.floor(self.edge(cell) - self.ramp))
        last = self.length
        if cell < self.cells - 1:
            last = min(last, math.ceil(self.edge(cell + 1) + self.ramp))
        return first, last

    def weights(self, cell: int) -> NDArray[np.float32]:
        """The weight of a cell at the middles of the pixels of its ``reach``: (n,), 0…1."""
        middles = np.arange(*self.reach(cell)) + 0.5
        last = cell == self.cells - 1
        rise = np.ones(len(middles)) if cell == 0 else self._risen(middles - self.edge(cell))
        fall = np.zeros(len(middles)) if last else self._risen(middles - self.edge(cell + 1))
        return (rise - fall).astype(np.float32)

    def _risen(self, beyond: NDArray[np.floating]) -> NDArray[np.float64]:
        """0…1 at pixels that lie so far beyond the border between two cells."""
        if self.ramp == 0:
            return (beyond >= 0).astype(np.float64)
        share = np.clip((beyond / self.ramp + 1) / 2, 0, 1)
        return np.asarray(np.sin(share * np.pi / 2) ** 2)


def look_length(length: int, factor: float) -> int:
    """A length in scene pixels, in whole pixels of a look."""
    return max(1, math.floor(length * factor + 1e-6))


def cell_count(length: int, window: int, stride: int) -> int:
    """How many windows, one each ``stride``, cover a length; one that is shorter has one."""
    return -(-max(0, length - window) // stride) + 1


@dataclass(frozen=True)
class Window:
    """One window of one look.

    - look: index into ``Grid.looks``
    - origin_xy, size_hw: in pixels of the look, inside the scene
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
        if self.frame_px > self.block_px:
            raise ValueError(
                f"blocks of {self.block_px} px are too small for looks of the factors "
                f"{self.factors}: more cells per block are needed"
            )

    @property
    def block_px(self) -> int:
        """The side of a block, in scene pixels."""
        return max(1, round(self.cells_per_block * self.stride / self.factors[0]))

    @cached_property
    def looks(self) -> tuple[tuple[Axis, Axis], ...]:
        """The axes y and x of each look; its factor makes a block a whole number of cells."""
        y, x = (self._blocks(side) for side in self.size_hw)
        looks = []
        for wanted in self.factors:
            cells = max(1, math.ceil(self.block_px * wanted / self.stride - 1e-2))
            stride = max(1, round(self.block_px * wanted / cells))
            factor = cells * stride / self.block_px
            looks.append(
                (
                    Axis(y, cells, factor, self.window, stride),
                    Axis(x, cells, factor, self.window, stride),
                )
            )
        return tuple(looks)

    def _blocks(self, length: int) -> Blocks:
        factor = self.cells_per_block * self.stride / self.block_px
        cells = cell_count(look_length(length, factor), self.window, self.stride)
        offset = round((self.window - self.stride) // 2 / factor)
        return Blocks(length, -(-cells // self.cells_per_block), self.block_px, offset)

    @cached_property
    def frame_px(self) -> int:
        """How far the windows of a block reach into its neighbours, in scene pixels."""
        return max(math.ceil(axis.frame) for look in self.looks for axis in look)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        y, x = self.looks[0]
        return y.blocks.count, x.blocks.count

    def __len__(self) -> int:
        rows, columns = self.shape
        return rows * columns

    def block_xyxy(self, block: int) -> RectXYXY:
        """The pixels of a block; blocks are counted row by row."""
        row, column = divmod(block, self.shape[1])
        y, x = (axis.blocks for axis in self.looks[0])
        return (x.edge(column), y.edge(row), x.edge(column + 1), y.edge(row + 1))

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
        for y, x in self.looks:
            yield y.cells_of(row), x.cells_of(column)


def _window(look: int, y: Axis, x: Axis, i: int, j: int) -> Window:
    (left, right), (top, bottom) = x.reach(j), y.reach(i)
    origin_x, origin_y = x.origin(j), y.origin(i)
    return Window(
        look=look,
        origin_xy=(origin_x, origin_y),
        size_hw=(y.window_px, x.window_px),
        cell_xyxy=(x.edge(j), y.edge(i), x.edge(j + 1), y.edge(i + 1)),
        reach_xyxy=(left, top, right, bottom),
        weights_yx=(y.weights(i), x.weights(j)),
        inner_edges=(
            origin_x > 0,
            origin_y > 0,
            origin_x + x.window_px < x.look_length,
            origin_y + y.window_px < y.look_length,
        ),
    )
