"""RoIAlign for rotated boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geomtp.geometry.rotated_boxes import require_columns


def rotated_roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: int | tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """Features under each rotated box, in the box's own frame: (K, C, height, width).

    features (B, C, H, W); rois (K, 6) = (batch index, cx, cy, w, h, angle), pixels of the image and
    radians; ``spatial_scale`` is feature cells per pixel.
    """
    require_columns("rois", rois, 6)
    out_h, out_w = (output_size, output_size) if isinstance(output_size, int) else output_size
    batch, channels, height, width = features.shape
    samples = sampling_ratio
    cx, cy = rois[:, 1] * spatial_scale - 0.5, rois[:, 2] * spatial_scale - 0.5
    w, h = rois[:, 3] * spatial_scale, rois[:, 4] * spatial_scale
    cos, sin = torch.cos(rois[:, 5]), torch.sin(rois[:, 5])
    steps_x = (torch.arange(out_w * samples, device=rois.device) + 0.5) / (out_w * samples) - 0.5
    steps_y = (torch.arange(out_h * samples, device=rois.device) + 0.5) / (out_h * samples) - 0.5
    along, down = w[:, None, None] * steps_x, h[:, None, None] * steps_y[:, None]
    cos, sin = cos[:, None, None], sin[:, None, None]
    x = cx[:, None, None] + along * cos - down * sin
    y = cy[:, None, None] + along * sin + down * cos
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    fx, fy = x - left, y - top
    first = rois[:, 0, None, None] * height
    index = torch.stack(
        [
            (first + row) * width + column
            for row, column in ((top, left), (top, right), (bottom, left), (bottom, right))
        ],
        dim=-1,
    ).long()
    weight = torch.stack([(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx], dim=-1) * (
        inside[..., None] / samples**2
    )

    def bags(values: Tensor) -> Tensor:
        # (K, out_h, samples, out_w, samples, 4) -> (K · out_h · out_w, samples · samples · 4)
        split = values.reshape(-1, out_h, samples, out_w, samples, 4)
        return split.permute(0, 1, 3, 2, 4, 5).reshape(-1, samples * samples * 4)

    cells = features.permute(0, 2, 3, 1).reshape(-1, channels)
    pooled = F.embedding_bag(
        bags(index), cells, mode="sum", per_sample_weights=bags(weight).to(cells.dtype)
    )
    return pooled.reshape(-1, out_h, out_w, channels).permute(0, 3, 1, 2)
