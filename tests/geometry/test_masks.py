"""Run-lengths and masks: round trips, hand-made numbers, brute-force twins."""

import math

import numpy as np
import pytest
import torch

from geomtp.geometry import (
    decode_rle,
    decode_rle_crop,
    encode_rle,
    mask_boxes,
    masks_from_rboxes,
    points_inside,
    rle_area,
)
from tests.geometry.rbox_families import random_rboxes

SIZE = (37, 53)


def random_masks(share: float, count: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(share * 100))
    return torch.rand(count, *SIZE, generator=generator) < share


def written_by_hand(mask: np.ndarray) -> bytes:
    """COCO's compressed form, from its definition."""
    lengths, value, run = [], 0, 0
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            lengths.append(run)
            value, run = pixel, 0
        run += 1
    lengths.append(run)
    text = bytearray()
    for k, length in enumerate(lengths):
        number = length - lengths[k - 2] if k > 2 else length
        while True:
            group, number = number & 31, number >> 5
            done = number == (-1 if group & 16 else 0)
            text.append((group | (0 if done else 32)) + 48)
            if done:
                break
    return bytes(text)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98, 1.1])
def test_run_lengths(share):
    masks = random_masks(share)
    rles = encode_rle(masks)
    assert rles == [written_by_hand(mask) for mask in masks.numpy()]
    assert torch.equal(decode_rle(rles, SIZE), masks)
    assert torch.equal(rle_area(rles), masks.sum(dim=(1, 2)))
    for x1, y1, x2, y2 in ((0, 0, 53, 37), (3, 4, 20, 30), (10, 0, 10, 5), (52, 36, 53, 37)):
        crop = decode_rle_crop(rles, SIZE, (x1, y1, x2, y2))
        assert torch.equal(crop, masks[:, y1:y2, x1:x2])


def test_known_run_lengths():
    # as pycocotools writes them: columns first
    mask = torch.zeros(1, 4, 5, dtype=torch.bool)
    mask[0, 1:3, 1:4] = True
    assert encode_rle(mask) == [b"5220003"]
    assert rle_area([b"5220003"]).tolist() == [6]
    assert encode_rle(torch.ones(1, 2, 3, dtype=torch.bool)) == [b"06"]
    assert encode_rle(np.zeros((2, 3, 4))) == [b"<", b"<"]


def test_large_masks_and_their_crops():
    masks = torch.zeros(2, 1000, 2000, dtype=torch.bool)
    masks[0, 100:900, 5:1990] = True
    rles = encode_rle(masks)
    assert torch.equal(decode_rle(rles, (1000, 2000)), masks)
    crop = decode_rle_crop(rles, (1000, 2000), (3, 90, 60, 400))
    assert torch.equal(crop, masks[:, 90:400, 3:60])
    assert rle_area(rles).tolist() == [800 * 1985, 0]


def test_no_masks():
    assert encode_rle(torch.zeros(0, 3, 4)) == []
    assert decode_rle([], (3, 4)).shape == (0, 3, 4)
    assert decode_rle_crop([], (3, 4), (0, 0, 2, 2)).shape == (0, 2, 2)
    assert rle_area([]).shape == (0,)
    assert mask_boxes(torch.zeros(0, 3, 4, dtype=torch.bool)).shape == (0, 4)
    assert masks_from_rboxes(torch.zeros(0, 5), (3, 4)).shape == (0, 3, 4)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"masks must have shape \(N, H, W\), got \(3, 4\)"):
        encode_rle(torch.zeros(3, 4))
    for broken in (b"abc", b"06", b""):
        with pytest.raises(ValueError, match=r"\(3, 3\)"):
            decode_rle([broken], (3, 3))
        with pytest.raises(ValueError, match=r"\(3, 3\)"):
            decode_rle_crop([broken], (3, 3), (0, 0, 1, 1))
    with pytest.raises(ValueError, match=r"window \(0, 0, 4, 3\) must lie inside"):
        decode_rle_crop([b"9"], (3, 3), (0, 0, 4, 3))


def test_boxes_around_masks():
    masks = torch.zeros(4, 10, 20, dtype=torch.bool)
    masks[0, 2:5, 7:9] = True
    masks[1, 0, 0] = masks[1, 9, 19] = True
    masks[2, 4, 19] = True
    want = [[7, 2, 9, 5], [0, 0, 20, 10], [19, 4, 20, 5], [0, 0, 0, 0]]
    assert mask_boxes(masks).tolist() == want
    for mask in random_masks(0.003, count=30):
        y, x = mask.nonzero(as_tuple=True)
        expected = [x.min(), y.min(), x.max() + 1, y.max() + 1] if len(x) else [0, 0, 0, 0]
        assert mask_boxes(mask[None])[0].tolist() == [float(v) for v in expected]


def test_masks_of_rotated_boxes():
    flat = torch.tensor([[5.0, 3.0, 4.0, 2.0, 0.0], [5.0, 3.0, 2.0, 4.0, math.pi / 2]]).double()
    masks = masks_from_rboxes(flat, (6, 9))
    want = torch.zeros(6, 9, dtype=torch.bool)
    want[2:4, 3:7] = True
    assert torch.equal(masks[0], want)
    assert torch.equal(masks[1], want)
    rboxes = random_rboxes(20, 50, 1, 40, torch.Generator().manual_seed(0))
    rboxes[:3, :2] = torch.tensor([[-500.0, 9.0], [20.0, 900.0], [53.0, 37.0]]).double()
    y, x = torch.meshgrid(torch.arange(37) + 0.5, torch.arange(53) + 0.5, indexing="ij")
    inside = points_inside(torch.stack([x.flatten(), y.flatten()], dim=1).double(), rboxes)
    assert torch.equal(masks_from_rboxes(rboxes, SIZE), inside.T.reshape(20, *SIZE))
