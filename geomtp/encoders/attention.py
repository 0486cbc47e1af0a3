"""The two attentions of ViT+RVSA, on maps of tokens (B, H, W, D).

Sources: RVSA, Wang et al. 2022 (arXiv 2208.03987); decomposed relative positions, MViTv2
(arXiv 2112.01526).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.checkpoints import resize_relative_table
from geomtp.layers import Linear, recomputed
from geomtp.types import SizeHW


def relative_rows(table: Tensor, size: int) -> Tensor:
    """Row ``query − key + size − 1`` of ``table`` (2·size − 1, d), as (query, key, d)."""
    position = torch.arange(size, device=table.device)
    return table[position[:, None] - position[None, :] + size - 1]


class GlobalAttention(nn.Module):
    """Attention of every token to every token, with decomposed relative positions.

    The relative terms use the scaled query, and are folded into the inner product: appending
    [q·Rh, q·Rw] to the query and indicators of row and column to the key gives the same logits
    without an N×N bias, so that the fused kernel of ``scaled_dot_product_attention`` can run.
    ``rel_pos=False`` leaves the relative terms out, as the released detectors do.
    """

    def __init__(self, *, width: int, num_heads: int, grid_hw: SizeHW, rel_pos: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)
        self.rel_pos = rel_pos
        if rel_pos:
            head_width = width // num_heads
            height, breadth = grid_hw
            self.full_attn_rel_pos_h = nn.Parameter(torch.zeros(2 * height - 1, head_width))
            self.full_attn_rel_pos_w = nn.Parameter(torch.zeros(2 * breadth - 1, head_width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) to (B, H, W, D)."""
        batch, height, breadth, width = tokens.shape
        # (q/k/v, B, heads, H·W, head width)
        qkv = self.qkv(tokens).view(batch, height * breadth, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        query = query * (width // self.num_heads) ** -0.5
        if self.rel_pos:
            out = self._attend_with_positions(query, key, value, (height, breadth))
        else:
            out = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.proj(out.transpose(1, 2).reshape(batch, height, breadth, width))

    def _attend_with_positions(
        self, query: Tensor, key: Tensor, value: Tensor, grid_hw: SizeHW
    ) -> Tensor:
        batch, heads, count, head_width = query.shape
        height, breadth = grid_hw
        rows = relative_rows(
            resize_relative_table(self.full_attn_rel_pos_h, 2 * height - 1), height
        )
        columns = relative_rows(
            resize_relative_table(self.full_attn_rel_pos_w, 2 * breadth - 1), breadth
        )
        grid = query.unflatten(2, grid_hw)
        to_rows = torch.einsum("bnyxd,ykd->bnyxk", grid, rows).flatten(2, 3)
        to_columns = torch.einsum("bnyxd,xkd->bnyxk", grid, columns).flatten(2, 3)
        query = torch.cat([query, to_rows.to(query), to_columns.to(query)], dim=-1)
        in_row = torch.eye(height, dtype=key.dtype, device=key.device).repeat_interleave(breadth, 0)
        in_column = torch.eye(breadth, dtype=key.dtype, device=key.device).repeat(height, 1)
        indicators = torch.cat([in_row, in_column], dim=-1)
        key = torch.cat([key, indicators.expand(batch, heads, count, -1)], dim=-1)
        value = F.pad(value, (0, height + breadth))  # the fused kernel wants equal widths
        out = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return out[..., :head_width]


class RotatedVariedSizeWindowAttention(nn.Module):
    """Attention inside windows whose keys are sampled from a moved, scaled and turned window.

    Each head of each window predicts an offset, a scale and an angle from the window's mean; keys
    and values are sampled there bilinearly, queries stay. Padding to whole windows is zero and
    takes part in the softmax, without the projection's bias, as the released weights expect.
    """

    def __init__(self, *, width: int, num_heads: int, window: int = 7) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window = window
        head_width = width // num_heads
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * window - 1, head_width))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * window - 1, head_width))
        table = torch.empty((2 * window - 1) ** 2, num_heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", _relative_position_index(window))
        self.relative_position_index: Tensor
        # Not zero at the start: the reference never calls its zeroing method (quirk 6).
        self.sampling_offsets = nn.Conv2d(width, 2 * num_heads, 1)
        self.sampling_scales = nn.Conv2d(width, 2 * num_heads, 1)
        self.sampling_angles = nn.Conv2d(width, num_heads, 1)
        self.qkv = Linear(width, 3 * width)
        self.proj = Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) to (B, H, W, D)."""
        height, breadth = tokens.shape[1:3]
        pad_h, pad_w = -height % self.window, -breadth % self.window
        top, left = pad_h // 2, pad_w // 2
        padding = (0, 0, left, pad_w - left, top, pad_h - top)
        points = self._sampling_points(F.pad(tokens, padding), (height, breadth))
        out = recomputed(self._attend, F.pad(self.qkv(tokens), padding), points)
        return self.proj(out[:, top : top + height, left : left + breadth])

    def _attend(self, qkv: Tensor, points: Tensor) -> Tensor:
        """(B, Hp, Wp, D) from padded projections (B, Hp, Wp, 3·D) and sampling points."""
        batch, height, breadth, width = qkv.shape
        window, heads = self.window, self.num_heads
        windows_h, windows_w = height // window, breadth // window

        def to_windows(maps: Tensor) -> Tensor:
            """(B·heads, C, Hp, Wp) to (B·windows, heads, window², C)."""
            parts = maps.view(batch, heads, -1, windows_h, window, windows_w, window)
            # (B, windows_h, windows_w, heads, window, window, C)
            return parts.permute(0, 3, 5, 1, 4, 6, 2).reshape(
                batch * windows_h * windows_w, heads, window * window, -1
            )

        # (q/k/v, B·heads, head width, Hp, Wp)
        query, *pair = qkv.unflatten(-1, (3, heads, -1)).permute(3, 0, 4, 5, 1, 2).flatten(1, 2)
        query = to_windows(query.contiguous())
        # bilinear, zero outside
        maps = torch.cat(pair, dim=1)
        sampled = F.grid_sample(maps, points.to(maps.dtype), align_corners=True)
        key, value = to_windows(sampled).chunk(2, dim=-1)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias(query))
        # (B, windows_h, windows_w, heads, window, window, C) to (B, Hp, Wp, heads·C)
        out = out.view(batch, windows_h, windows_w, heads, window, window, -1)
        return out.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, breadth, width // 3)

    def _bias(self, query: Tensor) -> Tensor:
        """Relative terms (B·windows, heads, window², window²); they use the unscaled query."""
        window = self.window
        rows = relative_rows(self.rel_pos_h, window)[:, None, :, None]
        columns = relative_rows(self.rel_pos_w, window)[None, :, None, :]
        positions = (rows + columns).reshape(window**2, window**2, -1)
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(window**2, window**2, self.num_heads).permute(2, 0, 1)
        return torch.einsum("bnpd,prd->bnpr", query, positions.to(query)) + bias.to(query)

    def _sampling_points(self, padded: Tensor, size_hw: SizeHW) -> Tensor:
        """Where each head samples its keys: (B·heads, Hp, Wp, 2), x and y in −1…1 (corners on).

        ``padded`` (B, Hp, Wp, D); ``size_hw`` is the size before padding. Offsets of x are divided
        by the height's quotient and those of y by the width's, as in the reference (quirk 1).
        """
        batch, height, breadth, _ = padded.shape
        window, heads = self.window, self.num_heads
        windows_h, windows_w = height // window, breadth // window
        parts = padded.view(batch, windows_h, window, windows_w, window, -1)
        pooled = F.leaky_relu(parts.mean(dim=(2, 4))).permute(0, 3, 1, 2)

        def per_head(convolution: nn.Conv2d) -> Tensor:
            """(B, heads, coordinates, windows_h, 1, windows_w, 1)."""
            predicted = convolution(pooled).float().view(batch, heads, -1, windows_h, windows_w)
            return predicted[..., None, :, None]

        offset_x, offset_y = per_head(self.sampling_offsets).unbind(2)
        scale_x, scale_y = per_head(self.sampling_scales).unbind(2)
        angle = per_head(self.sampling_angles)[:, :, 0]
        offset_x = offset_x / max(1, size_hw[0] // window)
        offset_y = offset_y / max(1, size_hw[1] // window)
        step_x, step_y = 2 / (breadth - 1), 2 / (height - 1)
        place = torch.arange(window, device=padded.device) - window // 2
        local_x = (place * step_x) * (1 + scale_x)  # (…, windows_h, 1, windows_w, window)
        local_y = (place * step_y)[:, None, None] * (1 + scale_y)
        centre_x = torch.arange(windows_w, device=padded.device)[:, None] * window + window // 2
        centre_y = torch.arange(windows_h, device=padded.device)[:, None, None, None] * window
        x = centre_x * step_x - 1 + local_x * angle.cos() - local_y * angle.sin() + offset_x
        y = (
            (centre_y + window // 2) * step_y
            - 1
            + local_x * angle.sin()
            + local_y * angle.cos()
            + offset_y
        )
        return torch.stack([x, y], dim=-1).view(batch * heads, height, breadth, 2)


def _relative_position_index(window: int) -> Tensor:
    """(window², window²): entry [p, r] = (yp − yr + w − 1)·(2w − 1) + (xp − xr + w − 1)."""
    place = torch.arange(window**2)
    row, column = place // window, place % window
    row_shift = row[:, None] - row[None, :] + window - 1
    column_shift = column[:, None] - column[None, :] + window - 1
    return row_shift * (2 * window - 1) + column_shift


def depth_scaled_(weight: Tensor, block: int) -> None:
    """Divide ``weight`` in place by √(2(block + 1)), block counted from 0."""
    weight.div_(math.sqrt(2.0 * (block + 1)))
