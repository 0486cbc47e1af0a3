"""Layers that compute what torch's own do, faster where it pays."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Linear(nn.Linear):
    """``nn.Linear`` that computes float32 on a CPU as a 1×1 convolution.

    The convolutions of torch run through oneDNN, its matrix products through a BLAS that on AMD
    processors reaches half the speed (docs/decisions/0003-linear-as-convolution.md). Keys, shapes
    and, within rounding, numbers are those of ``nn.Linear``.
    """

    def forward(self, features: Tensor) -> Tensor:
        """(…, in_features) to (…, out_features)."""
        if not _is_slow_product(features):
            return super().forward(features)
        # (rows, in) seen as one image of one row, channels last: no copy
        image = features.reshape(1, 1, -1, self.in_features).permute(0, 3, 1, 2)
        out = F.conv2d(image, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*features.shape[:-1], self.out_features)


def _is_slow_product(features: Tensor) -> bool:
    return (
        not torch.compiler.is_exporting()  # a graph runs anywhere
        and features.device.type == "cpu"
        and features.dtype == torch.float32
        and features.numel() > 0
        and torch.backends.mkldnn.is_available()
        and not torch.is_autocast_enabled("cpu")
    )


def mean_of_cells(maps: Tensor, size: int) -> Tensor:
    """``maps`` (B, C, H, W) averaged to (B, C, size, size), as ``F.adaptive_avg_pool2d`` does.

    In a graph that is exported it is two products of matrices: ONNX has no such pooling.
    """
    if not torch.compiler.is_exporting():
        return F.adaptive_avg_pool2d(maps, size)
    down, across = (_shares(side, size, maps) for side in maps.shape[-2:])
    return down @ maps @ across.T


def _shares(side: int, size: int, like: Tensor) -> Tensor:
    """(size, side): what each of the ``side`` cells counts in each of the ``size`` means.

    Mean i is over the cells from ⌊i · side / size⌋ on and before ⌈(i + 1) · side / size⌉.
    """
    cell = torch.arange(side, device=like.device)
    index = torch.arange(size, device=like.device)[:, None]
    first, end = index * side // size, -(-(index + 1) * side // size)
    inside = ((cell >= first) & (cell < end)).to(like)
    return inside / inside.sum(dim=1, keepdim=True)


def recomputed(function: Callable[..., Tensor], *features: Tensor) -> Tensor:
    """``function(*features)``, keeping only ``features`` for the backward pass.

    What the function saves is computed again there, up to its last operator: of "activation, then
    linear layer" that is the activation alone, so it costs almost nothing and saves a copy. The
    function must not draw random numbers.
    """
    if not torch.is_grad_enabled():
        return function(*features)
    out: Tensor = checkpoint(function, *features, use_reentrant=False, preserve_rng_state=False)
    return out
