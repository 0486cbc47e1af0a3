"""A small masked autoencoding run on drawn images; as a program, for several processes:

python -m tests.training.mae_runs DATA OUT DEVICES BATCH
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from geomtp.training.mae import pretrain_mae
from geomtp.training.mae_config import PretrainMAE


def draw_images(folder: Path, count: int = 6) -> Path:
    """Smooth random pictures in nested folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        y, x = np.mgrid[:48, :48] / rng.uniform(4, 9)
        waves = [np.sin(x + rng.uniform(0, 6)) * np.cos(y + c) for c in range(3)]
        path = folder / "abc"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((127 + 100 * np.stack(waves, axis=2)).astype(np.uint8)).save(path)
    return folder


def small_config(images: Path, out: Path, **changes) -> PretrainMAE:
    settings = {
        "data": (images,),
        "out": out,
        "encoder": "vit_t_rvsa",
        "image_size": 32,
        "mask_ratio": 0.5,
        "decoder_width": 16,
        "decoder_depth": 1,
        "decoder_heads": 2,
        "batch_size": 2,
        "steps": 4,
        "base_learning_rate": 0.05,
        "workers": 0,
        "log_every": 1,
        "pictures": 2,
        "draw_every": 0,
        "accelerator": "cpu",
    }
    return PretrainMAE(**{**settings, **changes})


def main() -> None:
    data, out, devices, batch = sys.argv[1:]
    pretrain_mae(
        small_config(Path(data), Path(out), devices=int(devices), batch_size=int(batch), steps=1)
    )


if __name__ == "__main__":
    main()
