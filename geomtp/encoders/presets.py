"""Encoders by name."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.encoders.encoder import Encoder
from geomtp.encoders.internimage import InternImage
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.encoders.weights import load_encoder_weights
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


def internimage_t(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> InternImage:
    """29 M parameters: InternImage-T, whose norms stand before the branches."""
    return InternImage(
        in_channels=in_channels,
        width=64,
        depths=(4, 4, 18, 4),
        groups=(4, 8, 16, 32),
        post_norm=False,
        layer_scale=None,
        **options,
    )


def internimage_s(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> InternImage:
    """49 M parameters: InternImage-S."""
    return InternImage(
        in_channels=in_channels, width=80, depths=(4, 4, 21, 4), groups=(5, 10, 20, 40), **options
    )


def internimage_b(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> InternImage:
    """95 M parameters: InternImage-B."""
    return InternImage(
        in_channels=in_channels, width=112, depths=(4, 4, 21, 4), groups=(7, 14, 28, 56), **options
    )


def internimage_l(*, image_size: int | SizeHW, in_channels: int = 3, **options: Any) -> InternImage:
    """219 M parameters: InternImage-L."""
    return InternImage(
        in_channels=in_channels,
        width=160,
        depths=(5, 5, 22, 5),
        groups=(10, 20, 40, 80),
        offset_scale=2.0,
        **options,
    )


def internimage_xl(
    *, image_size: int | SizeHW, in_channels: int = 3, **options: Any
) -> InternImage:
    """329 M parameters: the paper's InternImage-XL."""
    return InternImage(
        in_channels=in_channels,
        width=192,
        depths=(5, 5, 24, 5),
        groups=(12, 24, 48, 96),
        offset_scale=2.0,
        **options,
    )


PRESETS = {
    "vit_t_rvsa": vit_t_rvsa,
    "vit_s_rvsa": vit_s_rvsa,
    "vit_b_rvsa": vit_b_rvsa,
    "vit_l_rvsa": vit_l_rvsa,
    "internimage_t": internimage_t,
    "internimage_s": internimage_s,
    "internimage_b": internimage_b,
    "internimage_l": internimage_l,
    "internimage_xl": internimage_xl,
}


IMAGENET = "imagenet"


def create_encoder(
    name: str,
    *,
    image_size: int | SizeHW,
    in_channels: int = 3,
    weights: str | Path | None = None,
    **options: Any,
) -> Encoder:
    """The encoder of this name: one of ``PRESETS``, or any model of timm that fits.

    - weights: None for random ones; "imagenet" for those of an installed package
      (``tf_efficientnet_lite0``); else the path of a file, see ``load_encoder_weights``
    - options: of ViTRVSA, InternImage or TimmEncoder

    Raises ValueError for an unknown name, sizes, options or weights that do not fit;
    FileNotFoundError when the weights are not there.
    """
    sides = (image_size,) if isinstance(image_size, int) else image_size
    if min(*sides, in_channels) < 1:
        raise ValueError(
            f"image size and channels of an encoder must be at least 1, found {image_size} and "
            f"{in_channels}"
        )
    file = imagenet_file(name) if weights == IMAGENET else weights
    if name in PRESETS:
        encoder: Encoder = PRESETS[name](image_size=image_size, in_channels=in_channels, **options)
    else:
        encoder = _timm_encoder(name, image_size=image_size, in_channels=in_channels, **options)
    if file is not None:
        load_encoder_weights(encoder, file)
    return encoder


def has_raw_levels(name: str) -> bool:
    """Whether the encoder can give its maps as they are, all of one stride (``pyramid=False``)."""
    return name in PRESETS and name.startswith("vit_")


def _timm_encoder(name: str, **options: Any) -> Encoder:
    # here, because importing timm takes seconds
    from geomtp.encoders.timm_encoder import TimmEncoder
    from geomtp.encoders.timm_models import close_timm_models, is_timm_model

    if not is_timm_model(name):
        ours = difflib.get_close_matches(name, PRESETS, n=2)
        near = [*ours, *close_timm_models(name)]
        hint = f"near it: {', '.join(near)}" if near else "timm has no model of a name near it"
        raise ValueError(
            f"unknown encoder {name!r}; known: {', '.join(PRESETS)} and the models of timm; {hint}"
        )
    return TimmEncoder(model=name, **options)
