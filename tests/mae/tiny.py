"""A masked autoencoder small enough for tests."""

import torch

from geomtp.mae import MaskedAutoencoder, mask_by_noise


def tiny_mae(image_size=(48, 32), in_channels=3, **options):
    torch.manual_seed(0)
    settings = {
        "width": 16,
        "depth": 3,
        "num_heads": 2,
        "decoder_width": 8,
        "decoder_depth": 2,
        "decoder_heads": 2,
    }
    return MaskedAutoencoder(
        image_size=image_size, in_channels=in_channels, **{**settings, **options}
    )


def masking_of(model, batch, mask_ratio=0.75, seed=0):
    noise = torch.rand(batch, model.patch_count, generator=torch.Generator().manual_seed(seed))
    return mask_by_noise(noise, mask_ratio)
