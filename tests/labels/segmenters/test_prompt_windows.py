import numpy as np

from geomtp.labels.segmenters.prompt_windows import prompt_windows


def box(cx, cy, side):
    return [cx - side / 2, cy - side / 2, cx + side / 2, cy + side / 2]


def inside(boxes, window):
    low, high = np.array(window[:2]), np.array(window[2:])
    return bool((boxes[:, :2] >= low).all() and (boxes[:, 2:] <= high).all())


def test_an_image_that_fits_is_one_window():
    boxes = np.array([box(10, 10, 20), box(500, 500, 900)])
    assert prompt_windows(boxes, (1000, 1024), 1024) == [((0, 0, 1024, 1000), [0, 1])]
    assert prompt_windows(np.zeros((0, 4)), (1000, 1024), 1024) == []


def test_by_hand():
    """1000 px windows, 750 px apart; the last one lies at the border."""
    boxes = np.array([box(100, 100, 50), box(1300, 100, 50), box(1900, 990, 20), box(950, 500, 90)])
    assert prompt_windows(boxes, (1000, 2000), 1000) == [
        ((0, 0, 1000, 1000), [0]),
        ((750, 0, 1750, 1000), [1, 3]),
        ((1000, 0, 2000, 1000), [2]),
    ]


def test_every_box_lies_in_exactly_one_window():
    rng = np.random.default_rng(0)
    size = (3000, 4100)
    corners = rng.uniform(0, 1, (400, 2)) * [4100, 3000]
    sides = rng.uniform(1, 1, (400, 2)) * np.exp(rng.uniform(0, 7.5, (400, 1)))
    boxes = np.concatenate([corners, corners + sides], axis=1)
    boxes = np.clip(boxes, 0, [4100, 3000, 4100, 3000])
    found = prompt_windows(boxes, size, 1024)
    assert sorted(i for _, indices in found for i in indices) == list(range(400))
    for window, indices in found:
        assert indices == sorted(indices)
        assert inside(boxes[indices], window)
        x1, y1, x2, y2 = window
        assert 0 <= x1 < x2 <= 4100
        assert 0 <= y1 < y2 <= 3000
        longest = max(x2 - x1, y2 - y1)
        assert longest <= 1024 or (boxes[indices, 2:] - boxes[indices, :2]).max() > 256 - 1
    assert [w for w, _ in found] == [w for w, _ in prompt_windows(boxes, size, 1024)]


def test_a_box_across_windows_gets_a_larger_one():
    boxes = np.array([box(875, 500, 600)])  # 575…1175: in neither 0…1000 nor 750…1750
    assert prompt_windows(boxes, (3000, 3000), 1000) == [((0, 0, 2000, 2000), [0])]
    everything = np.array([[0.0, 0, 3000, 3000]])
    assert prompt_windows(everything, (3000, 3000), 1000) == [((0, 0, 3000, 3000), [0])]


def test_small_objects_are_looked_at_enlarged():
    boxes = np.array([box(500, 500, 10), box(500, 500, 40), box(505, 500, 20)])
    found = prompt_windows(boxes, (1000, 1000), 1000, zoom_below_px=32, zoom_px=256)
    assert found == [((384, 384, 640, 640), [0, 2]), ((0, 0, 1000, 1000), [1])]
