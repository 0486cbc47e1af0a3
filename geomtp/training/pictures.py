"""Pictures for people to look at: predictions beside the truth, sheets of them, PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from geomtp.checkpoints import replacing
from geomtp.training.comparisons import comparison
from geomtp.training.overlays import Picture, draw_instances, draw_rotated, draw_semantic

__all__ = [
    "Picture",
    "comparison",
    "contact_sheet",
    "displayable",
    "draw_instances",
    "draw_rotated",
    "draw_semantic",
    "save_picture",
]

_GAP = 8


def contact_sheet(pictures: Sequence[Image.Image], columns: int) -> Image.Image:
    """All pictures in one, row by row, in ``columns`` columns as wide as their widest picture.

    Raises ValueError for no pictures or fewer than one column.
    """
    if not pictures or columns < 1:
        raise ValueError(
            f"a contact sheet needs a picture and a column: got {len(pictures)} pictures, "
            f"{columns} columns"
        )
    columns = min(columns, len(pictures))
    widths = [max(p.width for p in pictures[c::columns]) for c in range(columns)]
    rows = [pictures[i : i + columns] for i in range(0, len(pictures), columns)]
    heights = [max(p.height for p in row) for row in rows]
    size = sum(widths) + _GAP * (columns + 1), sum(heights) + _GAP * (len(rows) + 1)
    sheet = Image.new("RGB", size, "white")
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            corner = sum(widths[:c]) + _GAP * (c + 1), sum(heights[:r]) + _GAP * (r + 1)
            sheet.paste(picture, corner)
    return sheet


def displayable(
    image: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor
) -> Picture:
    """A normalised image as people see it: (H, W, 3) uint8.

    The first three channels are shown, the first alone in grey where there are fewer. What goes
    beyond 0…255 (16 bit, radar) or stays within 0…1 (reflectance) is stretched channel by channel
    from its 2nd to its 98th percentile.

    Args:
        image: (C, H, W) float, (value - mean) / std.
        mean: (C,), in the unit of the source's values.
        std: (C,), likewise.

    Raises:
        ValueError: mean or std do not fit the channels.
    """
    pixels = image.detach().cpu().float()
    if pixels.ndim != 3 or not len(mean) == len(std) == len(pixels):
        raise ValueError(
            f"expected an image (C, H, W) and one mean and std per channel: image "
            f"{tuple(pixels.shape)}, {len(mean)} means, {len(std)} standard deviations"
        )
    shown = 3 if len(pixels) >= 3 else 1
    means, stds = torch.as_tensor(mean).cpu()[:shown], torch.as_tensor(std).cpu()[:shown]
    values = (pixels[:shown] * stds[:, None, None] + means[:, None, None]).nan_to_num().numpy()
    low, high = np.percentile(values, (2, 98), axis=(1, 2), keepdims=True)
    if high.max() > 256 or low.min() < -1 or values.max() <= 1:
        values = (values - low) / np.maximum(high - low, 1e-6) * 255
    channels_last = np.rint(np.clip(values, 0, 255)).astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(channels_last, 3 // shown, axis=2)


def save_picture(picture: Image.Image, path: str | Path) -> None:
    """Write a PNG; it appears whole or not at all. Its folder is made where it is missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        picture.save(beside, format="PNG")
