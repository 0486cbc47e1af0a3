"""The whole image and its labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geomtp.data.transforms import EvalTransform, fitted
from geomtp.geometry import decode_rle
from geomtp.labels import semantic_map
from geomtp.types import TASKS
from tests.data.stores import make_store


def test_sizes_that_fit():
    assert fitted((1024, 1024), 448) == (448, 448)
    assert fitted((600, 800), 400) == (300, 400)
    assert fitted((3, 1000), 100) == (1, 100)
    assert fitted((101, 50), 200) == (200, 99)


def test_evaluation_keeps_labels_in_pixels_of_the_file(tmp_path):
    store = make_store(tmp_path, ((160, 240),), objects=8)
    labels = store[0]
    rng = np.random.default_rng(0)
    image, targets, *_ = EvalTransform(120)(labels, store.info, TASKS, rng)
    assert image.shape == (3, 80, 120)
    assert targets.boxes.numpy().tolist() == labels.boxes.tolist()
    assert targets.rboxes.numpy().tolist() == labels.rboxes.tolist()
    assert torch.equal(targets.masks, decode_rle(labels.rles, (160, 240)))
    assert targets.semantic.tolist() == semantic_map(labels, store.image_root).tolist()
    assert EvalTransform()(labels, store.info, TASKS, rng)[0].shape == (3, 160, 240)


def test_a_size_below_one_is_refused():
    with pytest.raises(ValueError, match="positive"):
        EvalTransform(0)
