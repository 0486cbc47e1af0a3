"""Multi-task pretraining of remote-sensing foundation models.

The names below are loaded when they are first asked for, so that ``import geomtp`` (and the command
line's help) does not wait for torch.
"""

from __future__ import annotations

from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "MultiTaskModel": "geomtp.model",
    "create_encoder": "geomtp.encoders.presets",
    "from_pretrained": "geomtp.hub",
    "load": "geomtp.model",
    "predict": "geomtp.inference.predict_image",
    "push_to_hub": "geomtp.hub",
    "save": "geomtp.model",
}

__all__ = [
    "MultiTaskModel",
    "__version__",
    "create_encoder",
    "from_pretrained",
    "load",
    "predict",
    "push_to_hub",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'geomtp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
