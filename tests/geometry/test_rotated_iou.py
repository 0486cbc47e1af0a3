"""Rotated IoU beside exact polygons (shapely) and the reference."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import shapely
import torch
from torch import Tensor

from geomtp.geometry import quads_from_rboxes, rotated_iou, rotated_iou_pairs
from tests.geometry.rbox_families import pair_families, random_rboxes
from tests.golden_cases import GoldenCase

FAMILIES = list(pair_families(13, seed=0))


def polygons(rboxes: Tensor) -> np.ndarray:
    return shapely.polygons(quads_from_rboxes(rboxes.double()).numpy())


def exact_overlap(a: Tensor, b: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """IoU and intersection over the area of a, pair by pair."""
    inter = shapely.area(shapely.intersection(polygons(a), polygons(b)))
    area_a = (a[:, 2].double() * a[:, 3].double()).numpy()
    area_b = (b[:, 2].double() * b[:, 3].double()).numpy()
    return inter / (area_a + area_b - inter), inter / area_a


def rational_intersection(a: np.ndarray, b: np.ndarray) -> float:
    """Area of a ∩ b of two convex quads (4, 2) of one orientation, in rational numbers."""
    corners = [(Fraction(x), Fraction(y)) for x, y in a.tolist()]
    clip = [(Fraction(x), Fraction(y)) for x, y in b.tolist()]
    for (x0, y0), (x1, y1) in itertools.pairwise([*clip, clip[0]]):
        # this orientation is that of quads_from_rboxes: the inside has a negative distance
        side = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in corners]
        clipped = []
        for k, (x, y) in enumerate(corners):
            (before_x, before_y), before, here = corners[k - 1], side[k - 1], side[k]
            if (before < 0 < here) or (here < 0 < before):
                t = before / (before - here)
                clipped.append((before_x + t * (x - before_x), before_y + t * (y - before_y)))
            if here <= 0:
                clipped.append((x, y))
        corners = clipped
    doubled = sum(
        corners[k - 1][0] * corners[k][1] - corners[k][0] * corners[k - 1][1]
        for k in range(len(corners))
    )
    return abs(float(doubled)) / 2


def assert_exact(a: Tensor, b: Tensor, tolerance: float) -> None:
    iou, iof = exact_overlap(a, b)
    ours = rotated_iou_pairs(a.double(), b.double()).numpy()
    # GEOS gets some pairs with nearly coincident edges wrong (0 for equal boxes, 1 for touching
    # ones, about 1 % of those): rational arithmetic decides where the two differ.
    doubtful = np.flatnonzero(np.abs(ours - iou) > tolerance)
    assert len(doubtful) <= 1 + len(ours) // 50
    quads = [quads_from_rboxes(boxes.double()).numpy() for boxes in (a, b)]
    for k in doubtful:
        inter = rational_intersection(quads[0][k], quads[1][k])
        area_a, area_b = (float(boxes[k, 2:4].double().prod()) for boxes in (a, b))
        iou[k], iof[k] = inter / (area_a + area_b - inter), inter / area_a
    for have, want in (
        (rotated_iou_pairs(a, b), iou),
        (rotated_iou_pairs(b, a), iou),
        (rotated_iou_pairs(a, b, "iof"), iof),
    ):
        np.testing.assert_allclose(have.numpy(), want, atol=tolerance, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_equal_exact_polygons(family):
    a, b = pair_families(50_000, seed=1)[family]
    assert_exact(a, b, 1e-8)


@pytest.mark.parametrize("family", FAMILIES)
def test_pairs_of_float32_equal_exact_polygons(family):
    a, b = pair_families(13_000, seed=2)[family]
    assert_exact(a.float(), b.float(), 1e-6)


@pytest.mark.slow
def test_a_million_pairs_equal_exact_polygons():
    for a, b in pair_families(1_000_000, seed=3).values():
        assert_exact(a, b, 1e-8)
        assert_exact(a.float(), b.float(), 1e-6)


def test_matrix_equals_exact_polygons_dense_and_sparse():
    generator = torch.Generator().manual_seed(0)
    for scene in (50.0, 500.0, 5000.0):
        a = random_rboxes(120, scene, 1, 60, generator)
        b = random_rboxes(90, scene, 1, 60, generator)
        i, j = (
            part.flatten() for part in torch.meshgrid(*map(torch.arange, (120, 90)), indexing="ij")
        )
        iou, iof = exact_overlap(a[i], b[j])
        np.testing.assert_allclose(rotated_iou(a, b).flatten().numpy(), iou, atol=1e-9)
        np.testing.assert_allclose(rotated_iou(a, b, "iof").flatten().numpy(), iof, atol=1e-9)


def test_reference_values():
    case = GoldenCase.read("rotated_iou")
    a, b, special = (case.tensor(name) for name in ("a", "b", "special"))
    tolerance = {"atol": 1e-6, "rtol": 0.0}
    torch.testing.assert_close(rotated_iou(a, b), case.tensor("iou_ab"), **tolerance)
    torch.testing.assert_close(rotated_iou(a, b), case.tensor("exact_iou_ab"), **tolerance)
    torch.testing.assert_close(rotated_iou(a, special), case.tensor("iou_as"), **tolerance)
    torch.testing.assert_close(rotated_iou(a, b, "iof"), case.tensor("iof_ab"), **tolerance)
    aligned = rotated_iou_pairs(a[: len(b)], b)
    torch.testing.assert_close(aligned, case.tensor("iou_aligned"), **tolerance)
    # The reference is wrong by up to 0.75 here (boxes turned by half a turn): exact values instead.
    exact = case.tensor("exact_iou_ss")
    torch.testing.assert_close(rotated_iou(special, special), exact, **tolerance)
    widened = rotated_iou(special, special, smallest_side_px=1e-3)
    reference = case.tensor("overlaps_ss")
    right = (reference - exact).abs() < 1e-3
    torch.testing.assert_close(widened[right], reference[right], atol=1e-4, rtol=0.0)
    # counter-clockwise angles are the negative ones
    mirrored = rotated_iou(
        a * torch.tensor([1, 1, 1, 1, -1.0]), b * torch.tensor([1, 1, 1, 1, -1.0])
    )
    torch.testing.assert_close(mirrored, case.tensor("iou_ab_counterclockwise"), **tolerance)


def test_hand_made_numbers():
    box = torch.tensor([[10.0, 10.0, 8.0, 4.0, 0.0]])
    others = torch.tensor(
        [
            [10.0, 10.0, 8.0, 4.0, math.pi],
            [14.0, 10.0, 8.0, 4.0, 0.0],  # half of each: 16 / 48
            [18.0, 10.0, 8.0, 4.0, 0.0],  # an edge in common
            [18.0, 14.0, 8.0, 4.0, 0.0],  # a corner in common
            [10.0, 10.0, 4.0, 8.0, 0.0],  # a cross: 16 / 48
            [10.0, 10.0, 2.0, 1.0, 0.7],  # inside: 2 / 32
            [10.0, 10.0, math.sqrt(8), math.sqrt(8), math.pi / 4],  # a diamond of area 8 inside
        ]
    )
    want = torch.tensor([[1.0, 1 / 3, 0.0, 0.0, 1 / 3, 2 / 32, 8 / 32]])
    torch.testing.assert_close(rotated_iou(box, others), want)
    torch.testing.assert_close(rotated_iou(others, box, "iof")[5:], torch.ones(2, 1))


def test_boxes_without_area_overlap_nothing():
    flat = torch.tensor(
        [
            [5.0, 5, 4, 0, 0.3],
            [5, 5, 0, 4, 0.3],
            [5, 5, 0, 0, 0],
            [5, 5, -2, 3, 0],
            [5, 5, -2, -3, 0],
        ]
    )
    both = torch.cat([flat, torch.tensor([[5.0, 5, 4, 4, 0.0]])])
    for mode in ("iou", "iof"):
        overlap = rotated_iou(both, both, mode)
        assert overlap[-1, -1] == 1
        overlap[-1, -1] = 0
        assert torch.equal(overlap, torch.zeros(6, 6))
    assert rotated_iou(both, both, smallest_side_px=1e-3)[2, 2] == 1


def test_boxes_of_very_different_size():
    speck = torch.tensor([[7.0, 3.0, 2e-3, 1e-3, 0.4]])
    scene = torch.tensor([[0.0, 0.0, 20000.0, 20000.0, 0.2]])
    assert rotated_iou(speck, scene, "iof").item() == pytest.approx(1, abs=1e-6)
    assert rotated_iou(speck, scene).item() == pytest.approx(5e-15, rel=1e-6)
    assert rotated_iou(scene, speck, "iof").item() == pytest.approx(5e-15, rel=1e-6)


def test_boxes_that_do_not_meet_have_exactly_no_overlap():
    generator = torch.Generator().manual_seed(9)
    a, b = random_rboxes(300, 90, 2, 40, generator), random_rboxes(300, 90, 2, 40, generator)
    apart = shapely.disjoint(polygons(a)[:, None], polygons(b)[None])
    assert apart.sum() > 1000
    assert not rotated_iou(a, b).numpy()[apart].any()


def test_result_does_not_depend_on_where_the_scene_lies():
    generator = torch.Generator().manual_seed(5)
    a, b = random_rboxes(200, 50, 1, 40, generator), random_rboxes(200, 50, 1, 40, generator)
    shift = torch.tensor([16384.0, -16384.0, 0, 0, 0])
    near, far = rotated_iou(a, b), rotated_iou(a + shift, b + shift)
    torch.testing.assert_close(near, far, atol=1e-9, rtol=0.0)


def test_empty_sets_and_types():
    some = torch.tensor([[1.0, 1, 2, 2, 0]])
    assert rotated_iou(some[:0], some).shape == (0, 1)
    assert rotated_iou(some, some[:0]).shape == (1, 0)
    assert rotated_iou_pairs(some[:0], some[:0]).shape == (0,)
    assert rotated_iou(some, some).dtype == torch.float32
    assert rotated_iou(some.double(), some.double()).dtype == torch.float64


def test_what_does_not_fit_is_named():
    some = torch.zeros(2, 5)
    with pytest.raises(ValueError, match=r"b_cxcywha must be a float tensor of shape \(N, 5\)"):
        rotated_iou(some, torch.zeros(2, 4))
    with pytest.raises(ValueError, match="mode must be iou or iof, got 'giou'"):
        rotated_iou(some, some, "giou")
    with pytest.raises(ValueError, match="2 and 1"):
        rotated_iou_pairs(some, some[:1])
    with pytest.raises(ValueError, match="finite"):
        rotated_iou(some * math.nan, some)
