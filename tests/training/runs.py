"""A small run on two drawn sources."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from geomtp.data.scenes import EMBEDDED
from geomtp.training.configs import PretrainMTP, SourceRun


def draw_data(folder: Path) -> Path:
    """Label stores of two small drawn sources, as a user would bring them."""
    for name in ("town", "harbour"):
        source = EMBEDDED[f"embedded_{name}"]
        small = dataclasses.replace(source, name=name, train=5, val=2, size_px=64)
        small.build(None, folder / name)
    return folder


def small_config(data: Path, out: Path, **changes) -> PretrainMTP:
    settings = {
        "sources": {"town": SourceRun(), "harbour": SourceRun(tasks=("semantic", "rotated"))},
        "data": data,
        "out": out,
        "encoder": "test_resnet",
        "image_size": 64,
        "resize_relative_to": "image",
        "semantic_channels": 8,
        "detector_channels": 8,
        "fc_channels": 16,
        "proposals": 50,
        "rois": 32,
        "batch_size": 2,
        "steps": 4,
        "learning_rate": 1e-3,
        "drop_path": 0.1,
        "workers": 0,
        "log_every": 1,
        "pictures": 1,
        "accelerator": "cpu",
    }
    return PretrainMTP(**{**settings, **changes})
