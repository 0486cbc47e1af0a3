"""What looks at windows: a model as it speaks of one of its sources."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from geomtp.devices import computing_device
from geomtp.inference.predict_config import Predict
from geomtp.model import ModelConfig, MultiTaskModel, SourceConfig, load
from geomtp.types import ClassMap, Predictions, SizeHW


class PredictsImages(Protocol):
    """A ``MultiTaskModel``, or what has the same interface, as far as predicting goes."""

    @property
    def config(self) -> ModelConfig | None:
        """What it was built from."""

    def tasks_of(self, source: str) -> list[str]:
        """The tasks that know ``source``."""

    def predict(
        self,
        images: Tensor,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
        images_after: Tensor | None = None,
    ) -> list[Predictions]:
        """Predictions of all tasks of ``source`` for normalised images (B, C, H, W)."""


@dataclass(frozen=True)
class WindowModel:
    """A model in evaluation mode, as it speaks of one of its sources.

    - device: where its images are wanted
    - precision: the numbers that it computes with

    Raises ValueError for a source that the model does not know.
    """

    model: PredictsImages
    source: str
    device: torch.device
    precision: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        self.model.tasks_of(self.source)

    @property
    def _source(self) -> SourceConfig:
        if self.model.config is None:
            raise ValueError("only a model made by build_model can be used: it has no config")
        return self.model.config.sources[self.source]

    @property
    def classes(self) -> ClassMap:
        """Those of the source."""
        return self._source.classes

    @property
    def tasks(self) -> list[str]:
        """Those that know the source."""
        return self.model.tasks_of(self.source)

    @property
    def image_size(self) -> int:
        """The side of the images that it was made for."""
        return 0 if self.model.config is None else self.model.config.image_size

    @property
    def dates(self) -> int:
        """How many images of each place it needs."""
        return 2 if "change" in self.tasks else 1

    @property
    def mean(self) -> tuple[float, ...]:
        """Per band, in the units of the image files."""
        return self._source.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per band, in the units of the image files."""
        return self._source.std

    @torch.inference_mode()
    def __call__(self, images: Tensor, images_after: Tensor | None) -> list[Predictions]:
        """Of normalised windows (B, C, h, w), in their pixels, on the model's device."""
        sizes = [(images.shape[2], images.shape[3])] * len(images)
        after = None if images_after is None else images_after.to(self.device, non_blocking=True)
        half = self.precision != torch.float32
        with torch.autocast(self.device.type, self.precision) if half else contextlib.nullcontext():
            return self.model.predict(
                images.to(self.device, non_blocking=True), sizes, self.source, None, after
            )


def source_of(model: PredictsImages, wanted: str | None) -> str:
    """The source of ``model`` whose classes are meant.

    Raises ValueError where several might be, or the one that is named is unknown.
    """
    known = list(model.config.sources) if model.config else []
    if wanted is None and len(known) > 1:
        raise ValueError(
            f"the model knows {', '.join(known)}: say by --classes-of whose classes are meant"
        )
    if wanted is not None and wanted not in known:
        raise ValueError(f"the model knows no source {wanted!r}; known: {', '.join(known)}")
    return wanted or known[0]


def open_model(config: Predict, rank: int = 0) -> WindowModel:
    """The model of ``config`` on its device; an ONNX file where the name ends in .onnx.

    Raises FileNotFoundError or ValueError for what is no model, or a device that is not there.
    """
    device = computing_device(config.device, rank)
    if Path(config.checkpoint).suffix == ".onnx":
        from geomtp.inference.graphs.onnx_models import load_onnx

        graph = load_onnx(config.checkpoint, device.type)
        return WindowModel(graph, source_of(graph, config.classes_of), graph.device)
    model: MultiTaskModel = load(config.checkpoint).to(device)
    if config.compile:
        _require_compiler(device)
        model.encoder.compile()
    precision = torch.bfloat16 if config.precision == "bf16" else torch.float32
    return WindowModel(model, source_of(model, config.classes_of), device, precision)


def _require_compiler(device: torch.device) -> None:
    """Raise ValueError where torch.compile would break down for lack of a C++ compiler."""
    known = (os.environ.get("CXX", ""), "g++", "clang++", "cl")
    if device.type == "cpu" and not any(shutil.which(name) for name in known if name):
        raise ValueError(
            "--compile on a CPU needs a C++ compiler (g++, clang++, or one that CXX names): "
            "install one, or leave out --compile"
        )
