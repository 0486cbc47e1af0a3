"""Patches, masks and positions against slow twins."""

import math

import pytest
import torch

from geomtp.mae import mask_by_noise, patchify, sin_cos_positions, unpatchify, visible_count


def test_patches_are_cut_row_by_row_and_pixel_by_pixel():
    images = torch.randn(2, 3, 12, 8)
    patches = patchify(images, 4)
    assert patches.shape == (2, 6, 48)
    for b in range(2):
        for row in range(3):
            for column in range(2):
                for y in range(4):
                    for x in range(4):
                        for c in range(3):
                            value = patches[b, row * 2 + column, (y * 4 + x) * 3 + c]
                            assert value == images[b, c, row * 4 + y, column * 4 + x]


def test_patches_are_put_together_again():
    images = torch.randn(2, 5, 48, 32)
    assert torch.equal(unpatchify(patchify(images), (3, 2)), images)


@pytest.mark.parametrize("mask_ratio", [0.25, 0.6, 0.75, 0.9])
def test_the_smallest_noise_is_seen(mask_ratio):
    noise = torch.rand(3, 20, generator=torch.Generator().manual_seed(1))
    masking = mask_by_noise(noise, mask_ratio)
    for b in range(3):
        count = int(20 * (1 - mask_ratio))
        by_noise = sorted(range(20), key=lambda i: noise[b, i])
        assert masking.visible[b].tolist() == by_noise[:count]
        assert masking.hidden[b].tolist() == [float(i not in by_noise[:count]) for i in range(20)]
        assert [by_noise.index(i) for i in range(20)] == masking.restore[b].tolist()


def test_restore_brings_patches_back():
    patches = torch.randn(2, 9, 4)
    noise = torch.rand(2, 9)
    masking = mask_by_noise(noise, 0.5)
    shuffled = patches.take_along_dim(noise.argsort(dim=1)[..., None], dim=1)
    assert torch.equal(shuffled[:, :4], patches.take_along_dim(masking.visible[..., None], dim=1))
    assert torch.equal(shuffled.take_along_dim(masking.restore[..., None], dim=1), patches)


@pytest.mark.parametrize("mask_ratio", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_a_ratio_outside_of_0_to_1_is_refused(mask_ratio):
    with pytest.raises(ValueError, match="mask_ratio is the share of hidden patches: it must lie"):
        visible_count(16, mask_ratio)


@pytest.mark.parametrize(("patches", "mask_ratio", "count"), [(4, 0.9, 0), (16, 0.99, 0)])
def test_a_ratio_that_shows_nothing_is_refused(patches, mask_ratio, count):
    with pytest.raises(ValueError, match=f"leaves {count} of {patches} patches visible"):
        visible_count(patches, mask_ratio)
    assert visible_count(196, 0.75) == 49


def test_positions_against_a_slow_twin():
    width, grid_hw = 16, (3, 5)
    table = sin_cos_positions(width, grid_hw)
    assert table.shape == (1, 16, 16)
    assert torch.equal(table[0, 0], torch.zeros(16))
    for row in range(3):
        for column in range(5):
            expected = []
            for place in (column, row):
                angles = [place / 10_000 ** (i / 4) for i in range(4)]
                expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
            assert table[0, 1 + row * 5 + column].tolist() == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ValueError, match="multiple of 4, found 18"):
        sin_cos_positions(18, (2, 2))
