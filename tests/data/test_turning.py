"""Turning views: pixels, maps and rotated boxes go together."""

import math

import numpy as np
import pytest
import torch

from geomtp.data.turning import Turning, turned_map, turned_pixels, turned_targets
from geomtp.geometry import masks_from_rboxes
from geomtp.types import ClassMap, Targets

CLASSES = ClassMap(("plane", "storage-tank"))


def test_right_angles_turn_pixels_exactly_and_clockwise():
    pixels = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    for quarter in (1, 2, 3):
        turned = turned_pixels(pixels, quarter * math.pi / 2)
        np.testing.assert_allclose(turned, np.rot90(pixels, -quarter, axes=(1, 2)), atol=1e-5)
    wide = np.zeros((1, 4, 10), np.float32)
    wide[0, 1, 5] = 1  # centre (5.5, 1.5): half a pixel right of the middle, half above it
    turned = turned_pixels(wide, math.pi / 2)[0]
    assert np.argwhere(turned > 0.99).tolist() == [[2, 5]]


def test_maps_are_ignored_where_nothing_was():
    values = torch.zeros((20, 40), dtype=torch.uint8)
    values[:, 30:] = 1
    turned = turned_map(values, math.pi / 2)
    # The middle 20 columns become rows, all of them; what was at the sides is gone.
    assert (turned[:, 10:30] != 255).all()
    assert (turned[:, :10] == 255).all()
    assert (turned[:, 30:] == 255).all()
    assert turned_map(values, math.pi)[5].tolist() == [1] * 10 + [0] * 30
    assert set(turned_map(values, 0.3).unique().tolist()) == {0, 1, 255}


def test_boxes_turn_with_the_pixels():
    size_hw = (60, 90)
    boxes = torch.tensor([[40.0, 25.0, 30.0, 12.0, 0.4], [85.0, 5.0, 6.0, 4.0, 0.0]])
    targets = Targets(rboxes=boxes, rbox_labels=torch.tensor([0, 1]))
    for angle in (0.7, -0.7, math.pi / 2):
        found = turned_targets(targets, size_hw, angle)
        assert found.rbox_labels.tolist() == [0]  # the other one left the view
        before = masks_from_rboxes(boxes[:1], size_hw)[0].numpy().astype(np.float32)
        after = masks_from_rboxes(found.rboxes, size_hw)[0].numpy()
        turned = turned_pixels(before[None], angle)[0] > 0.5
        overlap = (after & turned).sum() / (after | turned).sum()
        assert overlap > 0.93
        assert (found.rboxes[:, 2] >= found.rboxes[:, 3]).all()


def test_angles_are_drawn_for_a_share_of_the_views():
    rng = np.random.default_rng(0)
    plane = Targets(rboxes=torch.zeros(1, 5), rbox_labels=torch.tensor([0]))
    tank = Targets(rboxes=torch.zeros(1, 5), rbox_labels=torch.tensor([1]))
    turning = Turning(0.5, 20.0, ("storage-tank",))
    angles = np.array([turning.draw(plane, CLASSES, rng) for _ in range(1000)])
    assert 430 < (angles == 0).sum() < 570
    assert 19 < np.rad2deg(angles).max() <= 20
    assert -20 <= np.rad2deg(angles).min() < -19
    right = {round(math.degrees(turning.draw(tank, CLASSES, rng))) for _ in range(200)}
    assert right == {0, 90, 180, -90, -180}
    with pytest.raises(ValueError, match="unknown class 'tank'"):
        Turning(1.0, 20.0, ("tank",)).draw(plane, CLASSES, rng)
    with pytest.raises(ValueError, match=r"turned by 0…180 degrees, got 0\.5 and 270"):
        Turning(0.5, 270)
