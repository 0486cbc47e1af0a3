"""DCNv3: a convolution whose nine points move, weighted anew at each pixel and channel group.

Source: Wang et al. 2022, InternImage (arXiv 2211.05778), section 3.1. Plain torch; why it is made
of ``embedding_bag`` is told in docs/decisions/0011-dcnv3-as-bags.md.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from geomtp.encoders.dcnv3_sampled import POINTS, SIDE, sampled_sum
from geomtp.layers import Linear

LAYER_NORM_EPS = 1e-6
BAGS_AT_ONCE = 2**15
"""Groups of pixels that are summed together, or one image: what is worked on stays in the cache."""


class DCNv3(nn.Module):
    """The operator with the layers that predict its offsets and weights, on maps (B, H, W, width).

    - groups: groups of channels, each with offsets and weights of its own
    - offset_scale: factor of the points' places, the 3 × 3 grid included

    Raises ValueError when the width is no multiple of the number of groups.
    """

    def __init__(self, *, width: int, groups: int, offset_scale: float) -> None:
        super().__init__()
        if width % groups:
            raise ValueError(f"width {width} must be a multiple of groups {groups}")
        self.groups = groups
        self.offset_scale = offset_scale
        self.dw_conv = nn.Conv2d(width, width, SIDE, padding=1, groups=width)
        self.dw_norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.offset = Linear(width, groups * POINTS * 2)
        self.mask = Linear(width, groups * POINTS)
        self.input_proj = Linear(width, width)
        self.output_proj = Linear(width, width)
        for layer in (self.offset, self.mask):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.input_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, width) to (B, H, W, width)."""
        near = self.dw_conv(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        near = F.gelu(self.dw_norm(near))
        mask = self.mask(near).unflatten(-1, (self.groups, POINTS)).softmax(-1).flatten(-2)
        aggregated = deformable_sum(
            self.input_proj(features),
            self.offset(near),
            mask,
            groups=self.groups,
            offset_scale=self.offset_scale,
        )
        return self.output_proj(aggregated)


def deformable_sum(
    value: Tensor, offset: Tensor, mask: Tensor, *, groups: int, offset_scale: float
) -> Tensor:
    """For each pixel and group, the weighted sum of ``value`` sampled at nine moved points.

    Point p = 3·ix + iy of the pixel (y, x) lies at x + s·(ix − 1 + offset_x), y + s·(iy − 1 +
    offset_y), s being ``offset_scale``. Bilinear, zero outside. Computed in float32 at least,
    autocast or not. Differentiable once.

    - value: (B, H, W, groups · channels)
    - offset: (B, H, W, groups · 9 · 2), the groups outermost, then points, then x and y; pixels
    - mask: (B, H, W, groups · 9), the points' weights

    Returns (B, H, W, groups · channels) of the type of ``value``. While a graph is exported, it is
    made of operators that graphs know (``sampled_sum``).

    Raises ValueError when the shapes do not fit together.
    """
    batch, height, width, channels = value.shape
    places = (batch, height, width)
    if (
        channels % groups
        or offset.shape != (*places, groups * POINTS * 2)
        or mask.shape != (*places, groups * POINTS)
    ):
        raise ValueError(
            f"value {tuple(value.shape)} in {groups} groups needs offsets "
            f"{(*places, groups * POINTS * 2)} and masks {(*places, groups * POINTS)}; "
            f"got {tuple(offset.shape)} and {tuple(mask.shape)}"
        )
    if torch.compiler.is_exporting():
        return sampled_sum(value, offset, mask, groups=groups, offset_scale=offset_scale)
    wide = torch.promote_types(value.dtype, torch.float32)
    images = max(1, BAGS_AT_ONCE // max(1, height * width * groups))
    parts = zip(*(t.to(wide).split(images) for t in (value, offset, mask)), strict=True)
    with torch.autocast(value.device.type, enabled=False):
        sums = [_DeformableSum.apply(*part, groups, offset_scale) for part in parts]
    return (sums[0] if len(sums) == 1 else torch.cat(sums)).to(value.dtype)


class _Points(NamedTuple):
    """Where the points of all bags lie in the table; a bag is one group of one pixel.

    - row: (bags, 9) int32, the table's row of the upper left neighbour
    - across, down: (bags, 9), 0…1, how far the point lies to the right of and below it
    - moving_x, moving_y: (bags, 9), whether moving the point that way matters: it lies in the map
    """

    row: Tensor
    across: Tensor
    down: Tensor
    moving_x: Tensor
    moving_y: Tensor


class _DeformableSum(torch.autograd.Function):
    """``deformable_sum`` as sums over bags of table rows; nothing is kept but the inputs.

    The table has one row of channels for each pixel and group, with a border of zeros one pixel
    wide: the four neighbours of any point exist and lie at constant distances.
    """

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, offset: Tensor, mask: Tensor, groups: int, offset_scale: float
    ) -> Tensor:
        ctx.save_for_backward(value, offset, mask)
        ctx.settings = (groups, offset_scale)
        points = _locate(offset, groups, offset_scale)
        weights = _corner_weights(mask.reshape(-1, POINTS), points.across, points.down)
        out = F.embedding_bag(
            _neighbours(points.row, value.shape[2], groups),
            _table(value, groups),
            mode="sum",
            per_sample_weights=torch.cat(weights, dim=1),
        )
        return out.view(value.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        value, offset, mask = ctx.saved_tensors
        groups, offset_scale = ctx.settings
        points = _locate(offset, groups, offset_scale)
        bag_mask = mask.reshape(-1, POINTS)
        bag_gradient = gradient.reshape(len(bag_mask), -1).contiguous()
        to_value = to_offset = to_mask = None
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            rows = _neighbours(points.row, value.shape[2], groups)
            products = row_products(rows, _table(value, groups), bag_gradient).chunk(4, dim=1)
            to_offset, to_mask = _point_gradients(products, bag_mask, points)
            to_offset = to_offset.mul_(offset_scale).view(offset.shape)
            to_mask = to_mask.view(mask.shape)
            del rows, products
        if ctx.needs_input_grad[0]:
            to_value = _value_gradient(points, bag_mask, bag_gradient, value.shape, groups)
        return to_value, to_offset, to_mask, None, None


def _table(value: Tensor, groups: int) -> Tensor:
    """(B · (H + 2) · (W + 2) · groups, channels) of (B, H, W, groups · channels), zeros around."""
    return F.pad(value, (0, 0, 1, 1, 1, 1)).reshape(-1, value.shape[-1] // groups)


def _locate(offset: Tensor, groups: int, offset_scale: float) -> _Points:
    """The points that ``offset`` (B, H, W, groups · 9 · 2) tells."""
    batch, height, width, _ = offset.shape
    axis = (_numbers(SIDE, offset) - SIDE // 2) * offset_scale
    point_x, point_y = torch.cartesian_prod(axis, axis).unbind(-1)
    home_x = _numbers(width, offset).view(-1, 1, 1) + point_x
    home_y = _numbers(height, offset).view(-1, 1, 1, 1) + point_y
    offset_x, offset_y = offset.unflatten(-1, (groups, POINTS, 2)).unbind(-1)
    column, across, moving_x = _along(
        torch.add(home_x, offset_x, alpha=offset_scale).view(-1, POINTS), width
    )
    line, down, moving_y = _along(
        torch.add(home_y, offset_y, alpha=offset_scale).view(-1, POINTS), height
    )
    row = line.add_(1).mul_(width + 2).add_(column).add_(1).mul_(groups)
    row = row.view(batch, height * width, groups, POINTS).add_(_numbers(groups, row).view(-1, 1))
    image = _numbers(batch, row) * ((height + 2) * (width + 2) * groups)
    row = row.add_(image.view(-1, 1, 1, 1)).view(-1, POINTS)
    return _Points(row, across, down, moving_x, moving_y)


def _along(place: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cells −1…size − 1 (int32) of points on an axis, the parts beyond them, which may move."""
    moving = (place >= -1) & (place < size)
    # what lies further outside is zero as well: it goes to the border of zeros
    place = place.clamp_(-1, size)
    cell = place.floor().clamp_(max=size - 1)
    # a place that is not a number has a part that is none, and still a cell of the table
    return cell.int().clamp_(-1, size - 1), place.sub_(cell), moving


def _numbers(count: int, like: Tensor) -> Tensor:
    """0…count − 1, of the type and on the device of ``like``."""
    return torch.arange(count, dtype=like.dtype, device=like.device)


def _steps(width: int, groups: int) -> tuple[int, int, int, int]:
    """How many rows of the table beyond a point's upper left neighbour the four neighbours are.

    Upper left and right, lower left and right: the order wherever there are four.
    """
    return 0, groups, (width + 2) * groups, (width + 3) * groups


def _neighbours(row: Tensor, width: int, groups: int) -> Tensor:
    """The table's rows (bags, 4 · 9) of all neighbours."""
    steps = torch.tensor(_steps(width, groups), dtype=row.dtype, device=row.device)
    return (row[:, None] + steps[:, None]).flatten(1)


def _corner_weights(
    mask: Tensor, across: Tensor, down: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The weights of the four neighbours of each point, each of the shape of ``mask``."""
    low = mask * down
    high = mask - low
    high_right, low_right = high * across, low * across
    return high.sub_(high_right), high_right, low.sub_(low_right), low_right


def _point_gradients(
    products: tuple[Tensor, ...], mask: Tensor, points: _Points
) -> tuple[Tensor, Tensor]:
    """Gradients of the points' places (bags, 9, 2) and of the mask (bags, 9).

    ``products`` (bags, 9) of the gradient with each of the four neighbours; overwritten.
    """
    above, right, below, both = products
    slope_above, slope_below = right.sub_(above), both.sub_(below)
    above.addcmul_(slope_above, points.across)  # at the point's x
    below.addcmul_(slope_below, points.across)
    slope_y = below.sub_(above)
    slope_x = torch.lerp(slope_above, slope_below, points.down)
    to_mask = torch.addcmul(above, slope_y, points.down)
    slope_x.mul_(mask).mul_(points.moving_x)
    slope_y.mul_(mask).mul_(points.moving_y)
    return torch.stack([slope_x, slope_y], dim=-1), to_mask


def row_products(rows: Tensor, table: Tensor, gradient: Tensor) -> Tensor:
    """The scalar product of each named row of ``table`` with its bag's gradient.

    rows: (bags, k) int32; table: (rows, channels); gradient: (bags, channels). Returns (bags, k).
    """
    # a sparse matrix cannot name more places than it has
    if table.device.type == "cpu" and rows.shape[1] <= len(table):
        return sampled_products(rows, table, gradient)
    return bag_weight_gradient(rows, table, gradient)


def sampled_products(rows: Tensor, table: Tensor, gradient: Tensor) -> Tensor:
    """``row_products`` as a matrix product sampled at sparse places: the fastest on a CPU."""
    _hear_of_sparse_matrices()
    starts = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=rows.dtype)
    pattern = torch.sparse_csr_tensor(
        starts,
        rows.view(-1),
        gradient.new_zeros(rows.numel()),
        (len(rows), len(table)),
        check_invariants=False,  # a row may be named twice, in any order
    )
    torch.sparse.sampled_addmm(pattern, gradient, table.t(), beta=0.0, out=pattern)
    return pattern.values().view(rows.shape)


def bag_weight_gradient(rows: Tensor, table: Tensor, gradient: Tensor) -> Tensor:
    """``row_products`` as torch's own gradient of the weights of a bag: any device."""
    with torch.enable_grad():
        weights = gradient.new_zeros(rows.shape, requires_grad=True)
        bags = F.embedding_bag(rows, table, mode="sum", per_sample_weights=weights)
        return torch.autograd.grad(bags, weights, gradient)[0]


@functools.cache
def _hear_of_sparse_matrices() -> None:
    """Have torch tell here, once and unheard, that its sparse matrices are in beta state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.eye(1).to_sparse_csr()


def _value_gradient(
    points: _Points, mask: Tensor, gradient: Tensor, shape: torch.Size, groups: int
) -> Tensor:
    """The gradient of ``value``: bags the other way round, one for each row of the table."""
    batch, height, width, channels = shape
    rows = batch * (height + 2) * (width + 2) * groups
    row, order = points.row.view(-1).sort()
    counts = torch.bincount(row, minlength=rows)
    starts = (counts.cumsum(0) - counts).int()
    bag = order.div(POINTS, rounding_mode="floor").int()
    weights = _corner_weights(
        *(part.reshape(-1).index_select(0, order) for part in (mask, points.across, points.down))
    )
    del row, order, counts
    total = gradient.new_zeros(rows, gradient.shape[1])
    for step, weight in zip(_steps(width, groups), weights, strict=True):
        part = F.embedding_bag(bag, gradient, starts, mode="sum", per_sample_weights=weight)
        total[step:] += part[: rows - step]
    padded = total.view(batch, height + 2, width + 2, channels)
    return padded[:, 1:-1, 1:-1].contiguous()
