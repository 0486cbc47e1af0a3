"""RandAugment and random erasing: each change by hand-made numbers, how often, how strong."""

import numpy as np
import pytest
from PIL import Image

from geomtp.data.rand_augment import CHANGES, Change, erased, picture_of, rand_augment


def ramp():
    """Grey from 0 on the left, 4 more each column, 40 × 60."""
    return np.repeat(np.arange(60, dtype=np.uint8)[None, :, None] * 4, 40, axis=0).repeat(3, axis=2)


def changed(name, strength, pixels=None):
    picture = Image.fromarray(ramp() if pixels is None else pixels)
    return np.array(CHANGES[name].apply(picture, strength))


def test_there_are_the_fifteen_changes_of_the_reference():
    assert len(CHANGES) == 15
    strongest = {name: (c.weakest, c.strongest, c.signed) for name, c in CHANGES.items()}
    assert strongest["rotate"] == (0, 30, True)
    assert strongest["posterize"] == (4, 0, False)
    assert strongest["solarize"] == (256, 0, False)
    assert strongest["solarize_add"] == (0, 110, False)
    assert strongest["translate_x"] == (0, 0.45, True)
    assert {strongest[n] for n in ("color", "contrast", "brightness", "sharpness")} == {
        (0, 0.9, True)
    }


def test_changes_of_values():
    row = ramp()[0, :, 0]
    np.testing.assert_array_equal(changed("invert", 0)[0, :, 0], 255 - row)
    np.testing.assert_array_equal(
        changed("solarize", 100)[0, :, 0], np.where(row < 100, row, 255 - row)
    )
    np.testing.assert_array_equal(changed("solarize", 256), ramp())
    np.testing.assert_array_equal(
        changed("solarize_add", 50)[0, :, 0], np.where(row < 128, row + 50, row)
    )
    np.testing.assert_array_equal(changed("posterize", 1.0)[0, :, 0], row & 128)
    np.testing.assert_array_equal(changed("posterize", 3.2)[0, :, 0], row & 0b11110000)
    assert not changed("posterize", 0).any()
    np.testing.assert_allclose(changed("brightness", -0.5)[0, :, 0], row * 0.5, atol=1)
    assert changed("contrast", -0.9).std() < 0.2 * ramp().std()
    stretched = changed("autocontrast", 0)
    assert (stretched.min(), stretched.max()) == (0, 255)


def test_changes_of_place():
    shifted = changed("translate_x", 0.25)  # 15 of 60 columns
    np.testing.assert_allclose(shifted[20, 5:40, 0], ramp()[20, 20:55, 0], atol=1)
    assert shifted[20, 50].tolist() == [124, 116, 104]
    down = changed("translate_y", -0.25)
    assert down[2, 30].tolist() == [124, 116, 104]
    sheared = changed("shear_x", 0.3)
    np.testing.assert_allclose(sheared[20, 10:50, 0], ramp()[20, 10:50, 0], atol=3)
    assert sheared[5, 30, 0] < sheared[35, 30, 0]
    turned = changed("rotate", 30)
    assert turned[0, 0].tolist() == [124, 116, 104]
    np.testing.assert_allclose(turned[20, 30], ramp()[20, 30], atol=4)


def test_levels_and_signs():
    rng = np.random.default_rng(0)
    change = Change(lambda picture, _: picture, 0, 30, signed=True)
    drawn = [change.strength(9.0, rng) for _ in range(400)]
    assert set(np.round(np.abs(drawn), 9)) == {27.0}
    assert 150 < sum(value < 0 for value in drawn) < 250
    assert CHANGES["posterize"].strength(10, rng) == 0
    assert CHANGES["solarize"].strength(5, rng) == 128


def test_a_quarter_of_the_views_stays_as_it_is():
    pixels = np.random.default_rng(1).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    rng = np.random.default_rng(0)
    same = sum(np.array_equal(rand_augment(pixels, rng), pixels) for _ in range(400))
    assert 70 < same < 150  # (1/2)², and changes that find nothing to do


def test_only_pictures_of_bytes_are_taken():
    values = np.full((3, 4, 5), 7.4, np.float32)
    assert picture_of(values, np.dtype(np.uint8)).tolist() == np.full((4, 5, 3), 7).tolist()
    with pytest.raises(ValueError, match="8-bit images of three bands, found uint16 and 3 bands"):
        picture_of(values, np.dtype(np.uint16))
    with pytest.raises(ValueError, match="found uint8 and 1 bands"):
        picture_of(values[:1], np.dtype(np.uint8))


def test_rectangles_are_erased_by_noise():
    pixels = np.full((100, 80, 3), 7, np.uint8)
    rng = np.random.default_rng(0)
    found = [erased(pixels, rng) for _ in range(400)]
    touched = [image for image in found if image is not pixels]
    assert 70 < len(touched) < 130
    shares = np.array([(image != 7).any(axis=2).mean() for image in touched])
    assert 0.018 < shares.min() < 0.06
    assert 0.28 < shares.max() < 0.34
    noise = np.concatenate([image[(image != 7).any(axis=2)] for image in touched])
    np.testing.assert_allclose(noise.mean(axis=0), [123.7, 116.3, 103.5], atol=4)
    assert (pixels == 7).all()
