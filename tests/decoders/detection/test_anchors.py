"""Anchors by hand."""

import torch

from geomtp.decoders.detection.anchors import inside, level_anchors


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


def test_inside_needs_the_whole_anchor():
    boxes = torch.tensor([[0.0, 0, 9, 9], [-1, 0, 9, 9], [0, 0, 10, 9], [0, 0, 9, 20]])
    assert inside(boxes, (20, 10)).tolist() == [True, False, False, False]
