import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomtp.geometry import decode_rle, encode_rle, mask_boxes
from geomtp.labels.masks.run_lengths import (
    check_rle,
    column_runs,
    counts_from_rle,
    rle_area,
    rle_box,
    rle_from_counts,
    rle_of_part,
)


def random_masks(count, height, width, seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((count, height, width)) < rng.random((count, 1, 1))
    masks[0], masks[1] = False, True
    return masks


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 40), (40, 1), (17, 23), (64, 64)])
def test_against_dense_masks(size_hw):
    masks = random_masks(20, *size_hw, seed=size_hw[0])
    boxes = mask_boxes(decode_rle(encode_rle(masks), size_hw)).int().tolist()
    for mask, rle, box in zip(masks, encode_rle(masks), boxes, strict=True):
        counts = counts_from_rle(rle)
        assert counts.sum() == mask.size
        assert rle_from_counts(counts) == rle
        assert rle_area(rle) == mask.sum()
        assert rle_box(rle, size_hw) == (tuple(box) if mask.any() else None)
        painted = np.zeros_like(mask)
        for x, y1, y2 in zip(*column_runs(rle, size_hw), strict=True):
            assert not painted[y1:y2, x].any()
            painted[y1:y2, x] = True
        np.testing.assert_array_equal(painted, mask)


@pytest.mark.parametrize("corner_xy", [(0, 0), (7, 0), (0, 5), (13, 11)])
def test_a_part_gives_the_run_length_of_the_whole(corner_xy):
    x, y = corner_xy
    for part in random_masks(20, 29 - y, 31 - x, seed=x):
        whole = np.zeros((29, 31), dtype=bool)
        whole[y:, x:] = part
        assert rle_of_part(part, corner_xy, (29, 31)) == encode_rle(whole[None])[0]


def test_large_numbers_and_differences_by_hand():
    counts = np.array([0, 1, 31, 1_000_000_000, 15, 16, 32, 2**33])
    np.testing.assert_array_equal(counts_from_rle(rle_from_counts(counts)), counts)
    assert rle_from_counts(np.array([6, 2, 20])) == b"62d0"  # 20 = 20 | 32, then 0
    np.testing.assert_array_equal(counts_from_rle(b""), [])


@given(st.lists(st.integers(0, 2**30), max_size=12))
@settings(max_examples=100, deadline=None)
def test_there_and_back(counts):
    array = np.array(counts, dtype=np.int64)
    np.testing.assert_array_equal(counts_from_rle(rle_from_counts(array)), array)


@given(st.binary(max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(content):
    try:
        counts = counts_from_rle(content)
    except ValueError:
        return
    assert (counts >= 0).all()


def test_what_is_no_run_length():
    for content in (b"\x00\x01", b"zz", b"6d", b"n" * 12 + b"0", "ü".encode()):
        with pytest.raises(ValueError, match="not a compressed run-length"):
            counts_from_rle(content)
    for counts in (np.array([1, -1]), np.array([1.5]), np.array([[1]])):
        with pytest.raises(ValueError, match="whole numbers"):
            rle_from_counts(counts)
    for size_hw in ((5, 5), (1, 4)):
        with pytest.raises(ValueError, match="not of the image's size of"):
            check_rle(b"62d0", size_hw)
    check_rle(b"62d0", (4, 7))
