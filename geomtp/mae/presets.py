"""Masked autoencoders by the name of the encoder that they pretrain."""

from __future__ import annotations

from typing import Any

from geomtp.mae.autoencoder import MaskedAutoencoder
from geomtp.types import SizeHW


def mae_vit_t(
    *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """For ``vit_t_rvsa``, ours: tests, demonstrations, small machines."""
    return MaskedAutoencoder(
        image_size=image_size,
        in_channels=in_channels,
        width=192,
        depth=12,
        num_heads=3,
        **options,
    )


def mae_vit_s(
    *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """For ``vit_s_rvsa``, ours: one small GPU."""
    return MaskedAutoencoder(
        image_size=image_size,
        in_channels=in_channels,
        width=384,
        depth=12,
        num_heads=6,
        **options,
    )


def mae_vit_b(
    *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """For ``vit_b_rvsa``: 112 M parameters, the paper's ViT-B."""
    return MaskedAutoencoder(
        image_size=image_size,
        in_channels=in_channels,
        width=768,
        depth=12,
        num_heads=12,
        **options,
    )


def mae_vit_l(
    *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """For ``vit_l_rvsa``: 330 M parameters, the paper's ViT-L."""
    return MaskedAutoencoder(
        image_size=image_size,
        in_channels=in_channels,
        width=1024,
        depth=24,
        num_heads=16,
        **options,
    )


MAE_PRESETS = {
    "vit_t_rvsa": mae_vit_t,
    "vit_s_rvsa": mae_vit_s,
    "vit_b_rvsa": mae_vit_b,
    "vit_l_rvsa": mae_vit_l,
}


MAE_WIDTHS = {
    (192, 12): "vit_t_rvsa",
    (384, 12): "vit_s_rvsa",
    (768, 12): "vit_b_rvsa",
    (1024, 24): "vit_l_rvsa",
}
"""(width, blocks) of each preset: what a file of weights tells of it."""


def create_mae(
    encoder: str, *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> MaskedAutoencoder:
    """The masked autoencoder that pretrains ``encoder``; ``options`` of MaskedAutoencoder.

    Raises ValueError for an encoder that is none of ``MAE_PRESETS``.
    """
    if encoder not in MAE_PRESETS:
        raise ValueError(
            f"masked autoencoding pretrains {', '.join(MAE_PRESETS)}; {encoder!r} is none of them"
        )
    return MAE_PRESETS[encoder](image_size=image_size, in_channels=in_channels, **options)
