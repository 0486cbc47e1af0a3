"""``MultiTaskModel``: what it is built from, building it, and its files."""

from geomtp.model.building import build_model
from geomtp.model.config import DETECTORS, ModelConfig, SourceConfig
from geomtp.model.files import load, save
from geomtp.model.multi_task import SIZE_DIVISOR, MultiTaskModel, loss_weight

__all__ = [
    "DETECTORS",
    "SIZE_DIVISOR",
    "ModelConfig",
    "MultiTaskModel",
    "SourceConfig",
    "build_model",
    "load",
    "loss_weight",
    "save",
]
