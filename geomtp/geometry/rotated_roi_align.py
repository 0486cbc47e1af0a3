"""RoIAlign for rotated boxes: every bin is one weighted sum of feature cells, in plain PyTorch.

With the map laid out as rows of channels, (B · H · W, C), all bins together are a product with a
sparse matrix of bilinear weights. ``embedding_bag`` is that product, and its transpose, which the
gradient needs, is the same function again with the entries sorted by cell. Other ways are
measured in docs/decisions/0001-rotated-roi-align.md.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from geomtp.geometry.rotated_boxes import require_columns
from geomtp.geometry.threads import one_thread
from geomtp.types import SizeHW

ROWS_AT_ONCE = 4096
"""Sums made before they are put in their place, while they are in the cache."""


def rotated_roi_align(
    features: Tensor,
    rois: Tensor,
    output_size: int | SizeHW,
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """Features under rotated boxes, each seen in the frame of its box: (K, C, out_h, out_w).

    The output's columns run along the w side of the box, its rows along the h side. A bin is the
    mean of sampling_ratio × sampling_ratio bilinear samples; with 0 their number follows the box,
    at least one for each cell along either side. Samples more than a cell outside the map are 0,
    those nearer take the border's value. Pixel centres lie at half cells ("aligned").

    - features: (B, C, H, W) float
    - rois: (K, 6) float, batch index, cx cy w h pixels, angle radians (clockwise)
    - output_size: number of bins, or (out_h, out_w)
    - spatial_scale: cells of ``features`` per pixel

    Differentiable, once, with respect to ``features``. Raises ValueError for other shapes.
    Source: mmcv's RoIAlignRotated (aligned, clockwise), as Oriented R-CNN uses it.
    """
    require_columns("rois", rois, 6)
    if features.ndim != 4:
        raise ValueError(f"features must have shape (B, C, H, W), got {tuple(features.shape)}")
    bins_hw = (output_size, output_size) if isinstance(output_size, int) else output_size
    rois = rois.to(torch.promote_types(rois.dtype, torch.float32))  # half is too coarse for pixels
    with one_thread():
        samples = _samples(rois, bins_hw, spatial_scale, sampling_ratio)
        cells, weights = _corners(samples, features.shape[2], features.shape[3])
    pooled: Tensor = _WeightedSums.apply(
        features, cells, weights.to(features.dtype), samples.counts * 4, bins_hw
    )
    return pooled


@dataclass(frozen=True)
class _Samples:
    """Sampling points, bin by bin: those of roi 0, bin row 0, bin column 0 first."""

    image: Tensor  # (S,) int64, batch index
    x: Tensor  # (S,) column of the map, 0 at the centre of the first cell
    y: Tensor  # (S,)
    share: Tensor  # (S,) 1 / number of samples of the bin
    counts: Tensor  # (bins,) int64, number of samples of each bin


def _samples(rois: Tensor, bins_hw: SizeHW, spatial_scale: float, sampling_ratio: int) -> _Samples:
    bins = bins_hw[0] * bins_hw[1]
    w, h = rois[:, 3] * spatial_scale, rois[:, 4] * spatial_scale
    if sampling_ratio > 0:
        grid_w = grid_h = torch.full_like(w, sampling_ratio, dtype=torch.int64)
    else:
        grid_w, grid_h = (w / bins_hw[1]).ceil().long(), (h / bins_hw[0]).ceil().long()
    per_bin = (grid_w * grid_h).clamp_(min=0)
    roi = torch.repeat_interleave(per_bin * bins)
    first = (per_bin * bins).cumsum(0) - per_bin * bins
    nth = torch.arange(len(roi), device=roi.device) - first.index_select(0, roi)
    # nth sample of a roi -> bin, row and column of the bin, row and column inside the bin
    grid_w, grid_h, of_bin = (t.index_select(0, roi) for t in (grid_w, grid_h, per_bin))
    which = nth // of_bin
    nth -= which * of_bin
    bin_row, row = which // bins_hw[1], nth // grid_w
    bin_column, column = which - bin_row * bins_hw[1], nth - row * grid_w
    # position in the box, -1/2 … 1/2, in the type of the rois
    right = (bin_column + (column.to(w.dtype) + 0.5) / grid_w) / bins_hw[1] - 0.5
    down = (bin_row + (row.to(w.dtype) + 0.5) / grid_h) / bins_hw[0] - 0.5
    right, down = right * w.index_select(0, roi), down * h.index_select(0, roi)
    cos, sin = (t.index_select(0, roi) for t in (rois[:, 5].cos(), rois[:, 5].sin()))
    centre = (rois[:, 1:3] * spatial_scale - 0.5).index_select(0, roi)
    return _Samples(
        image=rois[:, 0].long().index_select(0, roi),
        x=centre[:, 0] + right * cos - down * sin,
        y=centre[:, 1] + right * sin + down * cos,
        share=of_bin.to(w.dtype).reciprocal(),
        counts=torch.repeat_interleave(per_bin, bins),
    )


def _corners(samples: _Samples, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four cells around each sample, as (image · H + row) · W + column, and their bilinear
    weights times the sample's share: (S · 4,) int32 and (S · 4,).
    """
    x, y = samples.x, samples.y
    inside = (x >= -1) & (x <= width) & (y >= -1) & (y <= height)
    x, y = x.clamp(0, width - 1), y.clamp(0, height - 1)
    left, top = x.long(), y.long()
    to_right, to_bottom = x - left, y - top
    right, bottom = (left + 1).clamp_(max=width - 1), (top + 1).clamp_(max=height - 1)
    upper = (samples.image * height + top) * width
    lower = (samples.image * height + bottom) * width
    cells = torch.stack([upper + left, upper + right, lower + left, lower + right], dim=1)
    share = samples.share * inside
    lower_share = to_bottom * share
    upper_share = share - lower_share
    right_of_upper, right_of_lower = to_right * upper_share, to_right * lower_share
    weights = torch.stack(
        [
            upper_share - right_of_upper,
            right_of_upper,
            lower_share - right_of_lower,
            right_of_lower,
        ],
        dim=1,
    )
    return cells.int().flatten(), weights.flatten()


