"""ViT + RVSA: a plain vision transformer whose blocks attend in rotated, varied-size windows.

Sources: Wang et al. 2022, RVSA (arXiv 2208.03987); Wang et al. 2024, MTP (arXiv 2403.13430).
"""

from __future__ import annotations

import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from geomtp.checkpoints import resize_position_table, resize_relative_table
from geomtp.encoders.attention import (
    GlobalAttention,
    RotatedVariedSizeWindowAttention,
    depth_scaled_,
)
from geomtp.encoders.encoder import Encoder, check_channels, pad_to_multiple
from geomtp.layers import Linear, recomputed
from geomtp.types import FeaturePyramid, SizeHW

PATCH_PX = 16
LAYER_NORM_EPS = 1e-6


class ViTRVSA(Encoder):
    """A vision transformer: RVSA windows in most blocks, global attention in every few.

    - image_size: side (or height and width) of the images that the position tables are made for;
      other sizes work too, the tables are then interpolated
    - global_every: blocks number global_every, 2·global_every, … attend globally
    - out_blocks: the blocks (from 0) whose outputs make the four levels
    - drop_path: probability of skipping a branch of the last block; linear from 0 at the first
    - pyramid: True gives strides 4, 8, 16, 32; False the raw maps, all of stride 16
    - global_rel_pos: False leaves out the relative positions of global attention, as the released
      detectors do
    - activation_checkpointing: recompute each block in the backward pass, to save memory

    Raises ValueError when the width is no multiple of the number of heads, or a block of
    ``out_blocks`` does not exist.
    """

    def __init__(
        self,
        *,
        image_size: int | SizeHW,
        in_channels: int = 3,
        width: int,
        depth: int,
        num_heads: int,
        global_every: int,
        out_blocks: tuple[int, ...],
        drop_path: float = 0.0,
        pyramid: bool = True,
        global_rel_pos: bool = True,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if width % num_heads:
            raise ValueError(f"width {width} must be a multiple of num_heads {num_heads}")
        if len(out_blocks) != 4 or max(out_blocks) >= depth:
            raise ValueError(f"out_blocks must name 4 of the blocks 0…{depth - 1}: {out_blocks}")
        size_hw = (image_size, image_size) if isinstance(image_size, int) else image_size
        self.in_channels = in_channels
        self.grid_hw = (-(-size_hw[0] // PATCH_PX), -(-size_hw[1] // PATCH_PX))
        self.out_blocks = out_blocks
        self.out_channels = (width,) * 4
        self.num_layers = depth
        self.activation_checkpointing = activation_checkpointing
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(in_channels, width, PATCH_PX, PATCH_PX)}
        )
        position = torch.empty(1, self.grid_hw[0] * self.grid_hw[1], width)
        self.pos_embed = nn.Parameter(nn.init.trunc_normal_(position, std=0.02))
        self._global_rel_pos = global_rel_pos
        self._global = [i for i in range(depth) if (i + 1) % global_every == 0]
        rates = [drop_path * index / max(1, depth - 1) for index in range(depth)]
        blocks = [
            Block(
                attention=GlobalAttention(
                    width=width, num_heads=num_heads, grid_hw=self.grid_hw, rel_pos=global_rel_pos
                )
                if index in self._global
                else RotatedVariedSizeWindowAttention(width=width, num_heads=num_heads),
                width=width,
                drop_path=rate,
            )
            for index, rate in enumerate(rates)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.norm = UnusedNorm(width)
        self.pyramid = ViTPyramid(width) if pyramid else None
        self.strides = (4, 8, 16, 32) if pyramid else (PATCH_PX,) * 4
        self._initialise(blocks)

    def _initialise(self, blocks: list[Block]) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            for index, block in enumerate(blocks):
                depth_scaled_(block.attn.proj.weight, index)
                depth_scaled_(block.mlp.fc2.weight, index)

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Levels (B, width, H_i, W_i) of images (B, C, H, W), padded to multiples of 16 px.

        Raises ValueError for another number of channels.
        """
        check_channels(images, self.in_channels)
        images = pad_to_multiple(images, PATCH_PX)
        tokens = self.patch_embed["proj"](images).permute(0, 2, 3, 1)
        tokens = tokens + self._positions((tokens.shape[1], tokens.shape[2])).to(tokens)
        kept = {}
        for index, block in enumerate(self.blocks):
            if self.activation_checkpointing and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
            if index in self.out_blocks:
                kept[index] = tokens.permute(0, 3, 1, 2)
        levels = tuple(kept[index] for index in self.out_blocks)
        return FeaturePyramid(self.pyramid(levels) if self.pyramid else levels, self.strides)

    def _positions(self, grid_hw: SizeHW) -> Tensor:
        """The position embedding (1, H, W, width) for this grid."""
        return resize_positions(self.pos_embed, self.grid_hw, grid_hw)

    def layer_of(self, parameter_name: str) -> int:
        """0 for the stem, k + 1 for block k, depth + 1 for the rest."""
        if parameter_name.startswith(("pos_embed", "patch_embed")):
            return 0
        if match := re.match(r"blocks\.(\d+)\.", parameter_name):
            return int(match[1]) + 1
        return self.num_layers + 1

    def official_keys(self) -> dict[str, str]:
        """Our state-dict keys and the official ones."""
        return {key: _official_key(key) for key in self.state_dict()}

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor``, resized where it is a position table made for another image size."""
        if key == "pos_embed" and tensor.shape != self.pos_embed.shape:
            return resize_position_table(tensor, self.grid_hw)
        if ".full_attn_rel_pos_" in key:
            return resize_relative_table(tensor, len(self.get_parameter(key)))
        if key == "patch_embed.proj.weight":
            return adapt_channels(tensor, self.get_parameter(key).shape[1])
        return tensor

    def official_ignored(self) -> dict[str, str]:
        """Official tensors that this variant has no place for, and why."""
        tables = [
            f"blocks.{i}.attn.full_attn_rel_pos_{axis}" for i in self._global for axis in "hw"
        ]
        ignored: dict[str, str] = {}
        if not self._global_rel_pos:
            ignored |= dict.fromkeys(tables, "built without global relative positions")
        if self.pyramid is None:
            ours = [f"pyramid.{key}" for key in ViTPyramid(1).state_dict()]
            ignored |= {_official_key(key): "built without pyramid" for key in ours}
        return ignored


class Block(nn.Module):
    """A pre-norm transformer block on token maps (B, H, W, D)."""

    def __init__(
        self,
        *,
        attention: GlobalAttention | RotatedVariedSizeWindowAttention,
        width: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width)
        self.drop_path = StochasticDepth(drop_path, mode="row")

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, H, W, D) to (B, H, W, D)."""
        tokens = tokens + self.drop_path(self.attn(self.norm1(tokens)))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between, four times as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = Linear(width, 4 * width)
        self.fc2 = Linear(4 * width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        return recomputed(self._second_half, self.fc1(tokens))

    def _second_half(self, hidden: Tensor) -> Tensor:
        return self.fc2(F.gelu(hidden))


class UnusedNorm(nn.Module):
    """The final norm that official files hold and no forward pass uses.

    Buffers, not parameters: they travel through import and export and are not trained.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of (B, C, H, W)."""

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return super().forward(maps.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ViTPyramid(nn.Module):
    """Four maps of stride 16 to strides 4, 8, 16, 32, each from its own block's output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_stride4 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, 2),
            ChannelNorm(width, eps=LAYER_NORM_EPS),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, 2),
        )
        self.to_stride8 = nn.ConvTranspose2d(width, width, 2, 2)

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Maps (B, D, h, w) to (4h, 4w), (2h, 2w), (h, w), (h // 2, w // 2)."""
        return (
            self.to_stride4(maps[0]),
            self.to_stride8(maps[1]),
            maps[2],
            F.max_pool2d(maps[3], 2, 2, ceil_mode=min(maps[3].shape[-2:]) < 2),
        )


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    """A stem's ``weight`` (D, C, h, w) for another number of input channels.

    The channels are repeated in turn and scaled by C / channels, so that an image whose channels
    are alike gives about the same output; one channel gets the sum of all.
    """
    have = weight.shape[1]
    if have == channels:
        return weight
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = -(-channels // have)
    return weight.repeat(1, repeats, 1, 1)[:, :channels] * (have / channels)


def resize_positions(position: Tensor, old_hw: SizeHW, new_hw: SizeHW) -> Tensor:
    """``position`` (1, L, D) of the grid ``old_hw``, bicubically resized: (1, H, W, D)."""
    image = position.unflatten(1, old_hw)
    if old_hw == new_hw:
        return image
    image = image.permute(0, 3, 1, 2).float()
    image = F.interpolate(image, size=new_hw, mode="bicubic", align_corners=False)
    return image.permute(0, 2, 3, 1).to(position)


def _official_key(key: str) -> str:
    """The official name of our state-dict key ``key``."""
    key = re.sub(r"\.(sampling_\w+)\.", r".\1.2.", key)
    key = key.replace("pyramid.to_stride8.", "fpn2.0.")
    key = key.replace("pyramid.to_stride4.1.", "fpn1.1.ln.")
    return key.replace("pyramid.to_stride4.", "fpn1.")
