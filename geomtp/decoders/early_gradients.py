"""Losses whose gradients are taken at once, so that their activations can go.

A step has one loss per decoder and source, and each keeps the activations of its decoder until
the backward pass. Taking the gradient of each as soon as it is known, up to the pyramid, keeps
those of one decoder and one source at a time. Nothing is computed twice, and for whoever calls it
(optimiser, DistributedDataParallel, gradient accumulation) it is an ordinary differentiable scalar.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from geomtp.types import FeaturePyramid


@dataclass(frozen=True)
class PartialLoss:
    """One scalar of images ``start``…``stop − 1`` of the batch, as a function of their pyramid."""

    start: int
    stop: int
    loss: Callable[[FeaturePyramid], Tensor]


def summed_loss(
    pyramid: FeaturePyramid, parts: Sequence[PartialLoss], parameters: Sequence[Tensor]
) -> Tensor:
    """The sum of the losses of ``parts``, whose graphs are gone when this returns.

    ``parameters``: all that the losses depend on beside the pyramid; parameters that no loss uses
    get zeros.
    """
    total: Tensor = _SummedLoss.apply(
        parts, pyramid.strides, torch.is_grad_enabled(), *pyramid.levels, *parameters
    )
    return total


class _SummedLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        parts: Sequence[PartialLoss],
        strides: tuple[int, ...],
        differentiate: bool,
        *tensors: Tensor,
    ) -> Tensor:
        levels, parameters = tensors[: len(strides)], tensors[len(strides) :]
        total = levels[0].new_zeros((), dtype=torch.float32)
        gradients = [torch.zeros_like(tensor) for tensor in tensors] if differentiate else []
        for part in parts:
            images = slice(part.start, part.stop)
            own = tuple(level[images].detach().requires_grad_(differentiate) for level in levels)
            with torch.set_grad_enabled(differentiate):
                loss = part.loss(FeaturePyramid(own, strides))
            total += loss.detach()
            if differentiate:
                found = torch.autograd.grad(loss, [*own, *parameters], allow_unused=True)
                places = [gradient[images] for gradient in gradients[: len(levels)]]
                places += gradients[len(levels) :]
                for place, gradient in zip(places, found, strict=True):
                    if gradient is not None:
                        place += gradient
        ctx.gradients = gradients
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients, ctx.gradients = ctx.gradients, None
        # The usual factor is 1: nothing is multiplied then.
        scaled = gradients if grad == 1 else [gradient.mul_(grad) for gradient in gradients]
        return (None, None, None, *scaled)
