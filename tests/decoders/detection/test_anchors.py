"""Anchors by hand."""

import torch

from geomtp.decoders.detection.anchors import by_anchor, inside, level_anchors


def test_anchors_of_a_level_by_hand():
    anchors = level_anchors((1, 2), stride=4, scale=8, device=torch.device("cpu"))
    wide = 32 * 2**0.5 / 2  # half the long side at ratio 1:2
    first = torch.tensor([[-wide, -wide / 2, wide, wide / 2], [-16, -16, 16, 16]])
    assert anchors.shape == (6, 4)
    assert torch.allclose(anchors[:2], first)
    assert torch.allclose(anchors[3:], anchors[:3] + torch.tensor([4.0, 0, 4, 0]))


def test_the_scale_multiplies_the_sides_and_keeps_the_centres():
    large, small = (
        level_anchors((3, 5), stride=16, scale=scale, device=torch.device("cpu"))
        for scale in (8, 2)
    )
    assert torch.allclose(large[:, 2:] - large[:, :2], 4 * (small[:, 2:] - small[:, :2]))
    assert torch.allclose(large[:, 2:] + large[:, :2], small[:, 2:] + small[:, :2], atol=1e-4)


def test_octaves_fill_the_space_to_twice_the_size():
    anchors = level_anchors((2, 1), stride=8, scale=4, device=torch.device("cpu"), octaves=3)
    assert anchors.shape == (18, 4)
    sides = (anchors[:, 2:] - anchors[:, :2]).prod(dim=-1).sqrt()  # by ratio, then by size
    expected = torch.tensor([32.0, 32 * 2 ** (1 / 3), 32 * 2 ** (2 / 3)]).repeat(6)
    assert torch.allclose(sides, expected)
    ratios = (anchors[:, 3] - anchors[:, 1]) / (anchors[:, 2] - anchors[:, 0])
    assert torch.allclose(ratios[:9], torch.tensor([0.5, 1.0, 2.0]).repeat_interleave(3))


def test_maps_are_read_cell_by_cell_and_anchor_by_anchor():
    maps = torch.arange(24.0).view(1, 6, 2, 2)  # 3 anchors with 2 numbers each, 2 x 2 cells
    rows = by_anchor(maps, 2)
    assert rows.shape == (1, 12, 2)
    assert rows[0, :3].tolist() == [[0, 4], [8, 12], [16, 20]]  # the first cell
    assert rows[0, 3].tolist() == [1, 5]


def test_inside_needs_the_whole_anchor():
    boxes = torch.tensor([[0.0, 0, 9, 9], [-1, 0, 9, 9], [0, 0, 10, 9], [0, 0, 9, 20]])
    assert inside(boxes, (20, 10)).tolist() == [True, False, False, False]
