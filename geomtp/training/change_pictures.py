"""The figure that shows what changed between two dates: both, the truth and the prediction."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from geomtp.training.overlays import Picture
from geomtp.types import IGNORE, Predictions, Targets

RIGHT, MISSED, FALSE, UNKNOWN = (90, 200, 90), (230, 60, 50), (250, 200, 40), (128, 128, 128)
"""Colours of changed pixels that were found, missed, wrongly called changed; of unlabelled ones."""

_INK, _PALE = (40, 40, 40), (120, 120, 120)
_GAP = 8
_TEXT_PX = 17
_LINE = 26
_LEAST_PX = 112  # of a panel, so that its heading fits


def change_comparison(
    before: Picture,
    after: Picture,
    targets: Targets,
    predictions: Predictions,
    *,
    max_side_px: int = 384,
) -> Image.Image:
    """One figure of one place: before, after, truth and prediction side by side.

    In the truth changed is white, unchanged black, unlabelled grey. In the prediction, changed
    pixels that were found are green, those that were missed red, false alarms yellow; white is what
    is called changed where there is no label. Small images are enlarged, large ones reduced.

    Args:
        before: (H, W, 3) uint8, see ``displayable``.
        after: likewise.
        targets: the truth, with ``change`` or without.
        predictions: with ``change_logits``.
        max_side_px: the longer side of an image in the figure.

    Raises:
        ValueError: a map has not the size of the images.
    """
    found = predictions.change.cpu()
    truth = torch.full_like(found, IGNORE) if targets.change is None else targets.change.cpu()
    for name, shape in (("after", after.shape[:2]), ("truth", truth.shape), ("map", found.shape)):
        if tuple(shape) != before.shape[:2]:
            raise ValueError(f"{name} has size {tuple(shape)}, the first image {before.shape[:2]}")
    panels = {
        "before": before,
        "after": after,
        "truth": _painted({1: (255, 255, 255), IGNORE: UNKNOWN}, truth),
        "prediction": _judged(found, truth),
    }
    height, width = before.shape[:2]
    side = max(height, width)
    scale = max_side_px // side if side <= max_side_px else max_side_px / side
    size = max(_LEAST_PX, round(width * scale)), max(_LEAST_PX, round(height * scale))
    figure = Image.new(
        "RGB", (_GAP + 4 * (size[0] + _GAP), 2 * _LINE + size[1] + 2 * _GAP), "white"
    )
    pen, font = ImageDraw.Draw(figure), ImageFont.load_default(size=_TEXT_PX)
    for i, (heading, picture) in enumerate(panels.items()):
        x = _GAP + i * (size[0] + _GAP)
        resized = Image.fromarray(picture).resize(size, Image.Resampling.NEAREST)
        pen.text((x, _LINE - 6), heading, fill=_INK, font=font, anchor="ls")
        figure.paste(resized, (x, _LINE))
    legend = "prediction: green found, red missed, yellow false, white and grey not labelled"
    pen.text((_GAP, _LINE + size[1] + _GAP), legend, fill=_PALE, font=font, anchor="lt")
    return figure


def _painted(colours: dict[int, tuple[int, int, int]], values: Tensor) -> Picture:
    table = np.zeros((256, 3), dtype=np.uint8)
    for value, colour in colours.items():
        table[value] = colour
    picture: Picture = table[values.numpy()]
    return picture


def _judged(found: Tensor, truth: Tensor) -> Picture:
    """The prediction (H, W), coloured by whether it is right."""
    kinds = torch.zeros_like(found)
    known = truth != IGNORE
    kinds[(found == 1) & (truth == 1)] = 1
    kinds[(found == 0) & (truth == 1)] = 2
    kinds[(found == 1) & (truth == 0)] = 3
    kinds[(found == 1) & ~known] = 4
    kinds[(found == 0) & ~known] = 5
    return _painted({1: RIGHT, 2: MISSED, 3: FALSE, 4: (255, 255, 255), 5: UNKNOWN}, kinds)
