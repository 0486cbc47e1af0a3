"""Smallest rectangles around points beside shapely, the reference and hand-made numbers."""

import math

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor

from geomtp.geometry import minimum_area_rbox, quads_from_rboxes, rboxes_from_quads, regularise
from geomtp.geometry.rotated_boxes import points_inside
from tests.geometry.rbox_families import random_rboxes
from tests.golden_cases import GoldenCase


def assert_smallest_around(rboxes: Tensor, points: Tensor, tolerance: float = 1e-9) -> None:
    """Every box holds its points and has the area of shapely's smallest rectangle."""
    for rbox, group in zip(rboxes.double(), points.double(), strict=True):
        grown = rbox.clone()
        grown[2:4] += 2 * tolerance
        assert points_inside(group, grown[None]).all()
        smallest = shapely.minimum_rotated_rectangle(shapely.MultiPoint(group.numpy()))
        assert float(rbox[2] * rbox[3]) == pytest.approx(smallest.area, rel=1e-6, abs=tolerance)


def test_any_four_points():
    generator = torch.Generator().manual_seed(0)
    # random corners: convex, concave and crossing in about equal parts
    quads = torch.rand(300, 4, 2, generator=generator, dtype=torch.float64) * 50
    rboxes = rboxes_from_quads(quads)
    assert_smallest_around(rboxes, quads)
    torch.testing.assert_close(rboxes, regularise(rboxes))
    # the order of the corners does not matter, as far as ties allow
    shuffled = rboxes_from_quads(quads[:, [2, 0, 3, 1]])
    torch.testing.assert_close(shuffled, rboxes)


def test_rectangles_come_back():
    generator = torch.Generator().manual_seed(1)
    rboxes = regularise(random_rboxes(300, 20000, 1, 90, generator))
    torch.testing.assert_close(rboxes_from_quads(quads_from_rboxes(rboxes)), rboxes)
    needles = rboxes.clone()
    needles[:, 3] = 1e-3
    torch.testing.assert_close(rboxes_from_quads(quads_from_rboxes(needles)), needles)


def test_reference_quads():
    case = GoldenCase.read("box_conversions")
    rboxes = case.tensor("rboxes")
    back = rboxes_from_quads(case.tensor("rbox2qbox").reshape(-1, 4, 2))
    distance = torch.cdist(quads_from_rboxes(back), quads_from_rboxes(rboxes)).amin(dim=2)
    assert distance.max() < 1e-3

    quads = case.tensor("quads").reshape(-1, 4, 2)
    want, have = case.tensor("qbox2rbox_quads_le90"), rboxes_from_quads(quads)
    assert_smallest_around(have, quads, tolerance=1e-4)
    turn = (have[:, 4] - want[:, 4] + math.pi / 2) % math.pi - math.pi / 2
    same = ((have - want)[:, :4].abs().amax(dim=1) < 1e-3) & (turn.abs() < 1e-5)
    # Two edges with exactly the same area: the reference picks one by rounding.
    areas = [boxes[:, 2].double() * boxes[:, 3].double() for boxes in (have, want)]
    tied = (areas[0] / areas[1] - 1).abs() < 1e-6
    assert (same | tied).all()
    assert int(same.sum()) >= 90


def test_degenerate_points():
    quads = torch.tensor(
        [
            [[3.0, 4], [3, 4], [3, 4], [3, 4]],
            [[0.0, 0], [3, 4], [6, 8], [3, 4]],
            [[0.0, 0], [4, 0], [0, 0], [4, 0]],
            [[0.0, 0], [4, 0], [4, 2], [4, 0]],
        ]
    )
    have = rboxes_from_quads(quads)
    direction = math.atan2(4, 3)
    want = [[3, 4, 0, 0], [3, 4, 10, 0, direction], [2, 0, 4, 0, 0]]
    assert have[0, :4].tolist() == want[0]
    assert have[1].tolist() == pytest.approx(want[1], abs=1e-6)
    assert have[2].tolist() == pytest.approx(want[2], abs=1e-6)
    assert float(have[3, 2] * have[3, 3]) == pytest.approx(8)
    assert torch.isfinite(have).all()


def test_of_two_equal_areas_the_longer_edge_decides():
    # rectangles along the first edge (40.05 long) and the last (37.88) have the same area
    quad = torch.tensor([[[215.2, 170.0], [180.0, 150.9], [167.1, 178.5], [195.6, 202.3]]]).double()
    first = float(torch.atan2(*(quad[0, 0] - quad[0, 1]).flip(0)))
    for shift in range(4):
        rbox = rboxes_from_quads(quad.roll(shift, dims=1))[0]
        assert float(rbox[4]) == pytest.approx(first)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 50, 2000])
def test_many_points_of_one_polygon(count):
    generator = torch.Generator().manual_seed(count)
    points = torch.randn(count, 2, generator=generator, dtype=torch.float64) * 20 + 100
    assert_smallest_around(minimum_area_rbox(points)[None], points[None])
    lattice = (points / 10).round()  # repeated and collinear points
    assert_smallest_around(minimum_area_rbox(lattice)[None], lattice[None])


def test_types_and_shapes():
    assert rboxes_from_quads(torch.zeros(0, 4, 2)).shape == (0, 5)
    assert rboxes_from_quads(torch.rand(2, 4, 2)).dtype == torch.float32
    assert minimum_area_rbox(torch.rand(7, 2)).shape == (5,)
    np.testing.assert_allclose(minimum_area_rbox(torch.tensor([[2.0, 3.0]]))[:4], [2, 3, 0, 0])
    with pytest.raises(ValueError, match=r"quads must be a float tensor of shape \(N, 4, 2\)"):
        rboxes_from_quads(torch.zeros(3, 8))
    with pytest.raises(ValueError, match="at least one point"):
        minimum_area_rbox(torch.zeros(0, 2))
