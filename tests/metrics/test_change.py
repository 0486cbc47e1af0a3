"""Scores of change maps, with hand-made numbers."""

import math

import pytest
import torch

from geomtp.metrics import ChangeScore


def test_hand_made_numbers():
    score = ChangeScore()
    truth = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 255]])
    found = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 1]])
    score.update("a", found, truth)
    score.update("a", 1 - found, truth)  # seen before
    score.update("b", torch.zeros(2, 2, dtype=torch.uint8), torch.full((2, 2), 255))
    result = score.compute()
    assert result.confusion == ((2, 1), (1, 3))
    assert (result.precision, result.recall) == (0.75, 0.75)
    assert result.f1 == pytest.approx(0.75)
    assert result.iou == pytest.approx(3 / 5)
    assert result.accuracy == pytest.approx(5 / 7)
    assert result.summary()["change/f1"] == result.f1


def test_change_that_is_missed_altogether_is_zero_and_none_at_all_is_undefined():
    missed = ChangeScore()
    missed.update("a", torch.zeros(3, 3, dtype=torch.uint8), torch.ones(3, 3))
    assert missed.compute().f1 == missed.compute().recall == missed.compute().iou == 0
    assert math.isnan(missed.compute().precision)
    quiet = ChangeScore()
    quiet.update("a", torch.zeros(3, 3, dtype=torch.uint8), torch.zeros(3, 3))
    assert math.isnan(quiet.compute().f1)
    assert quiet.compute().accuracy == 1
    with pytest.raises(ValueError, match="truth holds values"):
        quiet.update("b", torch.zeros(1, 1, dtype=torch.uint8), torch.full((1, 1), 7))
