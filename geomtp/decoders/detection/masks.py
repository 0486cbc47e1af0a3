"""Masks of regions: their layers, targets to learn from, predictions back into the image."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from geomtp.decoders.fpn import conv_for_relu
from geomtp.types import SizeHW


class MaskHead(nn.Module):
    """Four convolutions and one upsampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv_for_relu(channels, channels, 3, bias=True) for _ in range(4)
        )
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, 14, 14) to (R, C, 28, 28)."""
        for conv in self.convs:
            pooled = F.relu(conv(pooled), inplace=True)
        return F.relu(self.upsample(pooled), inplace=True)


def mask_targets(masks: Tensor, boxes_xyxy: Tensor, objects: Tensor, size: int) -> Tensor:
    """(P, size, size) 0 or 1: the object's mask inside each box, sampled and cut at one half.

    Boxes are clipped to the mask first.

    - masks: (N, H, W) bool; boxes_xyxy: (P, 4); objects: (P,) index into ``masks``
    """
    limit = boxes_xyxy.new_tensor([masks.shape[-1], masks.shape[-2]]).repeat(2)
    boxes_xyxy = torch.minimum(boxes_xyxy.clamp(min=0), limit)
    rois = torch.cat([objects[:, None].to(boxes_xyxy), boxes_xyxy], dim=-1)
    sampled = roi_align(masks[:, None].to(boxes_xyxy), rois, size, 1.0, 0, aligned=True)
    return (sampled[:, 0] >= 0.5).to(boxes_xyxy)


def paste_masks(probabilities: Tensor, boxes_xyxy: Tensor, size_hw: SizeHW) -> Tensor:
    """(N, H, W) bool: each (N, s, s) probability map put into its box, cut at one half."""
    height, width = size_hw
    pasted = torch.zeros(len(boxes_xyxy), height, width, dtype=torch.bool)
    pasted = pasted.to(probabilities.device)
    for index, (x1, y1, x2, y2) in enumerate(boxes_xyxy.tolist()):
        if not (x2 > x1 and y2 > y1):
            continue
        left, right = max(math.floor(x1) - 1, 0), min(math.ceil(x2) + 1, width)
        top, bottom = max(math.floor(y1) - 1, 0), min(math.ceil(y2) + 1, height)
        if left >= right or top >= bottom:
            continue
        x = torch.arange(left, right, device=pasted.device) + 0.5
        y = torch.arange(top, bottom, device=pasted.device) + 0.5
        x, y = (x - x1) / (x2 - x1) * 2 - 1, (y - y1) / (y2 - y1) * 2 - 1
        grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)
        values = F.grid_sample(
            probabilities[index][None, None], grid[None].to(probabilities), align_corners=False
        )
        pasted[index, top:bottom, left:right] = values[0, 0] >= 0.5
    return pasted
