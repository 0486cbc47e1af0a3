"""Windows and their means, against the reference and a brute-force twin."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from geomtp.evaluation.sliding import mean_of_windows, slide_windows
from tests.golden_cases import GoldenCase


def test_the_reference_s_grid_and_means():
    case = GoldenCase.read("slide_inference")
    config = case.info["config"]
    size_hw, crop = (config["H"], config["W"]), config["crop"]
    windows = slide_windows(size_hw, crop, config["stride"])
    assert len(windows) == case.scalar("num_windows")
    weight, images = case.tensor("weight"), case.tensor("x")
    ramp = 0.01 * (torch.arange(crop)[:, None] + 2 * torch.arange(crop))
    logits = []
    for image in images:
        parts = [
            (w, F.conv2d(image[None, :, w[1] : w[3], w[0] : w[2]], weight, padding=1)[0] + ramp)
            for w in windows
        ]
        logits.append(mean_of_windows(parts, size_hw))
    case.compare("logits", torch.stack(logits), 1e-4)
    histogram = torch.stack(logits).argmax(dim=1).flatten().bincount(minlength=3)
    assert histogram.tolist() == case.info["scalars"]["argmax_histogram"]


def test_windows_by_hand():
    assert slide_windows((1024, 1024), 512, 384) == [
        (x, y, x + 512, y + 512) for y in (0, 384, 512) for x in (0, 384, 512)
    ]
    assert slide_windows((10, 25), 16, 8) == [(0, 0, 16, 10), (8, 0, 24, 10), (9, 0, 25, 10)]
    assert slide_windows((7, 9), 16, 16) == [(0, 0, 9, 7)]


@pytest.mark.parametrize("seed", range(5))
def test_means_of_random_windows(seed):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(5, 40, 2).tolist()
    crop = int(rng.integers(3, 20))
    windows = slide_windows((height, width), crop, int(rng.integers(1, crop + 1)))
    parts = [(w, torch.from_numpy(rng.normal(size=(2, w[3] - w[1], w[2] - w[0])))) for w in windows]
    mean = mean_of_windows(parts, (height, width))
    for y in range(height):
        for x in range(width):
            over = [
                part[:, y - y1, x - x1]
                for (x1, y1, x2, y2), part in parts
                if x1 <= x < x2 and y1 <= y < y2
            ]
            torch.testing.assert_close(mean[:, y, x], torch.stack(over).mean(dim=0))


def test_pixels_without_a_window_are_an_error():
    with pytest.raises(ValueError, match="do not cover all of an image of 5 × 4"):
        mean_of_windows([((0, 0, 4, 4), torch.zeros(1, 4, 4))], (4, 5))
