from __future__ import annotations

import math

import numpy as np
import pytest
from shapely.geometry import MultiPoint, Point, Polygon

from geomtp.data.scenes.shapes import (
    Shape,
    capsule,
    convex_hull,
    disc,
    minimum_box,
    polygon,
    rectangle,
)

X = np.arange(12, dtype=np.float32) + np.float32(0.5)
Y = np.arange(9, dtype=np.float32) + np.float32(0.5)


def test_disc_distance():
    distance = disc(3.0, (6.5, 4.5)).signed_distance(X, Y)
    assert distance.shape == (9, 12)
    assert distance[4, 6] == pytest.approx(-3.0)
    assert distance[4, 10] == pytest.approx(1.0)
    assert distance[0, 3] == pytest.approx(2.0)  # 3-4-5


@pytest.mark.parametrize(
    "shape",
    [
        capsule((2, 2), (8, 6), 1.5),
        rectangle(6, 4, (6, 4), rounding=1.0).moved(0.3, -0.2, 0.2, 1.0),
        Shape(convex_hull(np.array([(2, 2), (9, 3), (6, 8)])), 0.7),
    ],
)
def test_grown_shapes_have_exact_distances(shape):
    core = MultiPoint(shape.corners).convex_hull
    distance = shape.signed_distance(X, Y)
    for row, y in enumerate(Y):
        for column, x in enumerate(X):
            point = Point(float(x), float(y))
            if not core.contains(point):
                assert distance[row, column] == pytest.approx(
                    point.distance(core) - shape.radius, abs=1e-5
                )
            else:
                assert distance[row, column] < -shape.radius + 1e-6


def test_plain_polygon_has_the_inside_of_shapely():
    shape = polygon((1.2, 0.7), (10.3, 2.1), (8.0, 8.2), (2.5, 6.9), (5, 5))
    inside = shape.signed_distance(X, Y) < 0
    outline = Polygon(shape.corners)
    want = [[outline.contains(Point(float(x), float(y))) for x in X] for y in Y]
    np.testing.assert_array_equal(inside, want)
    assert len(shape.corners) == 4  # (5, 5) lies within the hull


def test_moved_turns_clockwise_as_seen():
    moved = capsule((0, 0), (1, 0), 0.5).moved(10, 20, math.pi / 2, 2.0)
    np.testing.assert_allclose(moved.corners, [(10, 20), (10, 22)], atol=1e-12)
    assert moved.radius == 1.0


def test_swept_square_is_a_hexagon():
    hull = rectangle(2, 2).swept(3, 3).corners
    assert Polygon(hull).area == pytest.approx(4 + 2 * 3 * 2)
    assert len(hull) == 6


def test_fully_rounded_rectangle_is_a_capsule():
    shape = rectangle(6, 4, rounding=2.0)
    np.testing.assert_allclose(shape.corners, [(-1, 0), (1, 0)])


def test_minimum_box_of_a_turned_rectangle_and_of_a_disc():
    x, y, width, height, angle = minimum_box([rectangle(7, 3).moved(5, 6, 0.4, 1.0)])
    assert (x, y) == pytest.approx((5, 6))
    assert sorted((width, height)) == pytest.approx([3, 7])
    long_axis = angle if width > height else angle + math.pi / 2
    assert math.remainder(long_axis - 0.4, math.pi) == pytest.approx(0, abs=1e-9)
    assert minimum_box([disc(2.5, (1, 2))]) == pytest.approx((1, 2, 5, 5, 0))


def test_minimum_box_is_the_smallest_of_many_directions():
    shapes = [
        polygon((0, 0), (9, 1), (4, 6)).moved(0, 0, 0.7, 1),
        capsule((2, 3), (7, 7), 1.2),
    ]
    _, _, width, height, _ = minimum_box(shapes)
    outline = MultiPoint(shapes[0].corners).union(
        MultiPoint(shapes[1].corners).convex_hull.buffer(1.2, quad_segs=64)
    )
    least = outline.convex_hull.minimum_rotated_rectangle.area
    assert width * height == pytest.approx(least, rel=0.01)
    assert width * height >= least * 0.999
