"""Prompts: how an annotated object is shown to a segmenter that must be told where to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.geometry import enclosing_boxes, points_inside
from geomtp.labels.annotations import AnnotatedObject
from geomtp.labels.shapes import horizontal_box, rotated_boxes
from geomtp.rasters import WindowXYXY
from geomtp.types import SizeHW

Prompt = Literal["h", "r", "rh"]
"""The policies that SAMRS compared (arXiv 2305.02034):

- "h": the horizontal box of the annotation (around the outline or rotated box where it has none)
- "r": the rotated box itself, filled, as a coarse mask
- "rh": the horizontal box around the rotated box
"""

PROMPTS: tuple[str, ...] = get_args(Prompt)

_CERTAIN_LOGIT = 6.9  # log(0.999 / 0.001): a mask prompt that is sure of itself


def check_prompt(prompt: str) -> None:
    """Raise ValueError for a prompt that is none."""
    if prompt not in PROMPTS:
        raise ValueError(f"unknown prompt {prompt!r}; known: {', '.join(PROMPTS)}")


def prompt_boxes(
    objects: Sequence[AnnotatedObject], size_hw: SizeHW, prompt: Prompt
) -> NDArray[np.float64]:
    """The horizontal boxes of the prompts: (N, 4) x1 y1 x2 y2 pixels, clipped to the image.

    For "r" they are those of "rh": where the object is to be looked for.
    Raises ValueError for an unknown prompt.
    """
    check_prompt(prompt)
    if not objects:
        return np.zeros((0, 4))
    if prompt == "h":
        return np.array([horizontal_box(item, size_hw) for item in objects], dtype=np.float64)
    boxes = enclosing_boxes(torch.from_numpy(rotated_boxes(objects, size_hw))).numpy()
    height, width = size_hw
    return np.clip(boxes, 0, [width, height, width, height])


@dataclass(frozen=True, slots=True)
class Frame:
    """How a window of an image lies in the picture that a model sees.

    The window is resized to ``resized_hw`` and padded with nothing on the right and below to
    ``padded_hw``. SAM resizes the longest side to 1024 and pads to a square; SAM 2 stretches the
    window to the square (``stretched``).
    """

    window_xyxy: WindowXYXY
    resized_hw: SizeHW
    padded_hw: SizeHW
    stretched: bool = False

    @property
    def window_hw(self) -> SizeHW:
        """Height and width of the window in pixels of the image."""
        x1, y1, x2, y2 = self.window_xyxy
        return (y2 - y1, x2 - x1)

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Pixels of the model's picture per pixel of the image, along x and y."""
        height, width = self.window_hw
        return (self.resized_hw[1] / width, self.resized_hw[0] / height)

    def box_prompts(self, boxes_xyxy: NDArray[np.float64]) -> torch.Tensor:
        """Boxes (N, 4) of the image, cut at the window, as prompts: (N, 4) float32.

        The models count a pixel by its index and add the half pixel to its centre themselves, so
        half a pixel of THEIR picture is taken off the edge's place there.
        """
        x1, y1, x2, y2 = self.window_xyxy
        inside = np.clip(boxes_xyxy, [x1, y1, x1, y1], [x2, y2, x2, y2]) - [x1, y1, x1, y1]
        placed = inside * (self.scale_xy * 2) - 0.5
        return torch.from_numpy(placed).float()

    def mask_prompts(self, rboxes_cxcywha: NDArray[np.float64], side_px: int) -> torch.Tensor:
        """Filled rotated boxes (N, 5) as mask prompts: (N, 1, side_px, side_px) float32 logits.

        The prompt covers the model's picture, padding included, with pixels four times as large
        (SAM: 256 for 1024). A pixel whose centre lies in the box has a high logit, any other the
        same below zero. Boxes thinner than such a pixel are widened to it, so that none is lost.
        """
        pixel_xy = [self.padded_hw[1] / side_px, self.padded_hw[0] / side_px]
        pixel_xy = [size / scale for size, scale in zip(pixel_xy, self.scale_xy, strict=True)]
        x = self.window_xyxy[0] + (torch.arange(side_px, dtype=torch.float64) + 0.5) * pixel_xy[0]
        y = self.window_xyxy[1] + (torch.arange(side_px, dtype=torch.float64) + 0.5) * pixel_xy[1]
        centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=2).reshape(-1, 2)
        rboxes = torch.from_numpy(rboxes_cxcywha.astype(np.float64))
        # √2: a turned pixel's diagonal; then at least one centre lies inside
        rboxes[:, 2:4] = rboxes[:, 2:4].clamp(min=max(pixel_xy) * 2**0.5)
        inside = points_inside(centres, rboxes).T.reshape(-1, 1, side_px, side_px)
        return inside.float() * (2 * _CERTAIN_LOGIT) - _CERTAIN_LOGIT
