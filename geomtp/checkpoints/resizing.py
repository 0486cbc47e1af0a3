"""Tables of positions brought to another image size, as the official loaders do it: bicubic."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from geomtp.types import SizeHW


def resize_position_table(pos: Tensor, grid_hw: SizeHW, has_class_token: bool = False) -> Tensor:
    """Absolute positions of a square grid for another grid, without the class token.

    Args:
        pos: (1, L, D), row by row; one leading entry more where there is a class token.
        grid_hw: rows and columns of tokens wanted.
        has_class_token: whether the first entry belongs to a class token; it is dropped.

    Returns:
        (1, rows · columns, D) of the same type; the values unchanged where the grid fits already.

    Raises:
        ValueError: the entries do not form a square grid.

    The official loaders of MTP: bicubic, ``align_corners=False``.
    """
    tokens = pos[:, 1:] if has_class_token else pos
    side = math.isqrt(tokens.shape[1])
    if side * side != tokens.shape[1]:
        raise ValueError(
            f"positions must form a square grid, got {tokens.shape[1]} entries "
            f"({'after' if has_class_token else 'without'} a class token)"
        )
    if (side, side) == tuple(grid_hw):
        return tokens
    image = tokens.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    resized = _bicubic(image, grid_hw)
    return resized.flatten(2).transpose(1, 2)  # (1, rows · columns, D)


def resize_relative_table(table: Tensor, length: int) -> Tensor:
    """A table of relative positions along one axis for another length.

    Args:
        table: (n, C), n = 2 · side − 1.
        length: entries wanted.

    Returns:
        (length, C) of the same type; the values unchanged where n is ``length`` already.

    The official loaders of MTP take the table as an image (1, 1, n, C): bicubic,
    ``align_corners=False``.
    """
    if len(table) == length:
        return table
    return _bicubic(table[None, None], (length, table.shape[1]))[0, 0]


def _bicubic(image: Tensor, size_hw: SizeHW) -> Tensor:
    resized = F.interpolate(image.float(), size=size_hw, mode="bicubic", align_corners=False)
    return resized.to(image.dtype)
