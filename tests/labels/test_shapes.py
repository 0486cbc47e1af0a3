import math

import numpy as np
import pytest

from geomtp.geometry import encode_rle
from geomtp.labels.annotations import AnnotatedObject, relative_path, ring_of
from geomtp.labels.shapes import fault, horizontal_box, rotated_boxes

SIZE = (100, 120)
NAN, INF = math.nan, math.inf


def box(*corners):
    return AnnotatedObject("a", "here", box_xyxy=corners)


def rbox(*numbers):
    return AnnotatedObject("a", "here", rbox_cxcywha=numbers)


def ring(*points):
    return AnnotatedObject("a", "here", polygons=((np.array(points, dtype=float),),))


def mask(*windows):
    dense = np.zeros(SIZE, dtype=bool)
    for x1, y1, x2, y2 in windows:
        dense[y1:y2, x1:x2] = True
    return AnnotatedObject("a", "here", rle=encode_rle(dense[None])[0])


def test_rotated_boxes_by_hand():
    objects = [
        box(10, 20, 50, 40),
        rbox(30, 30, 10, 40, 0.0),  # w < h: the same rectangle in le90
        ring((10, 20), (50, 20), (50, 40), (10, 40)),
        ring((0, 10), (10, 0), (20, 10), (10, 20), (5, 15)),
        mask((10, 20, 50, 40)),
    ]
    found = rotated_boxes(objects, SIZE)
    flat = [30, 30, 40, 20, 0]
    upright = [30, 30, 40, 10, -math.pi / 2]
    np.testing.assert_allclose(found[[0, 1, 2, 4]], [flat, upright, flat, flat], atol=1e-9)
    np.testing.assert_allclose(found[3, :4], [10, 10, math.sqrt(200), math.sqrt(200)])
    assert abs(found[3, 4]) == pytest.approx(math.pi / 4)
    assert rotated_boxes([]).shape == (0, 5)


def test_a_mask_s_rotated_box_holds_all_its_pixels():
    found = rotated_boxes([mask((10, 20, 11, 60), (10, 59, 50, 60))], SIZE)[0]  # an L
    assert found[2] * found[3] <= 40 * 40
    assert found[2] * found[3] >= 40 * 40 / 2


def test_horizontal_boxes_are_clipped():
    assert horizontal_box(box(-5, 90, 20, 130), SIZE) == (0, 90, 20, 100)
    assert horizontal_box(ring((-5, 5), (20, 5), (20, 130)), SIZE) == (0, 5, 20, 100)
    turned = horizontal_box(rbox(60, 50, 20, 10, math.pi / 2), SIZE)
    np.testing.assert_allclose(turned, (55, 40, 65, 60))


@pytest.mark.parametrize(
    "item",
    [
        box(10, 20, 50, 40), box(-10, -10, 1, 1), box(119, 99, 130, 130),
        rbox(60, 50, 300, 300, 0.3), rbox(-5, -5, 20, 20, 0), rbox(60, 50, 1, 2, 9.0),
        ring((0, 0), (10, 0), (5, 8)), ring((-5, 50), (5, 45), (5, 55), (0, 60)),
        mask((0, 0, 1, 1)),
    ],
)  # fmt: skip
def test_usable_ones(item):
    assert fault(item, SIZE) is None


@pytest.mark.parametrize(
    "item",
    [
        box(10, 20, 10, 40), box(10, 20, 5, 40), box(NAN, 0, 1, 1), box(0, 0, INF, 1),
        rbox(50, 50, 0, 10, 0), rbox(50, 50, -5, 10, 0), rbox(50, 50, 5, 10, NAN),
        rbox(50, 50, 1e38, 10, 0),
        ring((0, 0), (0, 0), (10, 0), (10, 10)),  # coincident neighbours
        ring((0, 0), (10, 10), (20, 20), (5, 5)), ring((0, 0), (NAN, 0), (5, 5)), mask(),
    ],
)  # fmt: skip
def test_degenerate_ones(item):
    assert fault(item, SIZE)[0] == "degenerate"


@pytest.mark.parametrize(
    "item",
    [
        box(130, 10, 140, 20), box(-20, 10, 0, 20), rbox(-10, -10, 18, 18, 0),
        # Its enclosing box meets the corner, it does not.
        rbox(125, 105, 20, 2, -math.pi / 4),
        ring((10, 101), (20, 101), (20, 110)),
    ],
)  # fmt: skip
def test_outside_ones(item):
    assert fault(item, SIZE)[0] == "outside"


def test_rings():
    np.testing.assert_array_equal(
        ring_of([0, 0, 4, 0, 4, 4, 0, 0]), [[0, 0], [4, 0], [4, 4]]
    )  # the repeated first point is left out
    assert ring_of([0, 0, 4, 0, 0, 0]).shape == (3, 2)
    for wrong in ([1, 2, 3], [1, 2, 3, 4], ["a", 1, 2, 3, 4, 5], None, [[1, 2], [3]]):
        with pytest.raises(ValueError):
            ring_of(wrong)


def test_paths():
    assert relative_path("a\\b/./c.png") == "a/b/c.png"
    for wrong in ("", ".", "/a", "a/../b", "..", "C:/a", "c:a", "\\\\host\\a", "a\0"):
        with pytest.raises(ValueError, match="must lie below the image folder"):
            relative_path(wrong)
