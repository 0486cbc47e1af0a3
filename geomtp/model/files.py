"""Models in files: weights as safetensors, and beside them what the model is built from."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from geomtp.checkpoints import read_weights, save_weights
from geomtp.model.building import build_model
from geomtp.model.config import ModelConfig
from geomtp.model.multi_task import MultiTaskModel


def save(model: MultiTaskModel, path: str | Path) -> None:
    """Write ``model`` to ``path`` (.safetensors) and its description beside it (.json).

    Raises ValueError when the model was not built from a ModelConfig, OSError when the disk is
    full: the previous file then stays as it was.
    """
    if model.config is None:
        raise ValueError("only a model made by build_model can be saved: it has no config")
    save_weights(model.state_dict(), path, {"kind": "model", "model": model.config.to_json()})


def load(path: str | Path) -> MultiTaskModel:
    """The model that ``save`` wrote to ``path``, in evaluation mode.

    Raises FileNotFoundError, or ValueError when the file holds something else.
    """
    weights, info = read_weights(path)
    if info.get("kind") != "model":
        kind = info.get("kind", "unknown")
        raise ValueError(f"{path} holds no whole model (kind: {kind}); load it as weights instead")
    try:
        model = build_model(_all_in_the_file(ModelConfig.from_json(info["model"])))
        model.load_state_dict(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:  # of a stranger's JSON
        raise ValueError(
            f"{path} describes a model that this geomtp cannot build ({str(error)[:200]}); was it "
            f"written by a newer one?"
        ) from error
    return model.eval()


def _all_in_the_file(config: ModelConfig) -> ModelConfig:
    """``config`` without the download of weights that the file holds anyway."""
    options = {name: v for name, v in config.encoder_options.items() if name != "download"}
    return dataclasses.replace(config, encoder_options=options)
