"""The figure of what changed between two dates."""

import numpy as np
import pytest
import torch

from geomtp.training.change_pictures import (
    FALSE,
    MISSED,
    RIGHT,
    UNKNOWN,
    change_comparison,
)
from geomtp.types import Predictions, Targets


def figure(truth):
    found = torch.tensor([[1, 0], [1, 0]])
    logits = torch.stack([1 - found, found]).float()
    before = np.full((2, 2, 3), 10, np.uint8)
    after = np.full((2, 2, 3), 200, np.uint8)
    targets = Targets(change=None if truth is None else torch.tensor(truth, dtype=torch.uint8))
    drawn = change_comparison(before, after, targets, Predictions(change_logits=logits))
    return np.asarray(drawn)


def panel(pixels, number):
    """Colours of the four pixels of the panel, enlarged 192 times."""
    x = 8 + number * (384 + 8)
    return [tuple(pixels[26 + y, x + dx].tolist()) for y in (90, 290) for dx in (90, 290)]


def test_colours_tell_what_is_right():
    pixels = figure([[1, 1], [0, 255]])
    assert panel(pixels, 0)[0] == (10, 10, 10)
    assert panel(pixels, 1)[3] == (200, 200, 200)
    assert panel(pixels, 2) == [(255, 255, 255), (255, 255, 255), (0, 0, 0), UNKNOWN]
    assert panel(pixels, 3) == [RIGHT, MISSED, FALSE, UNKNOWN]


def test_without_labels_all_is_unknown():
    assert panel(figure(None), 3) == [(255, 255, 255), UNKNOWN, (255, 255, 255), UNKNOWN]


def test_sizes_must_agree():
    with pytest.raises(ValueError, match=r"truth has size \(3, 2\), the first image \(2, 2\)"):
        figure([[1, 1], [0, 0], [0, 0]])
