"""Mask targets and pasting against the reference."""

import torch

from geomtp.decoders.detection.masks import mask_targets, paste_masks
from tests.golden_cases import GoldenCase


def test_targets_equal_the_reference():
    case = GoldenCase.read("mask_target_paste")
    targets = mask_targets(
        case.tensor("masks_packed").bool(), case.tensor("proposals"), case.tensor("gt_index"), 28
    )
    want = case.tensor("targets_packed").float()
    assert (targets != want).sum(dim=(1, 2)).max() <= 2
    assert (targets.sum(dim=(1, 2)) - case.tensor("target_areas")).abs().max() <= 2


def test_pasting_equals_the_reference():
    case = GoldenCase.read("mask_target_paste")
    config = case.info["config"]
    size_hw = (config["H"], config["W"])
    pasted = paste_masks(case.tensor("mask_probs"), case.tensor("paste_boxes"), size_hw)
    want = case.tensor("pasted_packed").bool()
    assert (pasted != want).sum(dim=(1, 2)).max() <= 2


def test_boxes_without_area_or_outside_paste_nothing():
    ones = torch.ones(3, 28, 28)
    boxes = torch.tensor([[5.0, 5.0, 5.0, 9.0], [50.0, 50.0, 60.0, 60.0], [2.0, 3.0, 6.0, 8.0]])
    pasted = paste_masks(ones, boxes, (20, 30))
    assert pasted.sum(dim=(1, 2)).tolist() == [0, 0, 20]
    assert pasted[2, 3:8, 2:6].all()
