"""Masked autoencoding: the first stage of pretraining, on images without labels."""

from geomtp.mae.autoencoder import MaskedAutoencoder
from geomtp.mae.files import (
    MaeConfig,
    load_mae,
    load_mae_weights,
    save_mae,
    save_mae_encoder,
)
from geomtp.mae.patches import (
    Masking,
    mask_by_noise,
    patchify,
    sin_cos_positions,
    unpatchify,
    visible_count,
)
from geomtp.mae.presets import MAE_SIZES, create_mae

__all__ = [
    "MAE_SIZES",
    "MaeConfig",
    "MaskedAutoencoder",
    "Masking",
    "create_mae",
    "load_mae",
    "load_mae_weights",
    "mask_by_noise",
    "patchify",
    "save_mae",
    "save_mae_encoder",
    "sin_cos_positions",
    "unpatchify",
    "visible_count",
]
