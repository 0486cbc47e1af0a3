"""Predictions of one image by a protocol."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geomtp.evaluation.fusion import of_views, of_windows, resized
from geomtp.evaluation.protocol import Protocol, View
from geomtp.evaluation.sliding import slide_windows
from geomtp.inference.windows.mirroring import flipped_pixels, unflipped
from geomtp.model import MultiTaskModel
from geomtp.types import Predictions, SizeHW


@torch.no_grad()
def look_at(
    model: MultiTaskModel,
    source: str,
    image: Tensor,
    protocol: Protocol,
    output_hw: SizeHW,
    image_after: Tensor | None = None,
) -> Predictions:
    """What ``model`` says of one image, in pixels of ``output_hw``, on the CPU.

    Args:
        model: in evaluation mode.
        source: whose classes are meant.
        image: (C, H, W), normalised, without padding, already of the protocol's ``size_px``.
        protocol: windows, scales and flips.
        output_hw: height and width that the predictions are for (those of the file); with the
            protocol's ``centre_px`` only the class of the whole image means anything.
        image_after: (C, H, W), the second date, for change.
    """
    device = next(model.parameters()).device
    dates = [pixels.to(device) for pixels in (image, image_after) if pixels is not None]
    parts = [_seen(model, source, dates, view, protocol, output_hw) for view in protocol.views]
    return of_views(parts, protocol).to("cpu")


def _seen(
    model: MultiTaskModel,
    source: str,
    dates: list[Tensor],
    view: View,
    protocol: Protocol,
    output_hw: SizeHW,
) -> Predictions:
    """The predictions of one view, turned and resized back."""
    dates = [flipped_pixels(_scaled(pixels, view.scale), view.flip) for pixels in dates]
    if protocol.centre_px is not None:
        dates = [_middle(pixels, protocol.centre_px) for pixels in dates]
    height, width = size_hw = (dates[0].shape[1], dates[0].shape[2])
    crop, stride = protocol.crop_px, protocol.stride_px
    if crop is None or stride is None or max(height, width) <= crop:
        after = dates[1][None] if len(dates) > 1 else None
        found = model.predict(dates[0][None], [size_hw], source, [output_hw], after)[0]
        return unflipped(found, view.flip, output_hw)
    windows = slide_windows(size_hw, crop, stride)
    parts: list[Predictions] = []
    for first in range(0, len(windows), protocol.windows_at_once):
        chosen = windows[first : first + protocol.windows_at_once]
        stacks = [
            torch.stack([pixels[:, y1:y2, x1:x2] for x1, y1, x2, y2 in chosen]) for pixels in dates
        ]
        sizes = [(y2 - y1, x2 - x1) for x1, y1, x2, y2 in chosen]
        after = stacks[1] if len(stacks) > 1 else None
        parts += model.predict(stacks[0], sizes, source, None, after)
    found = of_windows(parts, windows, size_hw, protocol)
    return resized(unflipped(found, view.flip, size_hw), size_hw, output_hw)


def _scaled(pixels: Tensor, scale: float) -> Tensor:
    """(C, H, W) at ``scale`` times its size."""
    if scale == 1:
        return pixels
    size_hw = [max(1, round(side * scale)) for side in pixels.shape[-2:]]
    return F.interpolate(pixels[None], size_hw, mode="bilinear", antialias=scale < 1)[0]


def _middle(pixels: Tensor, side_px: int) -> Tensor:
    """The middle of (C, H, W), of at most this side; where it cannot be even, nearer the corner."""
    top, left = (max(0, round((side - side_px) / 2)) for side in pixels.shape[-2:])
    return pixels[:, top : top + side_px, left : left + side_px]
