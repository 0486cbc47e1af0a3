"""Gradients taken at once equal those of one backward pass."""

import torch
from torch import nn

from geomtp.decoders.early_gradients import PartialLoss, summed_loss
from geomtp.types import FeaturePyramid


def parts_of(conv, scale):
    def of_images(start, stop):
        return PartialLoss(
            start,
            stop,
            lambda pyramid: (
                (conv(pyramid.levels[0]) * scale).square().sum() + pyramid.levels[1].sum() * start
            ),
        )

    return [of_images(0, 1), of_images(1, 3)]


def test_values_and_gradients_equal_the_plain_sum():
    torch.manual_seed(0)
    images = torch.randn(3, 2, 4, 4, requires_grad=True)
    conv, unused = nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1)
    scale = torch.tensor(0.5, requires_grad=True)

    def pyramid():
        return FeaturePyramid((images * 2, images[:, :, ::2, ::2]), (4, 8))

    parts = parts_of(conv, scale)
    plain = sum(part.loss(pyramid().of_images(part.start, part.stop)) for part in parts)
    inputs = [images, *conv.parameters(), scale]
    expected = torch.autograd.grad(plain * 3, inputs)
    parameters = [*conv.parameters(), scale, *unused.parameters()]
    early = summed_loss(pyramid(), parts, parameters)
    torch.testing.assert_close(early, plain)
    (early * 3).backward()
    for tensor, gradient in zip(inputs, expected, strict=True):
        torch.testing.assert_close(tensor.grad, gradient)
    assert all(float(p.grad.abs().sum()) == 0 for p in unused.parameters())


def test_without_gradients_it_is_the_sum():
    conv, scale = nn.Conv2d(2, 2, 1), torch.tensor(2.0)
    levels = (torch.ones(3, 2, 2, 2), torch.ones(3, 2, 1, 1))
    with torch.no_grad():
        early = summed_loss(FeaturePyramid(levels, (4, 8)), parts_of(conv, scale), [scale])
        want = (conv(levels[0]) * 2).square().sum() + 4
    torch.testing.assert_close(early, want)
    assert not early.requires_grad
