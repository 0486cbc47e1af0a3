"""The masked autoencoder: a plain ViT that sees a quarter of an image and paints the rest.

Source: He et al. 2021, MAE (arXiv 2111.06377). Tensors carry the names of facebookresearch/mae, so
official files and ours differ in nothing but their packing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from geomtp.checkpoints import resize_position_table
from geomtp.encoders.attention import GlobalAttention
from geomtp.encoders.vit_rvsa import LAYER_NORM_EPS, PATCH_PX, Block, adapt_channels
from geomtp.layers import Linear
from geomtp.mae.patches import Masking, patchify, sin_cos_positions, unpatchify
from geomtp.types import SizeHW

OF_DECODER = ("mask_token", "decoder_")
"""How the names of what only reconstruction needs begin."""

TARGET_EPS = 1e-6


class MaskedAutoencoder(nn.Module):
    """An encoder that sees the visible patches only, and a small decoder that paints all of them.

    - image_size: side (or height and width) of the images, a multiple of 16 px
    - norm_pixels: the loss compares patches after each patch's own mean and deviation are taken out
    - activation_checkpointing: recompute each block in the backward pass, to save memory

    Raises ValueError for sizes that do not go together.
    """

    def __init__(
        self,
        *,
        image_size: int | SizeHW,
        in_channels: int = 3,
        width: int,
        depth: int,
        num_heads: int,
        decoder_width: int = 512,
        decoder_depth: int = 8,
        decoder_heads: int = 16,
        norm_pixels: bool = True,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        size_hw = (image_size, image_size) if isinstance(image_size, int) else image_size
        if any(side < 1 or side % PATCH_PX for side in size_hw):
            raise ValueError(
                f"image_size must be a multiple of {PATCH_PX} px for masked autoencoding, "
                f"found {image_size}"
            )
        for name, across, heads in (
            ("width", width, num_heads),
            ("decoder_width", decoder_width, decoder_heads),
        ):
            if across % heads:
                raise ValueError(f"{name} {across} must be a multiple of its {heads} heads")
        self.grid_hw = (size_hw[0] // PATCH_PX, size_hw[1] // PATCH_PX)
        self.in_channels = in_channels
        self.norm_pixels = norm_pixels
        self.activation_checkpointing = activation_checkpointing
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("pos_embed", sin_cos_positions(width, self.grid_hw))
        projection = nn.Conv2d(in_channels, width, PATCH_PX, PATCH_PX)
        nn.init.xavier_uniform_(projection.weight.view(width, -1))  # as of a linear layer
        self.patch_embed = nn.ModuleDict({"proj": projection})
        self.blocks = nn.ModuleList([_block(width, num_heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(width, eps=LAYER_NORM_EPS)
        self.decoder_embed = Linear(width, decoder_width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, decoder_width))
        self.register_buffer("decoder_pos_embed", sin_cos_positions(decoder_width, self.grid_hw))
        self.decoder_blocks = nn.ModuleList(
            [_block(decoder_width, decoder_heads) for _ in range(decoder_depth)]
        )
        self.decoder_norm = nn.LayerNorm(decoder_width, eps=LAYER_NORM_EPS)
        self.decoder_pred = Linear(decoder_width, PATCH_PX**2 * in_channels)
        self.pos_embed: Tensor
        self.decoder_pos_embed: Tensor
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)

    @property
    def patch_count(self) -> int:
        """Patches of an image."""
        return self.grid_hw[0] * self.grid_hw[1]

    def forward(self, images: Tensor, masking: Masking) -> Tensor:
        """What each patch looks like: (B, L, 256 · C), normalised pixels where the loss is so.

        ``images`` (B, C, H, W), normalised, of the size the model is built for. Raises ValueError
        for another size or number of channels.
        """
        return self.decode(self.encode(images, masking), masking)

    def encode(self, images: Tensor, masking: Masking) -> Tensor:
        """Class token and visible patches after the encoder: (B, 1 + V, width)."""
        expected = (self.in_channels, *(side * PATCH_PX for side in self.grid_hw))
        if tuple(images.shape[1:]) != expected:
            raise ValueError(
                f"this masked autoencoder takes images of {expected} (channels, height, width), "
                f"got {tuple(images.shape[1:])}"
            )
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)  # (B, L, width)
        patches = patches + self.pos_embed[:, 1:].to(patches)
        seen = patches.take_along_dim(masking.visible[..., None], dim=1)
        first = (self.cls_token + self.pos_embed[:, :1]).to(seen).expand(len(seen), -1, -1)
        return self.norm(self._through(self.blocks, torch.cat([first, seen], dim=1)))

    def decode(self, latent: Tensor, masking: Masking) -> Tensor:
        """All patches (B, L, 256 · C) from what ``encode`` gave."""
        known = self.decoder_embed(latent)
        hidden = masking.restore.shape[1] - masking.visible.shape[1]
        blank = self.mask_token.to(known).expand(len(known), hidden, -1)
        patches = torch.cat([known[:, 1:], blank], dim=1)
        patches = patches.take_along_dim(masking.restore[..., None], dim=1)  # back in their places
        tokens = torch.cat([known[:, :1], patches], dim=1) + self.decoder_pos_embed.to(known)
        tokens = self.decoder_norm(self._through(self.decoder_blocks, tokens))
        return self.decoder_pred(tokens)[:, 1:]

    def _through(self, blocks: nn.ModuleList, tokens: Tensor) -> Tensor:
        """(B, N, D) through ``blocks``, which take maps: N tokens are a map of one row."""
        tokens = tokens[:, None]
        for block in blocks:
            if self.activation_checkpointing and self.training:
                tokens = checkpoint(block, tokens, use_reentrant=False)
            else:
                tokens = block(tokens)
        return tokens[:, 0]

    def loss(self, images: Tensor, masking: Masking) -> Tensor:
        """Mean squared error of the hidden patches, a scalar."""
        return self.loss_of(self(images, masking), images, masking)

    def loss_of(self, prediction: Tensor, images: Tensor, masking: Masking) -> Tensor:
        """As ``loss``, of a prediction that was made already."""
        target, _, _ = self._targets(images)
        by_patch = (prediction.float() - target.float()).square().mean(dim=-1)
        return (by_patch * masking.hidden).sum() / masking.hidden.sum()

    def reconstruct(self, images: Tensor, masking: Masking) -> Tensor:
        """Images (B, C, H, W) whose hidden patches are painted; visible ones stay as they are.

        Where the loss compares normalised pixels, the true mean and deviation of each patch are put
        back: the picture shows what the model is asked for, structure.
        """
        _, mean, deviation = self._targets(images)
        painted = self(images, masking).to(images) * deviation + mean
        hidden = masking.hidden[..., None].to(images)
        return unpatchify(painted * hidden + patchify(images) * (1 - hidden), self.grid_hw)

    def _targets(self, images: Tensor) -> tuple[Tensor, Tensor | float, Tensor | float]:
        """What is to be predicted, and the mean and deviation by which it was normalised."""
        target = patchify(images)
        if not self.norm_pixels:
            return target, 0.0, 1.0
        mean = target.mean(dim=-1, keepdim=True)
        deviation = (target.var(dim=-1, keepdim=True) + TARGET_EPS).sqrt()
        return (target - mean) / deviation, mean, deviation

    def official_keys(self) -> dict[str, str]:
        """Our names are the official ones."""
        return {key: key for key in self.state_dict()}

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor``, fitted where it was made for another image size or number of channels."""
        table = key in ("pos_embed", "decoder_pos_embed")
        if table and tensor.shape[1] != self.patch_count + 1:
            first, rest = tensor[:, :1], tensor[:, 1:]
            return torch.cat([first, resize_position_table(rest, self.grid_hw)], dim=1)
        if key == "patch_embed.proj.weight":
            return adapt_channels(tensor, self.in_channels)
        if key.startswith("decoder_pred."):
            return _adapt_painted_channels(tensor, self.in_channels)
        return tensor

    def encoder_tensors(self) -> dict[str, Tensor]:
        """The plain ViT: all tensors but those that only reconstruction needs."""
        return {k: t for k, t in self.state_dict().items() if not k.startswith(OF_DECODER)}


def _block(width: int, num_heads: int) -> Block:
    attention = GlobalAttention(width=width, num_heads=num_heads, grid_hw=(1, 1), rel_pos=False)
    return Block(attention=attention, width=width, drop_path=0.0)


def _adapt_painted_channels(tensor: Tensor, channels: int) -> Tensor:
    """The last layer's weight or bias (256 · C, …) for another number of channels.

    The channels are repeated in turn; one channel gets the mean of all.
    """
    by_channel = tensor.unflatten(0, (PATCH_PX**2, -1))
    have = by_channel.shape[1]
    if have == channels:
        return tensor
    if channels == 1:
        return by_channel.mean(dim=1)
    return by_channel[:, torch.arange(channels) % have].flatten(0, 1)
