"""Rotated RoIAlign beside the reference, a sample-by-sample twin and torchvision's RoIAlign."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.ops import roi_align

from geomtp.geometry import rotated_roi_align
from tests.golden_cases import GoldenCase


def sampled(features: Tensor, x: float, y: float) -> Tensor:
    """Bilinear value (C,) of one feature map (C, H, W) at a point, with the border's rule."""
    height, width = features.shape[1:]
    if not (-1 <= x <= width and -1 <= y <= height):
        return torch.zeros_like(features[:, 0, 0])
    x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    fx, fy = x - left, y - top
    upper = features[:, top, left] * (1 - fx) + features[:, top, right] * fx
    lower = features[:, bottom, left] * (1 - fx) + features[:, bottom, right] * fx
    return upper * (1 - fy) + lower * fy


def one_by_one(features, rois, bins_hw, scale, ratio) -> Tensor:
    result = features.new_zeros(len(rois), features.shape[1], *bins_hw)
    for k, (image, cx, cy, w, h, angle) in enumerate(rois.tolist()):
        w, h = w * scale, h * scale
        across = ratio or math.ceil(w / bins_hw[1])
        down = ratio or math.ceil(h / bins_hw[0])
        for row in range(bins_hw[0] * down):
            for column in range(bins_hw[1] * across):
                dx = ((column + 0.5) / (across * bins_hw[1]) - 0.5) * w
                dy = ((row + 0.5) / (down * bins_hw[0]) - 0.5) * h
                x = cx * scale - 0.5 + dx * math.cos(angle) - dy * math.sin(angle)
                y = cy * scale - 0.5 + dx * math.sin(angle) + dy * math.cos(angle)
                value = sampled(features[int(image)], x, y) / (across * down)
                result[k, :, row // down, column // across] += value
    return result


def random_rois(count: int, images: int, size: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    scale = torch.tensor([images, 1.4 * size, 1.4 * size, size, size, 7.0]).double()
    shift = torch.tensor([0, -0.2 * size, -0.2 * size, 0.5, 0.5, -3.5]).double()
    rois = unit * scale + shift
    rois[:, 0] = rois[:, 0].floor()
    return rois


def test_reference_output_and_gradient():
    case = GoldenCase.read("roi_align")
    features = case.tensor("feat").requires_grad_()
    pooled = rotated_roi_align(features, case.tensor("rrois"), 7, 0.25, 2)
    torch.testing.assert_close(pooled, case.tensor("rotated_out"), atol=2e-5, rtol=0.0)
    (pooled * case.tensor("cot_r")).sum().backward()
    want = case.tensor("rotated_grad_feat")
    torch.testing.assert_close(features.grad, want, atol=2e-5, rtol=0.0)


@pytest.mark.parametrize("size", [7, 14])
def test_reference_of_horizontal_boxes(size):
    case = GoldenCase.read("roi_align")
    features, rois = case.tensor("feat"), case.tensor("hrois")
    corners, sides = rois[:, 1:3], rois[:, 3:5] - rois[:, 1:3]
    upright = torch.cat([rois[:, :1], corners + sides / 2, sides, torch.zeros(len(rois), 1)], dim=1)
    theirs = features.clone().requires_grad_()
    ours = features.clone().requires_grad_()
    for maps, pooled in (
        (theirs, roi_align(theirs, rois, size, 0.25, 0, aligned=True)),
        (ours, rotated_roi_align(ours, upright, size, 0.25, 0)),
    ):
        torch.testing.assert_close(
            pooled, case.tensor(f"horizontal{size}_out"), atol=1e-4, rtol=0.0
        )
        (pooled * case.tensor(f"cot_{size}")).sum().backward()
        want = case.tensor(f"horizontal{size}_grad_feat")
        torch.testing.assert_close(maps.grad, want, atol=1e-4, rtol=0.0)


@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("bins_hw", [(3, 3), (2, 5)])
def test_same_as_one_sample_after_the_other(ratio, bins_hw):
    features = torch.randn(3, 4, 9, 13, dtype=torch.float64)
    rois = random_rois(12, 3, 80)
    have = rotated_roi_align(features, rois, bins_hw, 1 / 8, ratio)
    torch.testing.assert_close(have, one_by_one(features, rois, bins_hw, 1 / 8, ratio))


@pytest.mark.parametrize("ratio", [0, 2])
def test_gradient(ratio):
    features = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    rois = random_rois(4, 2, 20)
    assert torch.autograd.gradcheck(
        lambda maps: rotated_roi_align(maps, rois, (2, 3), 1 / 4, ratio), features
    )


def test_gradient_of_many_images_and_few_rois():
    # images are transposed one by one or together, whatever their number
    features = torch.randn(20, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    rois = random_rois(4, 20, 20)
    assert torch.autograd.gradcheck(
        lambda maps: rotated_roi_align(maps, rois, 2, 1 / 4, 2), features, fast_mode=True
    )


def test_a_plane_is_sampled_at_the_middle_of_the_bins():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(50.0), indexing="ij")
    features = torch.stack([x, y])[None] + 0.5  # its own position in cells
    roi = torch.tensor([[0.0, 100.0, 80.0, 48.0, 24.0, math.pi / 6]])
    pooled = rotated_roi_align(features, roi, (2, 4), 0.25, 2)[0]
    u = torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)])
    v = torch.tensor([-u[1], u[0]])
    for row in range(2):
        for column in range(4):
            want = torch.tensor([25.0, 20.0]) + u * (column - 1.5) * 3 + v * (row - 0.5) * 3
            torch.testing.assert_close(pooled[:, row, column], want)


