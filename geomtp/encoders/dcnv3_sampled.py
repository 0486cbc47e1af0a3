"""DCNv3 as one ``grid_sample``: slower than bags, but of operators that exported graphs know."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 3
POINTS = SIDE * SIDE


def sampled_sum(
    value: Tensor, offset: Tensor, mask: Tensor, *, groups: int, offset_scale: float
) -> Tensor:
    """What ``deformable_sum`` says, of the same tensors; any number of images, any height, width.

    All points of a group of channels lie in one image of the grid: (B · groups, H, W · 9).
    """
    height, width = value.shape[1:3]
    number = torch.arange(POINTS, device=value.device)
    home_x = torch.arange(width, device=value.device).view(-1, 1, 1)
    home_y = torch.arange(height, device=value.device).view(-1, 1, 1, 1)
    moved_x, moved_y = offset.unflatten(-1, (groups, POINTS, 2)).unbind(-1)
    x = home_x + offset_scale * (number // SIDE - SIDE // 2 + moved_x)
    y = home_y + offset_scale * (number % SIDE - SIDE // 2 + moved_y)
    # cells to −1…1, the outer edges of the map
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)
    # (B, groups, H, W, 9, x and y) to (B · groups, H, W · 9, x and y)
    grid = grid.permute(0, 3, 1, 2, 4, 5).flatten(3, 4).flatten(0, 1)
    # (B, groups, channels of a group, H, W)
    maps = value.unflatten(-1, (groups, -1)).permute(0, 3, 4, 1, 2)
    samples = F.grid_sample(maps.flatten(0, 1), grid.to(maps), align_corners=False)
    weights = mask.unflatten(-1, (groups, POINTS)).permute(0, 3, 1, 2, 4).flatten(0, 1)
    total = (samples.unflatten(-1, (width, POINTS)) * weights[:, None]).sum(-1)
    return total.view_as(maps).permute(0, 3, 4, 1, 2).flatten(-2)
