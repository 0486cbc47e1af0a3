"""What the run that made a checkpoint was set to, read from beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def settings_of_training(checkpoint: Path) -> dict[str, Any]:
    """The settings of the run that a checkpoint lies in; empty where there are none.

    An ONNX file says itself what it takes, and may lie anywhere.
    """
    path = checkpoint.parent / "config.yaml"
    if checkpoint.suffix == ".onnx" or not path.is_file():
        return {}
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    return settings if isinstance(settings, dict) else {}


def trained_size_px(settings: dict[str, Any]) -> int | None:
    """The side that images were fitted into in validation; None for their own size."""
    if settings.get("evaluation_size") is not None:
        return int(settings["evaluation_size"])
    if "task" not in settings or settings.get("resize_relative_to") == "image":
        return None
    return int(settings["image_size"])