def test_turned_map_and_turned_box_give_the_same():
    features = torch.randn(1, 3, 16, 16)
    roi = torch.tensor([[0.0, 30.0, 26.0, 24.0, 12.0, 0.4]])
    # the image turned by a quarter, clockwise: (x, y) -> (64 - y, x)
    turned = torch.tensor([[0.0, 64.0 - 26.0, 30.0, 24.0, 12.0, 0.4 + math.pi / 2]])
    have = rotated_roi_align(features.rot90(-1, (2, 3)), turned, 4, 0.25, 2)
    torch.testing.assert_close(
        have, rotated_roi_align(features, roi, 4, 0.25, 2), atol=1e-5, rtol=0
    )


def test_memory_format_and_types():
    features = torch.randn(2, 6, 12, 10)
    rois = random_rois(7, 2, 40).float()
    want = rotated_roi_align(features, rois, 3, 0.25, 2)
    last = features.contiguous(memory_format=torch.channels_last)
    assert torch.equal(rotated_roi_align(last, rois, 3, 0.25, 2), want)
    half = rotated_roi_align(features.bfloat16(), rois, 3, 0.25, 2)
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), want, atol=5e-2, rtol=0.0)


def test_no_rois_and_rois_without_area():
    features = torch.randn(1, 3, 8, 8, requires_grad=True)
    none = rotated_roi_align(features, torch.zeros(0, 6), (7, 5), 0.25, 2)
    assert none.shape == (0, 3, 7, 5)
    none.sum().backward()
    assert torch.equal(features.grad, torch.zeros(1, 3, 8, 8))
    point = torch.tensor([[0.0, 16.0, 16.0, 0.0, 0.0, 0.0]])
    adaptive = rotated_roi_align(features, point, 2, 0.25, 0)
    assert torch.equal(adaptive, torch.zeros(1, 3, 2, 2))
    fixed = rotated_roi_align(features, point, 2, 0.25, 2)
    middle = features[0, :, 3:5, 3:5].mean(dim=(1, 2))
    torch.testing.assert_close(fixed, middle[None, :, None, None].expand(1, 3, 2, 2))
    outside = torch.tensor([[0.0, 900.0, 900.0, 9.0, 9.0, 0.0]])
    assert not rotated_roi_align(features, outside, 2, 0.25, 2).any()


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"rois must be a float tensor of shape \(N, 6\)"):
        rotated_roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(2, 5), 7, 0.25, 2)
    with pytest.raises(ValueError, match=r"features must have shape \(B, C, H, W\)"):
        rotated_roi_align(torch.zeros(1, 4, 4), torch.zeros(2, 6), 7, 0.25, 2)
