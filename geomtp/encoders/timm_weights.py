"""Weights in files of timm, for other channels, image sizes and names than those of the file."""

from __future__ import annotations

import math
import sys

import torch
from torch import Tensor, nn

from geomtp.encoders.vit_rvsa import adapt_channels
from geomtp.types import SizeHW


def renamed_by_timm(built: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """``weights`` of the model's authors under timm's names, where timm has a rule and it helps.

    Many files that timm offers keep the names of their authors (Swin, ConvNeXt, DINOv2 …), and are
    renamed when they are loaded. Raises nothing: where the rule fails, the weights as they are.
    """
    module = vars(sys.modules[type(built).__module__])
    rule = module.get("checkpoint_filter_fn") or module.get("_filter_fn")
    names = set(built.state_dict())
    if rule is None or names <= set(weights):
        return weights
    try:
        renamed = rule(dict(weights), built)
    except Exception:  # rules expect the files that they were written for
        return weights
    return renamed if len(names & set(renamed)) > len(names & set(weights)) else weights


def adapted_stem(weight: Tensor, wanted: int, in_channels: int) -> Tensor:
    """``weight`` (D, C, h, w) with ``wanted`` channels; as it is where that cannot be.

    Stems that fold k × k pixels into channels have k² · C of them, those of a pixel together.
    """
    folded = wanted // in_channels
    if weight.shape[1] % folded:
        return weight
    pixels = weight.unflatten(1, (folded, -1)).flatten(0, 1)  # (D · k², C, h, w)
    adapted = adapt_channels(pixels, in_channels)
    return adapted.unflatten(0, (-1, folded)).flatten(1, 2)


def window_table(table: Tensor, own: Tensor, window_hw: SizeHW) -> Tensor:
    """Relative positions of a square window for our window, bicubic; as they are where in doubt.

    Tables are (positions of rows and columns, then of other tokens; heads) or (heads, rows,
    columns).
    """
    rows, columns = (2 * side - 1 for side in window_hw)
    if table.shape == own.shape or table.ndim not in (2, 3):
        return table
    if table.ndim == 3:
        return _bicubic(table, rows, columns)
    others = len(own) - rows * columns
    side = math.isqrt(max(0, len(table) - others))
    if side * side + others != len(table):
        return table
    images = table[: side * side].T.unflatten(1, (side, side))  # (heads, rows, columns)
    resized = _bicubic(images, rows, columns).flatten(1).T
    return torch.cat((resized, table[side * side :]))


def _bicubic(images: Tensor, rows: int, columns: int) -> Tensor:
    return nn.functional.interpolate(images[None], (rows, columns), mode="bicubic")[0]
