"""Rotated suppression beside the reference and the plain greedy rule."""

import importlib
import math

import pytest
import torch
from torch import Tensor

from geomtp.geometry import rotated_iou, rotated_nms
from tests.geometry.rbox_families import random_rboxes
from tests.golden_cases import GoldenCase


def greedy(boxes: Tensor, scores: Tensor, threshold: float, labels: Tensor | None) -> list[int]:
    """One box after the other, by falling score, in the words of the definition."""
    overlap = rotated_iou(boxes.double(), boxes.double())
    if labels is not None:
        overlap = overlap * (labels[:, None] == labels[None])
    table, falling, kept = overlap.tolist(), (-scores).tolist(), []
    for i in sorted(range(len(boxes)), key=falling.__getitem__):
        if all(table[i][k] <= threshold for k in kept):
            kept.append(i)
    return kept


def blocks_of(count: int, monkeypatch) -> None:
    module = importlib.import_module("geomtp.geometry.rotated_nms")
    monkeypatch.setattr(module, "CANDIDATES_PER_BLOCK", count)


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_reference(threshold):
    case = GoldenCase.read("rotated_nms")
    boxes, scores, labels = (case.tensor(name) for name in ("boxes", "scores", "labels"))
    have = rotated_nms(boxes, scores, threshold)
    assert have.tolist() == case.tensor(f"keep_{threshold}").tolist()
    have = rotated_nms(boxes, scores, threshold, labels)
    assert have.tolist() == case.tensor(f"batched_keep_{threshold}").tolist()


@pytest.mark.parametrize("candidates_per_block", [1, 300, 1 << 15])
@pytest.mark.parametrize("scene", [60.0, 400.0, 4000.0])
def test_same_as_the_definition(scene, candidates_per_block, monkeypatch):
    blocks_of(candidates_per_block, monkeypatch)
    generator = torch.Generator().manual_seed(int(scene))
    boxes = random_rboxes(130, scene, 4, 70, generator).float()
    scores = torch.rand(130, generator=generator)
    tied = (scores * 10).round() / 10
    labels = torch.randint(-2, 4, (130,), generator=generator)
    for threshold in (0.0, 0.1, 0.5):
        for value in (scores, tied):
            for label in (None, labels):
                have = rotated_nms(boxes, value, threshold, label)
                assert have.tolist() == greedy(boxes, value, threshold, label)


def test_threshold_itself_is_kept():
    boxes = torch.tensor([[10.0, 10, 8, 4, 0], [14.0, 10, 8, 4, 0]]).double()
    third = float(rotated_iou(boxes[:1], boxes[1:]))
    assert rotated_nms(boxes, torch.tensor([0.5, 0.6]), third).tolist() == [1, 0]
    assert rotated_nms(boxes, torch.tensor([0.5, 0.6]), third - 1e-12).tolist() == [1]


def test_a_suppressed_box_suppresses_nothing(monkeypatch):
    row = torch.zeros(40, 5)
    row[:, 0] = torch.arange(40) * 3.0  # each overlaps its neighbours by 5 / 11
    row[:, 2:4] = torch.tensor([8.0, 4.0])
    for candidates in (1, 50, 1 << 15):
        blocks_of(candidates, monkeypatch)
        kept = rotated_nms(row, torch.arange(40, 0, -1).float(), 0.4)
        assert kept.tolist() == list(range(0, 40, 2))


def test_equal_scores_keep_their_order_and_copies_one_box():
    boxes = torch.tensor([[5.0, 5, 4, 2, 0.3]]).repeat(6, 1)
    boxes[3:, 0] += 100
    boxes[1, 4] += math.pi  # the same rectangle again
    assert rotated_nms(boxes, torch.ones(6), 0.5).tolist() == [0, 3]
    labels = torch.tensor([0, 1, 0, 0, 1, 1])
    assert rotated_nms(boxes, torch.ones(6), 0.5, labels).tolist() == [0, 1, 3, 4]


def test_labels_do_not_move_boxes():
    # a coordinate offset per label would lose such small boxes in float32
    boxes = torch.tensor([[19999.0, 19999.0, 0.02, 0.01, 0.0]]).repeat(2, 1)
    boxes[1, 0] += 0.0078125
    labels = torch.tensor([90_000, 90_000])
    assert rotated_nms(boxes, torch.tensor([0.9, 0.8]), 0.3, labels).tolist() == [0]
    assert rotated_nms(boxes, torch.tensor([0.9, 0.8]), 0.5, labels).tolist() == [0, 1]


def test_no_boxes_and_boxes_without_area():
    assert rotated_nms(torch.zeros(0, 5), torch.zeros(0), 0.5).tolist() == []
    assert rotated_nms(torch.zeros(0, 5), torch.zeros(0), 0.5, torch.zeros(0)).tolist() == []
    flat = torch.tensor([[5.0, 5, 4, 0, 0], [5.0, 5, 4, 0, 0], [5, 5, 4, 4, 0]])
    assert rotated_nms(flat, torch.tensor([0.1, 0.2, 0.3]), 0.0).tolist() == [2, 1, 0]


def test_what_does_not_fit_is_named():
    boxes = torch.zeros(3, 5)
    with pytest.raises(ValueError, match=r"scores must have shape \(3,\), one per box, got \(2,\)"):
        rotated_nms(boxes, torch.zeros(2), 0.5)
    with pytest.raises(ValueError, match="labels must have shape"):
        rotated_nms(boxes, torch.zeros(3), 0.5, torch.zeros(3, 1))
    with pytest.raises(ValueError, match="finite"):
        rotated_nms(boxes * math.inf, torch.zeros(3), 0.5)


@pytest.mark.slow
def test_twenty_thousand_boxes_same_as_the_definition():
    generator = torch.Generator().manual_seed(0)
    for scene in (1000.0, 20000.0):
        boxes = random_rboxes(20_000, scene, 20, 100, generator).float()
        scores = torch.rand(20_000, generator=generator)
        kept = rotated_nms(boxes, scores, 0.1)
        assert (scores[kept].diff() <= 0).all()
        # nothing kept overlaps, and all that is gone is overlapped by something kept and better
        among = rotated_iou(boxes[kept].double(), boxes[kept].double()).fill_diagonal_(0)
        assert among.max() <= 0.1
        gone = torch.ones(20_000, dtype=torch.bool)
        gone[kept] = False
        over = rotated_iou(boxes[gone].double(), boxes[kept].double()) > 0.1
        better = scores[kept][None] > scores[gone][:, None]
        assert (over & better).any(dim=1).all()
