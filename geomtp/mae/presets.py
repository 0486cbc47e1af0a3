"""Masked autoencoders by the name of the encoder that they pretrain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from geomtp.mae.autoencoder import MaskedAutoencoder
from geomtp.types import SizeHW


@dataclass(frozen=True)
class ViTSize:
    """Width, blocks and attention heads of a plain ViT."""

    width: int
    depth: int
    num_heads: int


MAE_SIZES = {
    "vit_t_rvsa": ViTSize(192, 12, 3),  # ours: tests, demonstrations, small machines
    "vit_s_rvsa": ViTSize(384, 12, 6),  # ours: one small GPU
    "vit_b_rvsa": ViTSize(768, 12, 12),  # 112 M parameters, the paper's ViT-B
    "vit_l_rvsa": ViTSize(1024, 24, 16),  # 330 M parameters, the paper's ViT-L
}
"""The encoder that starts from each autoencoder, and the size of both."""


def create_mae(
    encoder: str, *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """The masked autoencoder that pretrains ``encoder``; ``options`` of MaskedAutoencoder.

    Raises ValueError for an encoder that is none of ``MAE_SIZES``.
    """
    if encoder not in MAE_SIZES:
        raise ValueError(
            f"masked autoencoding pretrains {', '.join(MAE_SIZES)}; {encoder!r} is none of them"
        )
    size = MAE_SIZES[encoder]
    return MaskedAutoencoder(
        image_size=image_size,
        in_channels=in_channels,
        width=size.width,
        depth=size.depth,
        num_heads=size.num_heads,
        **options,
    )
