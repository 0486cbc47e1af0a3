"""Distortions beside the reference and hand-made colours."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from geomtp.data.photometric import (
    PhotometricParameters,
    distort,
    distort_reference,
    distort_values,
    float_hsv_from_rgb,
    float_rgb_from_hsv,
    hsv_from_rgb,
    rgb_from_hsv,
)
from tests.golden_cases import GoldenCase

GOLDEN = GoldenCase.read("photometric")
DRAWS = sorted(GOLDEN.info["draws"])


def planes(array_bgr: np.ndarray) -> np.ndarray:
    """(H, W, BGR) -> (RGB, H, W)."""
    return np.ascontiguousarray(array_bgr[:, :, ::-1].transpose(2, 0, 1))


def prescribed(draw: str) -> PhotometricParameters:
    d = GOLDEN.info["draws"][draw]
    return PhotometricParameters(
        brightness=d["bv"] if d["b"] else None,
        contrast=d["cv"] if d["c"] else None,
        contrast_first=bool(d["mode"]),
        saturation=d["sv"] if d["s"] else None,
        hue=d["hv"] if d["h"] else None,
    )


@pytest.mark.parametrize("draw", DRAWS)
def test_bytes_as_the_reference_on_bytes(draw):
    have = distort(planes(GOLDEN.arrays["img_u8"]), prescribed(draw))
    want = planes(GOLDEN.arrays[f"{draw}/seg_uint8"])
    assert have.dtype == np.uint8
    np.testing.assert_allclose(have.astype(np.float32), want, atol=1)


@pytest.mark.parametrize("draw", DRAWS)
def test_floats_as_the_reference_corrupts_them(draw):
    image = planes(GOLDEN.arrays["img_u8"]).astype(np.float32)
    have = distort_reference(image, prescribed(draw))
    want = planes(GOLDEN.arrays[f"{draw}/pretrain_float"])
    is_bytes = "uint8" in GOLDEN.info["tensors"][f"{draw}/pretrain_float"]["meaning"]
    np.testing.assert_allclose(have, want, atol=1 if is_bytes else 1e-2)


def test_bytes_there_and_back_in_steps_of_two_degrees():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 40, 40), dtype=np.uint8)
    hue, saturation, value = hsv_from_rgb(image)
    assert hue.max() < 180
    assert (value == image.max(axis=0)).all()
    for y, x in rng.integers(0, 40, (50, 2)):
        h, s, v = colorsys.rgb_to_hsv(*(image[:, y, x] / 255.0))
        assert abs((hue[y, x] - h * 180 + 90) % 180 - 90) <= 0.51
        assert abs(saturation[y, x] - s * 255) <= 0.51
        assert abs(value[y, x] - v * 255) < 1e-6
    back = rgb_from_hsv(hue, saturation, value).astype(int)
    # Half a step of hue is a sixtieth of the chroma, half a step of saturation half a level.
    assert abs(back - image).max() <= 255 / 60 + 1


def test_known_colours_in_bytes():
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [9, 9, 9], [0, 0, 0]])
    image = colours.T.reshape(3, 1, 6).astype(np.uint8)
    hue, saturation, value = hsv_from_rgb(image)
    assert hue.tolist() == [[0, 60, 120, 30, 0, 0]]
    assert saturation.tolist() == [[255, 255, 255, 255, 0, 0]]
    assert value.tolist() == [[255, 255, 255, 255, 9, 0]]
    assert (rgb_from_hsv(hue, saturation, value) == image).all()


def test_floats_there_and_back():
    image = np.random.default_rng(1).random((3, 20, 20)).astype(np.float32) * 255
    hue, saturation, value = float_hsv_from_rgb(image)
    assert 0 <= hue.min() <= hue.max() <= 360
    assert 0 <= saturation.min() <= saturation.max() <= 1
    np.testing.assert_allclose(float_rgb_from_hsv(hue, saturation, value), image, atol=1e-3)


def test_nothing_drawn_changes_nothing():
    image = np.random.default_rng(2).integers(0, 256, (3, 8, 8), dtype=np.uint8)
    assert (distort(image, PhotometricParameters()) == image).all()
    assert (distort_reference(image.astype(np.float32), PhotometricParameters()) == image).all()


def test_hue_of_a_third_of_the_circle_exchanges_the_channels():
    image = np.array([200, 40, 40], np.uint8).reshape(3, 1, 1)
    assert distort(image, PhotometricParameters(hue=60)).ravel().tolist() == [40, 200, 40]


def test_other_channel_counts_keep_their_colours():
    image = np.full((4, 2, 2), 100, np.uint8)
    changed = distort(
        image, PhotometricParameters(brightness=10, contrast=0.5, saturation=0, hue=5)
    )
    assert (changed == 55).all()


def test_other_types_are_shifted_by_their_own_grey_levels():
    image = np.full((2, 1, 1), 1000.0, np.float32)
    level = np.array([10.0, 2.0], np.float32)
    mean = np.array([900.0, 0.0], np.float32)
    darker = PhotometricParameters(brightness=-20, contrast=1.5)
    changed = distort_values(image, darker, level, mean)
    assert changed.dtype == np.float32
    # 1000 − 20 · 10 is 100 below the mean; 1000 − 20 · 2 is 960 above that of the second channel
    assert changed.ravel().tolist() == [750.0, 1440.0]


def test_contrast_comes_before_brightness_is_cut_only_when_asked():
    image = np.full((3, 1, 1), 250, np.uint8)
    assert distort(image, PhotometricParameters(brightness=30, contrast=0.5)).max() == 127


def test_draws_cover_the_stated_ranges_evenly():
    draws = [PhotometricParameters.draw(np.random.default_rng(i)) for i in range(2000)]
    for name, low, high in (
        ("brightness", -32, 32),
        ("contrast", 0.5, 1.5),
        ("saturation", 0.5, 1.5),
        ("hue", -18, 17),
    ):
        values = [getattr(d, name) for d in draws if getattr(d, name) is not None]
        assert 900 < len(values) < 1100, name
        assert low <= min(values) < low + 0.05 * (high - low), name
        assert high - 0.05 * (high - low) < max(values) <= high, name
    assert 900 < sum(d.contrast_first for d in draws) < 1100
