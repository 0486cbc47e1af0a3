"""Four levels of strides 4, 8, 16, 32 from whatever feature maps a model has.

Plain vision transformers: the simple pyramid of ViTDet (Li et al. 2022, arXiv 2203.16527), fed by
four blocks as in ViT + RVSA, or by the last one alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor, nn

from geomtp.encoders.vit_rvsa import LAYER_NORM_EPS, ChannelNorm

STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class LevelPlan:
    """Which of a model's feature maps make the four levels.

    - indices: one map for each level
    - strides: input pixels per cell of these maps, powers of two
    - scale: what images are resized by for the model, so that its maps have these strides: 7/8
      where patches are of 14 px and stand for 16 px of the image
    - plain: all maps of the model are of one size
    """

    indices: tuple[int, ...]
    strides: tuple[int, ...]
    scale: Fraction
    plain: bool


def plan_levels(
    model: str, reductions: Sequence[int], out_blocks: Sequence[int] | None = None
) -> LevelPlan:
    """The levels of a model whose feature maps have these strides, in its order.

    Where a stride is there, its last map is taken; where it is missing, the next coarser map, or
    else the finest of the rest. Of plain models four evenly spread blocks, or ``out_blocks``.

    Raises ValueError when the strides are no doublings of each other, or ``out_blocks`` does not
    name four blocks of a plain model.
    """
    finest = min(reductions)
    scale = Fraction(finest, 2 ** round(math.log2(finest)))
    strides = [reduction / scale for reduction in reductions]
    if any(not _is_power_of_two(stride) for stride in strides):
        listed = ", ".join(map(str, reductions))
        raise ValueError(
            f"{model} cannot be an encoder: its feature maps have strides {listed}, which do not "
            f"double from one to the next, so no pyramid of strides 4, 8, 16, 32 comes of them"
        )
    plain = len(set(reductions)) == 1
    if out_blocks is not None:
        last = len(reductions) - 1
        if not plain or len(out_blocks) != 4 or not all(0 <= b <= last for b in out_blocks):
            kind = f"4 of the blocks 0…{last}" if plain else "nothing: it has levels of its own"
            raise ValueError(f"out_blocks of {model} must name {kind}; found {tuple(out_blocks)}")
        indices = list(out_blocks)
    elif plain:
        indices = [max(0, (level + 1) * len(strides) // 4 - 1) for level in range(4)]
    else:
        indices = [_map_for(stride, strides) for stride in STRIDES]
    return LevelPlan(tuple(indices), tuple(int(strides[i]) for i in indices), scale, plain)


def _is_power_of_two(stride: Fraction) -> bool:
    return stride.denominator == 1 and stride.numerator.bit_count() == 1


def _map_for(stride: int, strides: Sequence[Fraction]) -> int:
    """The map for a level: of that stride, else of the next coarser one, else of the coarsest."""
    coarser = [found for found in strides if found >= stride]
    chosen = min(coarser) if coarser else max(strides)
    return max(index for index, found in enumerate(strides) if found == chosen)


class LevelsOfMaps(nn.Module):
    """Maps of any strides to strides 4, 8, 16, 32: transposed convolutions up, maxima down.

    - channels, strides: of the map for each level

    A map that has its level's stride already is passed on as it is.
    """

    def __init__(self, channels: Sequence[int], strides: Sequence[int]) -> None:
        super().__init__()
        self.to_stride4, self.to_stride8, self.to_stride16, self.to_stride32 = (
            _resampling(width, have, want)
            for width, have, want in zip(channels, strides, STRIDES, strict=True)
        )

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (B, C_i, h_i, w_i) to (B, C_i, H / stride, W / stride)."""
        steps = (self.to_stride4, self.to_stride8, self.to_stride16, self.to_stride32)
        return tuple(step(level) for step, level in zip(steps, maps, strict=True))


def _resampling(width: int, have: int, want: int) -> nn.Module:
    """From stride ``have`` to ``want``."""
    if have <= want:
        return nn.MaxPool2d(want // have) if have < want else nn.Identity()
    steps: list[nn.Module] = [nn.ConvTranspose2d(width, width, 2, 2)]
    if have == 2 * want:
        return steps[0]
    for _ in range((have // want).bit_length() - 2):
        norm = ChannelNorm(width, eps=LAYER_NORM_EPS)
        steps += [norm, nn.GELU(), nn.ConvTranspose2d(width, width, 2, 2)]
    return nn.Sequential(*steps)