class _WeightedSums(torch.autograd.Function):
    """Features (B, C, H, W) → (K, C, out_h, out_w): bin b sums its ``counts[b]`` next ``cells``."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, cells: Tensor, weights: Tensor, counts: Tensor, bins_hw: SizeHW
    ) -> Tensor:
        ctx.save_for_backward(cells, weights, counts)
        ctx.features_shape = features.shape
        return _summed(_rows(features), cells, weights, counts, bins_hw)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        cells, weights, counts = ctx.saved_tensors
        batch, _, height, width = ctx.features_shape
        # The transposed product: a cell sums the bins that read it.
        order = cells.argsort()
        bins = torch.repeat_interleave(counts).int().index_select(0, order)
        readers = torch.bincount(cells, minlength=batch * height * width)
        sums = _summed(_rows(grad), bins, weights.index_select(0, order), readers, (height, width))
        return sums, None, None, None, None


def _rows(maps: Tensor) -> Tensor:
    """(B, C, H, W) → (B · H · W, C), contiguous; a view of maps that are channels_last."""
    if maps.is_contiguous(memory_format=torch.channels_last):
        return maps.permute(0, 2, 3, 1).flatten(0, 2)
    rows = maps.new_empty(len(maps), maps.shape[2] * maps.shape[3], maps.shape[1])
    _transpose_into(rows, maps.flatten(2))
    return rows.flatten(0, 1)


def _summed(
    rows: Tensor, index: Tensor, weights: Tensor, counts: Tensor, size_hw: SizeHW
) -> Tensor:
    """(N, C, H, W) whose cell n, in the order of N, H, W, is the sum of the next ``counts[n]``
    entries of weights · rows[index].
    """
    cells = size_hw[0] * size_hw[1]
    sums = rows.new_empty(len(counts) // cells, rows.shape[1], cells)
    together = max(1, ROWS_AT_ONCE // cells)
    first = counts.cumsum(0) - counts
    bounds = [*first[:: together * cells].tolist(), len(index)]
    for k, (start, stop) in enumerate(itertools.pairwise(bounds)):
        maps = sums[k * together : (k + 1) * together]
        bags = first[k * together * cells :][: len(maps) * cells] - start
        piece = F.embedding_bag(
            index[start:stop],
            rows,
            bags.to(index.dtype),
            mode="sum",
            per_sample_weights=weights[start:stop],
        )
        _transpose_into(maps, piece.unflatten(0, (-1, cells)))
    return sums.unflatten(2, size_hw)


def _transpose_into(targets: Tensor, sources: Tensor) -> None:
    """Write sources (N, P, Q) to targets (N, Q, P)."""
    if len(sources) > 16:
        targets.copy_(sources.transpose(1, 2))
        return
    for target, source in zip(targets, sources, strict=True):
        target.copy_(source.T)  # a single matrix goes block by block, two to three times as fast
