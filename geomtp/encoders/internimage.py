"""InternImage: a convolutional encoder whose blocks sample where they choose to (DCNv3).

Source: Wang et al. 2022, InternImage (arXiv 2211.05778). Without the variants of its largest models
(H and G).
"""

from __future__ import annotations

import itertools
import re

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from geomtp.encoders.dcnv3 import DCNv3
from geomtp.encoders.encoder import Encoder, check_channels
from geomtp.encoders.vit_rvsa import ChannelNorm, Mlp, adapt_channels
from geomtp.types import FeaturePyramid

LAYER_NORM_EPS = 1e-6

HEAD_KEYS = (
    "conv_head.0.weight",
    "conv_head.1.0.weight",
    "conv_head.1.0.bias",
    "conv_head.1.0.running_mean",
    "conv_head.1.0.running_var",
    "conv_head.1.0.num_batches_tracked",
    "head.weight",
    "head.bias",
)
"""The classification head of the published files."""


class InternImage(Encoder):
    """Four stages of blocks, each of a deformable convolution and a small perceptron.

    - width: channels of the first stage; each later stage has twice as many as the one before
    - depths, groups: blocks of each stage, and groups of channels of its deformable convolutions
    - offset_scale: factor of the sampled points' places
    - post_norm: norms after the branches of a block; False: before them, and one after each stage
    - layer_scale: start of the learned factor of each branch's channels; None: no such factor
    - drop_path: probability of skipping a branch of the last block; linear from 0 at the first
    - activation_checkpointing: recompute each block in the backward pass, to save memory

    Levels have ``width`` · (1, 2, 4, 8) channels at strides 4, 8, 16, 32. Nothing depends on the
    image size.

    Raises ValueError when there are not four stages, or a width is no multiple of its groups.
    """

    def __init__(
        self,
        *,
        in_channels: int = 3,
        width: int,
        depths: tuple[int, ...],
        groups: tuple[int, ...],
        offset_scale: float = 1.0,
        post_norm: bool = True,
        layer_scale: float | None = 1e-5,
        drop_path: float = 0.0,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        if len(depths) != 4 or len(groups) != 4:
            raise ValueError(f"InternImage has 4 stages, got depths {depths} and groups {groups}")
        self.in_channels = in_channels
        self.depths = depths
        self.strides = (4, 8, 16, 32)
        self.out_channels = tuple(width * 2**stage for stage in range(4))
        self.num_layers = sum(depths)
        self.patch_embed = Stem(in_channels, width)
        rates = [drop_path * i / max(1, self.num_layers - 1) for i in range(self.num_layers)]
        self.levels = nn.ModuleList(
            Stage(
                width=self.out_channels[stage],
                groups=groups[stage],
                offset_scale=offset_scale,
                post_norm=post_norm,
                layer_scale=layer_scale,
                drop_paths=rates[sum(depths[:stage]) : sum(depths[: stage + 1])],
                activation_checkpointing=activation_checkpointing,
                downsample=stage < 3,
            )
            for stage in range(4)
        )

    def forward(self, images: Tensor) -> FeaturePyramid:
        """Levels (B, C_i, ⌈H / stride⌉, ⌈W / stride⌉) of images (B, C, H, W).

        Raises ValueError for another number of channels.
        """
        check_channels(images, self.patch_embed.conv1.in_channels)
        features = self.patch_embed(images)
        levels = []
        for stage in self.levels:
            level, features = stage(features)
            levels.append(level.permute(0, 3, 1, 2))
        return FeaturePyramid(tuple(levels), self.strides)

    def layer_of(self, parameter_name: str) -> int:
        """0 for the stem, 1… for the blocks of all stages, the rest depth + 1.

        What follows the last block of a stage counts as the first block of the next one.
        """
        if parameter_name.startswith("patch_embed."):
            return 0
        match = re.match(r"levels\.(\d)\.(?:blocks\.(\d+)\.)?", parameter_name)
        if match is None:
            return self.num_layers + 1
        before = [0, *itertools.accumulate(self.depths)]
        stage, block = int(match[1]), match[2]
        return 1 + (before[stage + 1] if block is None else before[stage] + int(block))

    def official_keys(self) -> dict[str, str]:
        """Our state-dict keys and the official ones."""
        return {key: _official_key(key) for key in self.state_dict()}

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor``, its stem adapted to our number of input channels."""
        if key == "patch_embed.conv1.weight":
            return adapt_channels(tensor, self.get_parameter(key).shape[1])
        return tensor

    def official_ignored(self) -> dict[str, str]:
        """Official tensors that an encoder has no place for, and why."""
        return dict.fromkeys(HEAD_KEYS, "of the classification head")


class Stem(nn.Module):
    """Two convolutions of stride 2, each with a norm: images to maps of stride 4."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width // 2, 3, stride=2, padding=1)
        self.norm1 = ChannelNorm(width // 2, eps=LAYER_NORM_EPS)
        self.conv2 = nn.Conv2d(width // 2, width, 3, stride=2, padding=1)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, ⌈H / 4⌉, ⌈W / 4⌉, width)."""
        # channels last in memory: what follows works on channels
        images = images.contiguous(memory_format=torch.channels_last)
        half = F.gelu(self.norm1(self.conv1(images)))
        return self.norm2(self.conv2(half).permute(0, 2, 3, 1))


class Stage(nn.Module):
    """Blocks of one resolution, and the step down to the next stage."""

    def __init__(
        self,
        *,
        width: int,
        groups: int,
        offset_scale: float,
        post_norm: bool,
        layer_scale: float | None,
        drop_paths: list[float],
        activation_checkpointing: bool,
        downsample: bool,
    ) -> None:
        super().__init__()
        self.activation_checkpointing = activation_checkpointing
        self.blocks = nn.ModuleList(
            Block(
                width=width,
                groups=groups,
                offset_scale=offset_scale,
                post_norm=post_norm,
                layer_scale=layer_scale,
                drop_path=drop_path,
            )
            for drop_path in drop_paths
        )
        self.norm = None if post_norm else nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.downsample = Downsample(width) if downsample else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, H, W, width) to the same, and to what the next stage reads, if there is one."""
        for block in self.blocks:
            if self.activation_checkpointing and self.training:
                features = checkpoint(block, features, use_reentrant=False)
            else:
                features = block(features)
        if self.norm is not None:
            features = self.norm(features)
        return features, features if self.downsample is None else self.downsample(features)


class Block(nn.Module):
    """A deformable convolution and a perceptron, each added to what it read."""

    def __init__(
        self,
        *,
        width: int,
        groups: int,
        offset_scale: float,
        post_norm: bool,
        layer_scale: float | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.post_norm = post_norm
        self.norm1 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.dcn = DCNv3(width=width, groups=groups, offset_scale=offset_scale)
        self.norm2 = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.mlp = Mlp(width)
        for layer in (self.mlp.fc1, self.mlp.fc2):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.drop_path = StochasticDepth(drop_path, mode="row")
        self.gamma1 = self.gamma2 = None
        if layer_scale is not None:
            self.gamma1 = nn.Parameter(torch.full((width,), layer_scale))
            self.gamma2 = nn.Parameter(torch.full((width,), layer_scale))

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, width) to (B, H, W, width)."""
        features = features + self._branch(features, self.dcn, self.norm1, self.gamma1)
        return features + self._branch(features, self.mlp, self.norm2, self.gamma2)

    def _branch(
        self, features: Tensor, layer: nn.Module, norm: nn.Module, gamma: Tensor | None
    ) -> Tensor:
        out = norm(layer(features)) if self.post_norm else layer(norm(features))
        return self.drop_path(out if gamma is None else gamma * out)


class Downsample(nn.Module):
    """Half the resolution, twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=False)
        self.norm = nn.LayerNorm(2 * width, eps=LAYER_NORM_EPS)

    def forward(self, features: Tensor) -> Tensor:
        """(B, H, W, width) to (B, ⌈H / 2⌉, ⌈W / 2⌉, 2 · width)."""
        return self.norm(self.conv(features.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def _official_key(key: str) -> str:
    """The official name of our key ``key``: layers there count the permutations beside them."""
    key = re.sub(r"^(patch_embed\.norm\d|levels\.\d\.downsample\.norm)\.", r"\1.1.", key)
    key = re.sub(r"^(levels\.\d\.norm|levels\.\d\.blocks\.\d+\.norm\d)\.", r"\1.0.", key)
    return key.replace(".dw_conv.", ".dw_conv.0.").replace(".dw_norm.", ".dw_conv.1.1.")
