"""DCNv3 written for clarity: what the fast operator is held against."""

import math

import torch
import torch.nn.functional as F


def loop_sum(value, offset, mask, *, groups, offset_scale):
    """One point at a time, in Python numbers."""
    batch, height, width, channels = value.shape
    per_group = channels // groups
    out = torch.zeros_like(value)
    for b in range(batch):
        for row in range(height):
            for column in range(width):
                for group in range(groups):
                    part = slice(group * per_group, (group + 1) * per_group)
                    for point in range(9):
                        index = group * 9 + point
                        moved_x = point // 3 - 1 + float(offset[b, row, column, 2 * index])
                        moved_y = point % 3 - 1 + float(offset[b, row, column, 2 * index + 1])
                        sample = bilinear(
                            value[b, :, :, part],
                            column + offset_scale * moved_x,
                            row + offset_scale * moved_y,
                        )
                        out[b, row, column, part] += mask[b, row, column, index] * sample
    return out


def bilinear(maps, x, y):
    """The value of ``maps`` (H, W, C) at (x, y), in cells; zero outside."""
    height, width, channels = maps.shape
    total = torch.zeros(channels, dtype=maps.dtype)
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < height and 0 <= column < width:
                total += (1 - abs(x - column)) * (1 - abs(y - row)) * maps[row, column]
    return total


def grid_sample_sum(value, offset, mask, *, groups, offset_scale):
    """All points of all groups in one ``grid_sample``, as published implementations do."""
    batch, height, width, channels = value.shape
    axis = torch.arange(3, dtype=value.dtype) - 1
    point = torch.cartesian_prod(axis, axis)
    columns = torch.arange(width, dtype=value.dtype).expand(height, width)
    rows = torch.arange(height, dtype=value.dtype)[:, None].expand(height, width)
    pixel = torch.stack([columns, rows], dim=-1).view(1, height, width, 1, 1, 2)
    places = pixel + offset_scale * (point + offset.view(batch, height, width, groups, 9, 2))
    grid = (2 * places + 1) / torch.tensor([width, height], dtype=value.dtype) - 1
    # (B · groups, H · W, 9, 2)
    grid = grid.view(batch, height * width, groups, 9, 2).transpose(1, 2).flatten(0, 1)
    maps = value.view(batch, height * width, groups, -1).permute(0, 2, 3, 1)
    maps = maps.reshape(batch * groups, -1, height, width)
    sampled = F.grid_sample(maps, grid, mode="bilinear", align_corners=False)
    weights = mask.view(batch, height * width, groups, 9).transpose(1, 2).flatten(0, 1)
    out = (sampled * weights[:, None]).sum(-1)
    return out.view(batch, channels, height, width).permute(0, 2, 3, 1).contiguous()
