"""Encoders by name."""

from __future__ import annotations

from typing import Any

from geomtp.encoders.encoder import Encoder
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.types import SizeHW


def vit_t_rvsa(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> ViTRVSA:
    """5 M parameters, ours: for tests, demonstrations and small machines."""
    return ViTRVSA(
        image_size=image_size,
        in_channels=in_channels,
        width=192,
        depth=12,
        num_heads=3,
        global_every=3,
        out_blocks=(3, 5, 7, 11),
        **options,
    )


def vit_s_rvsa(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> ViTRVSA:
    """22 M parameters, ours: for one small GPU."""
    return ViTRVSA(
        image_size=image_size,
        in_channels=in_channels,
        width=384,
        depth=12,
        num_heads=6,
        global_every=3,
        out_blocks=(3, 5, 7, 11),
        **options,
    )


def vit_b_rvsa(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> ViTRVSA:
    """93 M parameters: the paper's ViT-B + RVSA."""
    return ViTRVSA(
        image_size=image_size,
        in_channels=in_channels,
        width=768,
        depth=12,
        num_heads=12,
        global_every=3,
        out_blocks=(3, 5, 7, 11),
        **options,
    )


def vit_l_rvsa(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> ViTRVSA:
    """317 M parameters: the paper's ViT-L + RVSA."""
    return ViTRVSA(
        image_size=image_size,
        in_channels=in_channels,
        width=1024,
        depth=24,
        num_heads=16,
        global_every=6,
        out_blocks=(7, 11, 15, 23),
        **options,
    )


PRESETS = {
    "vit_t_rvsa": vit_t_rvsa,
    "vit_s_rvsa": vit_s_rvsa,
    "vit_b_rvsa": vit_b_rvsa,
    "vit_l_rvsa": vit_l_rvsa,
}


def create_encoder(
    name: str, *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> Encoder:
    """The encoder of this name.

    Raises ValueError listing the known names.
    """
    if name not in PRESETS:
        raise ValueError(f"unknown encoder {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name](image_size=image_size, in_channels=in_channels, **options)
