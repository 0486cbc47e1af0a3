"""A model whose predictions can be told from the pixels, so that views of them can be judged."""

from __future__ import annotations

import torch
from torch import nn

from geomtp.types import Predictions


class PixelModel(nn.Module):
    """Each pixel's logits are a function of that pixel; an object is wherever one is above 5.

    Objects are 3 × 3 px around the pixel: a box, its mask, and an upright rotated box of twice the
    height; those cut by the border of the image are not found.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[1.0, 0.5], [-1.0, 0.0], [0.0, 2.0]]))
        self.calls: list[int] = []

    def predict(self, images, image_sizes_hw, source, output_sizes_hw=None, images_after=None):
        self.calls.append(len(images))
        assert output_sizes_hw is None or list(output_sizes_hw) == list(image_sizes_hw)
        after = images if images_after is None else images_after
        return [
            self._of(image[:, :h, :w], later[:, :h, :w])
            for image, later, (h, w) in zip(images, after, image_sizes_hw, strict=True)
        ]

    def _of(self, image, after):
        inner = torch.zeros(image.shape[1:], dtype=torch.bool)
        inner[1:-1, 1:-1] = image[0, 1:-1, 1:-1] > 5
        y, x = inner.nonzero().unbind(dim=1)
        scores = image[0, y, x] / 100
        order = scores.argsort(descending=True)
        y, x, scores = y[order], x[order], scores[order]
        boxes = torch.stack([x - 1, y - 1, x + 2, y + 2], dim=1).float()
        masks = torch.zeros(len(x), *image.shape[1:], dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        centres = torch.stack([x + 0.5, y + 0.5], dim=1)
        sides = torch.tensor([6.0, 3.0, -torch.pi / 2]).expand(len(x), 3)
        labels = torch.zeros(len(x), dtype=torch.long)
        return Predictions(
            boxes=boxes,
            box_scores=scores,
            box_labels=labels,
            masks=masks,
            rboxes=torch.cat([centres, sides], dim=1),
            rbox_scores=scores,
            rbox_labels=labels,
            semantic_logits=torch.einsum("kc,chw->khw", self.weight, image[:2].clamp(max=2)),
            change_logits=torch.stack([0 * image[0] + 0.3, (after - image)[1].abs()]),
            scene_logits=torch.tensor([1.0, 2.0]),
        )
