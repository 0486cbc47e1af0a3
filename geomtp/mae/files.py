"""Masked autoencoders in files: ours, with all that is needed to build them, and official ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from geomtp.checkpoints import (
    ImportReport,
    import_official,
    read_foreign,
    read_weights,
    save_weights,
)
from geomtp.encoders.vit_rvsa import PATCH_PX
from geomtp.mae.autoencoder import MaskedAutoencoder
from geomtp.mae.presets import MAE_SIZES, create_mae

KIND = "mae"
"""Kind of a file of ours that holds a whole masked autoencoder."""

ENCODER_KIND = "mae_encoder"
"""Kind of a file of ours that holds the plain ViT of one."""


@dataclass(frozen=True)
class MaeConfig:
    """All that is needed to build a masked autoencoder again; stored beside its weights.

    - encoder: one of ``MAE_SIZES``
    - mean, std: per channel, how training normalised the images, in the units of their files;
      None where nobody said
    """

    encoder: str
    image_size: int
    in_channels: int = 3
    decoder_width: int = 512
    decoder_depth: int = 8
    decoder_heads: int = 16
    norm_pixels: bool = True
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def build(self, *, activation_checkpointing: bool = False) -> MaskedAutoencoder:
        """A new masked autoencoder. Raises ValueError for settings that do not go together."""
        return create_mae(
            self.encoder,
            image_size=self.image_size,
            in_channels=self.in_channels,
            decoder_width=self.decoder_width,
            decoder_depth=self.decoder_depth,
            decoder_heads=self.decoder_heads,
            norm_pixels=self.norm_pixels,
            activation_checkpointing=activation_checkpointing,
        )

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> MaeConfig:
        """The settings that stand in a file of ours."""
        lists = {n: tuple(values[n]) for n in ("mean", "std") if values[n] is not None}
        return MaeConfig(**{**values, **lists})

    @staticmethod
    def of_official(tensors: Mapping[str, Tensor], decoder_heads: int = 16) -> MaeConfig:
        """What official weights were made with, read from their shapes.

        The number of the decoder's heads leaves no trace; all released ones have 16.

        Raises ValueError when these are no weights of a whole masked autoencoder of a known width.
        """
        needed = ("pos_embed", "patch_embed.proj.weight", "decoder_embed.weight")
        if absent := [key for key in needed if key not in tensors]:
            raise ValueError(
                f"these are not the weights of a whole masked autoencoder: {', '.join(absent)} "
                f"missing; an encoder alone is imported by --encoder NAME"
            )
        width, in_channels = tensors["patch_embed.proj.weight"].shape[:2]
        depth = _block_count(tensors, "blocks.")
        names = {(size.width, size.depth): name for name, size in MAE_SIZES.items()}
        encoder = names.get((width, depth))
        if encoder is None:
            known = ", ".join(f"{w} wide with {d} blocks" for w, d in names)
            raise ValueError(
                f"a masked autoencoder {width} wide with {depth} blocks is none of ours: {known}"
            )
        return MaeConfig(
            encoder=encoder,
            image_size=math.isqrt(tensors["pos_embed"].shape[1] - 1) * PATCH_PX,
            in_channels=in_channels,
            decoder_width=tensors["decoder_embed.weight"].shape[0],
            decoder_depth=_block_count(tensors, "decoder_blocks."),
            decoder_heads=decoder_heads,
        )


def _block_count(tensors: Mapping[str, Tensor], prefix: str) -> int:
    return len({key.split(".")[1] for key in tensors if key.startswith(prefix)})


def save_mae(model: MaskedAutoencoder, config: MaeConfig, path: str | Path) -> None:
    """Write a whole masked autoencoder to ``path`` (.safetensors). Raises as ``save_weights``."""
    save_weights(model.state_dict(), path, {"kind": KIND, "mae": dataclasses.asdict(config)})


def save_mae_encoder(model: MaskedAutoencoder, config: MaeConfig, path: str | Path) -> None:
    """Write the plain ViT alone, from which ViT + RVSA starts. Raises as ``save_weights``."""
    info = {
        "kind": ENCODER_KIND,
        "encoder": config.encoder,
        "image_size": config.image_size,
        "in_channels": config.in_channels,
        "mean": config.mean,
        "std": config.std,
    }
    save_weights(model.encoder_tensors(), path, info)


def load_mae(path: str | Path) -> tuple[MaskedAutoencoder, MaeConfig]:
    """The masked autoencoder that ``save_mae`` wrote, in evaluation mode, and its settings.

    Raises FileNotFoundError, or ValueError when the file holds something else.
    """
    weights, info = read_weights(path)
    if info.get("kind") != KIND:
        kind = info.get("kind", "unknown")
        raise ValueError(f"{path} holds no masked autoencoder (kind: {kind})")
    config = MaeConfig.from_json(info["mae"])
    model = config.build()
    model.load_state_dict(weights)
    return model.eval(), config


def load_mae_weights(model: MaskedAutoencoder, path: str | Path) -> ImportReport:
    """Load weights into ``model``: of a masked autoencoder or its ViT alone, ours or official.

    Tables of positions are fitted to the image size, first and last layer to the channels. What the
    file lacks (the decoder) keeps its values.

    Raises FileNotFoundError, or ValueError when the file does not fit.
    """
    try:
        tensors, _ = read_weights(path)  # our names are the official ones
    except ValueError:
        tensors = read_foreign(path)
    return import_official(tensors, model)
