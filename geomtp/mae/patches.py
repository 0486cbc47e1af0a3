"""Patches of images: cutting, putting together, hiding, and saying where they lie."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geomtp.encoders.vit_rvsa import PATCH_PX
from geomtp.types import SizeHW


@dataclass(frozen=True)
class Masking:
    """Which patches of each image are seen. L patches, V of them visible.

    - visible: (B, V) int64, the patches that are seen, in the order in which the encoder gets them
    - restore: (B, L) int64, for each patch its place in (visible ones, then hidden ones)
    - hidden: (B, L) float, 1 where a patch is hidden, 0 where it is seen
    """

    visible: Tensor
    restore: Tensor
    hidden: Tensor


def visible_count(patches: int, mask_ratio: float) -> int:
    """How many of ``patches`` stay visible: the rest, rounded down, as in the reference.

    Raises ValueError for a ratio outside (0, 1), and for one that shows or hides everything.
    """
    if not 0 < mask_ratio < 1:
        raise ValueError(
            f"mask_ratio is the share of hidden patches: it must lie between 0 and 1 (0.75 is "
            f"usual), found {mask_ratio}"
        )
    count = int(patches * (1 - mask_ratio))
    if not 0 < count < patches:
        raise ValueError(
            f"mask_ratio {mask_ratio} leaves {count} of {patches} patches visible: choose one that "
            f"hides some and shows some, or larger images"
        )
    return count


def mask_by_noise(noise: Tensor, mask_ratio: float) -> Masking:
    """Show the patches with the smallest ``noise`` (B, L). Raises ValueError as visible_count."""
    count = visible_count(noise.shape[1], mask_ratio)
    order = noise.argsort(dim=1)
    restore = order.argsort(dim=1)
    return Masking(order[:, :count], restore, (restore >= count).to(noise))


def patchify(images: Tensor, patch_px: int = PATCH_PX) -> Tensor:
    """Images (B, C, H, W) as patches (B, L, patch_px² · C), row by row; pixel by pixel within."""
    batch, channels = images.shape[:2]
    # (B, C, rows, patch_px, columns, patch_px)
    parts = images.unflatten(3, (-1, patch_px)).unflatten(2, (-1, patch_px))
    return parts.permute(0, 2, 4, 3, 5, 1).reshape(batch, -1, patch_px**2 * channels)


def unpatchify(patches: Tensor, grid_hw: SizeHW, patch_px: int = PATCH_PX) -> Tensor:
    """The inverse of ``patchify``: (B, C, H, W) of a grid of ``grid_hw`` patches."""
    # (B, rows, columns, patch_px, patch_px, C)
    parts = patches.reshape(len(patches), *grid_hw, patch_px, patch_px, -1)
    return parts.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def sin_cos_positions(width: int, grid_hw: SizeHW) -> Tensor:
    """Fixed positions (1, 1 + rows · columns, width): zeros for the class token, then row by row.

    The first half of ``width`` tells the column, the second the row; of each the first half holds
    sines, the second cosines, of wavelengths from 2π to 10,000 · 2π. Raises ValueError unless
    ``width`` is a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"positions need a width that is a multiple of 4, found {width}")
    frequency = 10_000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    rows, columns = (torch.arange(count, dtype=torch.float64) for count in grid_hw)
    row, column = torch.meshgrid(rows, columns, indexing="ij")
    angles = [place.reshape(-1, 1) * frequency for place in (column, row)]
    table = torch.cat([wave for angle in angles for wave in (angle.sin(), angle.cos())], dim=1)
    return torch.cat([torch.zeros(1, width), table.float()])[None]
