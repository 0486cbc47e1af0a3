"""Polygons and masks: round trips and hand-made numbers."""

import numpy as np
import pytest
import shapely
import torch

from geomtp.geometry import decode_rle, polygons_from_mask, rle_from_polygons


def test_a_ring_with_a_hole():
    mask = torch.tensor([[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 1]])
    ((outer, hole),) = polygons_from_mask(mask)
    corners = {(0, 0), (0, 3), (4, 3), (4, 2), (3, 2), (3, 0)}
    assert {tuple(point) for point in outer.tolist()} == corners
    assert {tuple(point) for point in hole.tolist()} == {(1, 1), (2, 1), (2, 2), (1, 2)}
    assert (outer[0] == outer[-1]).all()
    assert shapely.Polygon(outer, [hole]).area == 9


def test_regions_meet_by_edges_only():
    assert len(polygons_from_mask(np.eye(3, dtype=bool))) == 3
    assert len(polygons_from_mask(np.array([[0, 1], [1, 1]]))) == 1
    assert polygons_from_mask(np.zeros((4, 4), dtype=bool)) == []


def test_polygons_cover_their_mask():
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(30, 40, generator=generator) < 0.6
    polygons = polygons_from_mask(mask)
    shapes = [shapely.Polygon(outer, holes) for outer, *holes in polygons]
    assert all(shape.is_valid for shape in shapes)
    assert sum(shape.area for shape in shapes) == mask.sum()
    union = shapely.union_all(shapes)
    y, x = np.mgrid[:30, :40] + 0.5
    assert np.array_equal(shapely.contains_xy(union, x, y), mask.numpy())


def test_polygons_become_run_lengths():
    left = np.array([[1.0, 1.0], [4.0, 1.0], [4.0, 5.0], [1.0, 5.0]])
    want = torch.zeros(8, 12, dtype=torch.bool)
    want[1:5, 1:4] = True
    assert torch.equal(decode_rle([rle_from_polygons([left], (8, 12))], (8, 12))[0], want)
    # overlapping and separate parts are one instance
    parts = [left, left + 1, torch.from_numpy(left + np.array([6.0, 0.0]))]
    want[2:6, 2:5] = True
    want[1:5, 7:10] = True
    assert torch.equal(decode_rle([rle_from_polygons(parts, (8, 12))], (8, 12))[0], want)
    assert not decode_rle([rle_from_polygons([], (8, 12))], (8, 12)).any()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"a polygon must have shape \(P, 2\)"):
        rle_from_polygons([np.zeros((2, 2))], (4, 4))
    with pytest.raises(ValueError, match=r"mask must have shape \(H, W\), got \(1, 3, 4\)"):
        polygons_from_mask(torch.zeros(1, 3, 4))
