"""Suppression from top to bottom beside suppression of everything at once."""

import importlib

import pytest
import torch

from geomtp.geometry import rotated_nms, sweep_nms
from geomtp.geometry.sweep_nms import NmsSweep
from tests.geometry.rbox_families import random_rboxes


def bands_of(count: int, monkeypatch) -> None:
    monkeypatch.setattr(
        importlib.import_module("geomtp.geometry.sweep_nms"), "BOXES_PER_BAND", count
    )


@pytest.mark.parametrize("band", [4, 30, 1000])
@pytest.mark.parametrize("scene", [100.0, 400.0])
def test_same_as_all_at_once(scene, band, monkeypatch):
    bands_of(band, monkeypatch)
    generator = torch.Generator().manual_seed(int(scene) + band)
    boxes = random_rboxes(120, scene, 4, 70, generator).float()
    scores = torch.rand(120, generator=generator)
    tied = (scores * 8).round() / 8
    labels = torch.randint(0, 3, (120,), generator=generator)
    for threshold in (0.0, 0.1, 0.5):
        for value in (scores, tied):
            for label in (None, labels):
                have = sweep_nms(boxes, value, threshold, label)
                assert have.tolist() == rotated_nms(boxes, value, threshold, label).tolist()


def test_a_chain_is_held_open_until_its_surest_box_is_known():
    # Each box overlaps the next by a third, scores rise downwards: the last one decides all.
    count = 40
    boxes = torch.tensor([[50.0, 10 + 10.0 * i, 20, 20, 0] for i in range(count)])
    scores = torch.linspace(0.1, 0.9, count)
    sweep = NmsSweep(0.2)
    for i in range(count):
        sweep.add(boxes[i : i + 1], scores[i : i + 1], torch.tensor([i]))
        assert sweep.settled_above(10.0 * i).tolist() == []
    assert sweep.waiting == count
    kept = sweep.settled_above(float("inf"))
    assert sorted(kept.tolist()) == list(range(1, count, 2))  # 39, 37, …: every other one
    assert sweep.waiting == 0


def test_boxes_above_the_line_leave_the_memory():
    sweep = NmsSweep(0.1)
    for row in range(50):
        boxes = torch.tensor([[20.0 * i, 30.0 * row + 10, 16, 8, 0.3] for i in range(20)])
        indices = torch.arange(20 * row, 20 * row + 20)
        sweep.add(boxes, torch.rand(20), indices)
        kept = sweep.settled_above(30.0 * (row + 1))
        assert sorted(kept.tolist()) == indices.tolist()
        assert sweep.waiting == 0


def test_no_boxes():
    none = torch.zeros(0, 5)
    assert sweep_nms(none, none[:, 0], 0.1).tolist() == []
    sweep = NmsSweep(0.1)
    sweep.add(none, none[:, 0], torch.zeros(0, dtype=torch.int64))
    assert sweep.settled_above(5).tolist() == []


def test_wrong_shapes_are_refused():
    boxes = torch.zeros(3, 5)
    with pytest.raises(ValueError, match=r"scores must have shape \(3,\)"):
        sweep_nms(boxes, torch.zeros(2), 0.1)
    with pytest.raises(ValueError, match=r"labels must have shape \(3,\)"):
        sweep_nms(boxes, torch.zeros(3), 0.1, torch.zeros(4))
    with pytest.raises(ValueError, match="boxes must be a float tensor"):
        NmsSweep(0.1).add(torch.zeros(3, 4), torch.zeros(3), torch.arange(3))
