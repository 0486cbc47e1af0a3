import math

import numpy as np
import pytest
import torch

from geomtp.geometry import masks_from_rboxes
from geomtp.labels import AnnotatedObject
from geomtp.labels.segmenters.prompts import Frame, prompt_boxes

SIZE = (60, 80)
TURNED = (40, 30, 20, 10, math.pi / 2)  # x 35…45, y 20…40


def test_the_policies_by_hand():
    both = AnnotatedObject("a", "1", box_xyxy=(1, 2, 30, 40), rbox_cxcywha=TURNED)
    turned = AnnotatedObject("a", "2", rbox_cxcywha=TURNED)
    beyond = AnnotatedObject("a", "3", rbox_cxcywha=(0, 55, 20, 20, 0))
    objects = [both, turned, beyond]
    around = [[35, 20, 45, 40], [35, 20, 45, 40], [0, 45, 10, 60]]
    np.testing.assert_allclose(prompt_boxes(objects, SIZE, "rh"), around)
    np.testing.assert_allclose(prompt_boxes(objects, SIZE, "r"), around)
    np.testing.assert_allclose(prompt_boxes(objects, SIZE, "h"), [[1, 2, 30, 40], *around[1:]])
    assert prompt_boxes([], SIZE, "rh").shape == (0, 4)
    with pytest.raises(ValueError, match="unknown prompt 'hr'; known: h, r, rh"):
        prompt_boxes(objects, SIZE, "hr")


def test_the_box_around_a_box_at_45_degrees():
    item = AnnotatedObject("a", "1", rbox_cxcywha=(40, 30, 20, 10, math.pi / 4))
    half = 15 / math.sqrt(2)
    np.testing.assert_allclose(
        prompt_boxes([item], SIZE, "rh"), [[40 - half, 30 - half, 40 + half, 30 + half]]
    )


def test_box_prompts_by_hand():
    """800 × 600 becomes 1024 × 768: scale 1.28; the models add half a pixel themselves."""
    frame = Frame((0, 0, 800, 600), (768, 1024), (1024, 1024))
    found = frame.box_prompts(np.array([[100.0, 50, 300, 200], [-20, 0, 900, 600]])) + 0.5
    np.testing.assert_allclose(found, [[128, 64, 384, 256], [0, 0, 1024, 768]], rtol=1e-6)


def test_box_prompts_of_a_window_and_of_a_stretched_one():
    window = Frame((1000, 500, 1256, 756), (1024, 1024), (1024, 1024))
    found = window.box_prompts(np.array([[1010.5, 500, 1100, 800]])) + 0.5
    np.testing.assert_allclose(found, [[42, 0, 400, 1024]])
    stretched = Frame((0, 0, 512, 256), (1024, 1024), (1024, 1024), stretched=True)
    np.testing.assert_allclose(
        stretched.box_prompts(np.array([[10.0, 10, 20, 20]])) + 0.5, [[20, 40, 40, 80]]
    )


def test_mask_prompts_lie_where_the_box_lies():
    """A window of 1024 × 1024: a prompt's pixel is 4 × 4 pixels of it."""
    frame = Frame((100, 200, 1124, 1224), (1024, 1024), (1024, 1024))
    rboxes = np.array([[612, 712, 400, 100, 0.3], [200, 300, 80, 40, 0], [1124, 712, 64, 64, 0]])
    found = frame.mask_prompts(rboxes, 256)
    assert found.shape == (3, 1, 256, 256)
    assert sorted(found.unique().tolist()) == pytest.approx([-6.9, 6.9])
    small = (rboxes - [100, 200, 0, 0, 0]) / [4, 4, 4, 4, 1]
    want = masks_from_rboxes(torch.from_numpy(small), (256, 256))
    assert torch.equal(found[:, 0] > 0, want)
    inside = found[1, 0] > 0
    assert inside[20:30, 15:35].all()
    assert inside.sum() == 200
    assert (found[2] > 0).sum() == 16 * 8  # the half that lies in the window


def test_mask_prompts_leave_the_padding_alone():
    frame = Frame((0, 0, 800, 400), (512, 1024), (1024, 1024))
    everything = frame.mask_prompts(np.array([[400.0, 200, 800, 400, 0]]), 256)[0, 0] > 0
    assert everything[:128].all()
    assert not everything[128:].any()


def test_thin_boxes_are_not_lost():
    frame = Frame((0, 0, 1024, 1024), (1024, 1024), (1024, 1024))
    rng = np.random.default_rng(0)
    thin = rng.uniform([20, 20, 0.1, 0.1, -2], [1000, 1000, 3, 1, 2], (50, 5))
    areas = (frame.mask_prompts(thin, 256) > 0).sum(dim=(1, 2, 3))
    assert areas.min() >= 1
    assert areas.max() <= 4
