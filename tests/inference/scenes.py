"""Scenes on disk, and predictions of them by models of a few lines."""

from pathlib import Path

import numpy as np
import rasterio
import torch
from affine import Affine

from geomtp.inference import predict as module
from geomtp.inference.predict_config import Predict
from geomtp.inference.windows.window_model import WindowModel
from geomtp.rasters.reading import quiet

UTM = {"crs": "EPSG:32632", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}


def write_scene(path, pixels, **profile):
    """(H, W) or (C, H, W) as a tiled GeoTIFF."""
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    count, height, width = pixels.shape
    with (
        quiet(),
        rasterio.open(
            path,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=count,
            **{"dtype": pixels.dtype, "tiled": True, "blockxsize": 64, "blockysize": 64, **profile},
        ) as file,
    ):
        file.write(pixels)
    return path


def noise(height, width, seed=0):
    """Smooth patches of light and dark, so that all values of a map occur: (H, W) uint8."""
    rough = np.random.default_rng(seed).uniform(0, 255, (height // 8 + 2, width // 8 + 2))
    return np.kron(rough, np.ones((8, 8)))[:height, :width].astype(np.uint8)


def predicted(monkeypatch, model, out, *paths, **settings):
    """The results of ``geomtp predict`` with ``model`` in place of a checkpoint's."""
    checkpoint = Path(out).with_suffix(".safetensors")
    checkpoint.touch()
    stand_in = WindowModel(model, "made", torch.device("cpu"))
    monkeypatch.setattr(module, "open_model", lambda config, rank=0: stand_in)
    config = Predict(
        checkpoint=checkpoint, images=tuple(map(str, paths)), out=Path(out), **settings
    )
    return module.predict_scenes(config, say=lambda text: None)


def values_of(path):
    """The first band of a map."""
    with quiet(), rasterio.open(path) as file:
        return file.read(1)
