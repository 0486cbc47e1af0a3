"""Weights of windows add up to one, and each block knows which of its pixels are settled."""

import numpy as np
import pytest

from geomtp.evaluation.sliding import slide_windows
from geomtp.inference.windows.blocks import Grid

GRIDS = [  # height and width, window, stride, factors, cells per block
    ((300, 277), 64, 48, (1.0,), 3),
    ((200, 260), 64, 32, (1.0,), 2),  # each pixel in up to four windows
    ((250, 150), 32, 24, (0.5,), 3),
    ((260, 240), 32, 24, (1.0, 0.5, 1.5), 4),
    ((411, 423), 32, 20, (1.0, 0.55, 0.62), 4),
    ((260, 240), 32, 32, (0.3,), 4),  # no overlap
    ((25, 300), 32, 24, (1.0,), 4),  # lower than a window
    ((97, 97), 64, 33, (1.0,), 2),
    ((130, 210), 32, 24, (1.0, 0.25), 8),  # one window of a coarse look holds the scene's height
    ((1, 1), 32, 24, (1.0,), 8),
]


@pytest.mark.parametrize("arguments", GRIDS)
def test_weights_add_up_to_one_at_each_pixel(arguments):
    grid = Grid(*arguments)
    total, covered = np.zeros(grid.size_hw), np.zeros(grid.size_hw, dtype=int)
    for block in range(len(grid)):
        own = np.zeros(grid.size_hw)
        left, top, right, bottom = grid.extent_xyxy(block)
        for window in grid.windows(block):
            x1, y1, x2, y2 = window.reach_xyxy
            assert left <= x1 < x2 <= right
            assert top <= y1 < y2 <= bottom
            own[y1:y2, x1:x2] += np.outer(*window.weights_yx)
        x1, y1, x2, y2 = grid.core_xyxy(block)
        np.testing.assert_allclose(own[y1:y2, x1:x2], len(grid.looks), atol=1e-5)
        total += own
        x1, y1, x2, y2 = grid.block_xyxy(block)
        covered[y1:y2, x1:x2] += 1
    np.testing.assert_allclose(total, len(grid.looks), atol=1e-5)
    assert (covered == 1).all()


@pytest.mark.parametrize("arguments", GRIDS)
def test_windows_hold_what_they_have_a_weight_at(arguments):
    grid = Grid(*arguments)
    for block in range(len(grid)):
        for window in grid.windows(block):
            factor = grid.looks[window.look][0].factor
            (x, y), (height, width) = window.origin_xy, window.size_hw
            x1, y1, x2, y2 = (edge * factor for edge in window.reach_xyxy)
            # reaches are widened to whole scene pixels, looks end at whole pixels
            assert x <= x1 + factor
            assert y <= y1 + factor
            assert x + width >= x2 - factor - 1
            assert y + height >= y2 - factor - 1
            assert min(x, y) >= 0
            assert x + width <= max(1, grid.size_hw[1] * factor + 1e-6)
            assert y + height <= max(1, grid.size_hw[0] * factor + 1e-6)


def test_cells_tile_the_scene():
    grid = Grid((100, 200), 64, 48, cells_per_block=2)
    windows = [window for block in range(len(grid)) for window in grid.windows(block)]
    cells = np.zeros((100, 200), dtype=int)
    for window in windows:
        x1, y1, x2, y2 = (round(edge) for edge in window.cell_xyxy)
        cells[y1:y2, x1:x2] += 1
    assert (cells == 1).all()
    assert sorted({window.cell_xyxy[0] for window in windows}) == [0, 56, 104, 152]
    assert grid.shape == (1, 2)
    assert grid.block_xyxy(1) == (104, 0, 200, 100)


@pytest.mark.parametrize("size_hw", [(100, 200), (64, 65), (500, 300)])
@pytest.mark.parametrize("stride", [48, 32])
def test_windows_are_those_of_evaluation(size_hw, stride):
    grid = Grid(size_hw, 64, stride, cells_per_block=3)
    windows = [window for block in range(len(grid)) for window in grid.windows(block)]
    found = [(*w.origin_xy, w.origin_xy[0] + w.size_hw[1], w.origin_xy[1] + w.size_hw[0])
             for w in windows]  # fmt: skip
    assert sorted(found) == sorted(slide_windows(size_hw, 64, stride))
    assert sum(grid.window_count(block) for block in range(len(grid))) == len(found)


def test_a_scene_of_one_window_is_seen_as_it_is():
    (window,) = Grid((50, 60), 64, 48).windows(0)
    assert (window.origin_xy, window.size_hw) == ((0, 0), (50, 60))
    assert window.weights_yx[0].tolist() == [1.0] * 50


@pytest.mark.parametrize("stride", [0, 31, 65])
def test_windows_that_leave_gaps_are_refused(stride):
    with pytest.raises(ValueError, match="leave gaps or overlap by more than half"):
        Grid((100, 100), 64, stride)


def test_looks_that_need_larger_blocks_are_refused():
    with pytest.raises(ValueError, match="more cells per block are needed"):
        Grid((400, 400), 64, 48, (1.0, 0.25), cells_per_block=2)
