"""ONNX files of ours, run by onnxruntime with the interface of a model."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from geomtp.decoders.decoder import maps_of_images
from geomtp.inference.graphs.graph_facts import ENTRY, GraphFacts
from geomtp.model import ModelConfig, SourceConfig
from geomtp.types import Predictions, SizeHW

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""What onnxruntime calls a device."""


def load_onnx(path: str | Path, device: str = "cpu") -> OnnxModel:
    """The model in the ONNX file at ``path``, to predict with.

    - device: cpu, with as many threads as torch has, or cuda

    Raises FileNotFoundError, or ValueError in one sentence when the file is damaged, not one of
    ours, or gives no predictions (an encoder alone, the raw outputs of a detector).
    """
    session = open_session(path, device)
    facts = facts_of(session, path)
    if not facts.tasks:
        raise ValueError(f"{path} holds an encoder alone: it gives features, no predictions")
    if facts.raw_tasks:
        names = ", ".join(facts.raw_tasks)
        raise ValueError(
            f"{path} gives raw outputs for {names}, no boxes: predict with the checkpoint that it "
            f"was made of"
        )
    return OnnxModel(session, facts)


def open_session(path: str | Path, device: str = "cpu") -> Any:
    """Onnxruntime's session of a file. Raises as ``load_onnx``."""
    runtime = required("onnxruntime")
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no graph at {path}: the file does not exist")
    kind = device.partition(":")[0]
    if PROVIDERS.get(kind) not in runtime.get_available_providers():
        raise ValueError(f"this onnxruntime cannot compute on device {device!r}; try cpu")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # see decision 4
    options.log_severity_level = 4  # what is wrong is raised
    try:
        return runtime.InferenceSession(path, options, providers=[PROVIDERS[kind]])
    except Exception as error:  # it raises many kinds
        first = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is not a whole ONNX file ({first}): it was cut short, damaged or is of "
            f"another kind"
        ) from None


def facts_of(session: Any, path: str | Path) -> GraphFacts:
    """What the file says of itself. Raises ValueError when it was not written by geomtp."""
    entries = session.get_modelmeta().custom_metadata_map
    if ENTRY not in entries:
        raise ValueError(
            f"{path} was not written by geomtp: it does not say which classes and images it is for"
        )
    try:
        facts = GraphFacts.from_json(entries[ENTRY])
    except ValueError as error:
        raise ValueError(f"{path} cannot be used: {error}") from None
    given = [output.name for output in session.get_outputs()]
    if given != list(facts.outputs):
        raise ValueError(f"{path} cannot be used: its outputs are not those it tells of")
    return facts


def required(package: str) -> Any:
    """The module of an optional package. Raises ValueError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ValueError(
            f"ONNX needs the package {package} ({error}): pip install 'geomtp[onnx]'"
        ) from None


class OnnxModel:
    """A graph with the interface of ``MultiTaskModel``, as far as predicting goes.

    Images are wanted normalised, as there; a graph that normalises itself gets them as they were.

    - config: of a model with one source
    """

    device = torch.device("cpu")
    """Where images are wanted, wherever it computes."""

    def __init__(self, session: Any, facts: GraphFacts) -> None:
        assert facts.source is not None
        assert facts.classes is not None
        self.facts = facts
        self._session = session
        self._source = facts.source
        mean = facts.mean or (0.0,) * facts.in_channels
        std = facts.std or (1.0,) * facts.in_channels
        self._mean, self._std = (torch.tensor(part)[:, None, None] for part in (mean, std))
        source = SourceConfig(facts.classes, facts.tasks, mean, std)
        self.config = ModelConfig(
            encoder=facts.encoder,
            image_size=facts.image_size_hw[0],
            sources={facts.source: source},
            in_channels=facts.in_channels,
        )

    def tasks_of(self, source: str) -> list[str]:
        """The tasks of the graph. Raises ValueError for another source."""
        if source != self._source:
            raise ValueError(f"the graph knows no source {source!r}; known: {self._source}")
        return list(self.facts.tasks)

    def predict(
        self,
        images: Tensor,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
        images_after: Tensor | None = None,
    ) -> list[Predictions]:
        """As ``MultiTaskModel.predict``, for normalised images (B, C, H, W) on the CPU.

        Images smaller than the graph's are padded. Raises ValueError for larger ones, other
        channels, a second date too many or missing, and where the class of a whole image is asked
        of one that would be padded.
        """
        tasks = self.tasks_of(source)
        size_hw = self._checked_size(images, image_sizes_hw, tasks)
        dates = [images, *([] if images_after is None else [images_after])]
        inputs = [entry.name for entry in self._session.get_inputs()]
        if "change" not in tasks:
            dates = dates[:1]
        elif len(dates) < 2:
            raise ValueError(f"the images of {source} need those of a second date to show change")
        feed = {
            name: self._as_taken(date, size_hw, later=number == 1).numpy()
            for number, (name, date) in enumerate(zip(inputs, dates, strict=True))
        }
        said = zip(self.facts.outputs, self._run(feed), strict=True)
        parts: dict[str, Sequence[Tensor]] = {}
        for name, array in said:
            logits = torch.from_numpy(array)
            if name == "scene_logits":
                parts[name] = logits.unbind()
            else:
                parts[name] = maps_of_images(logits, size_hw, image_sizes_hw, output_sizes_hw)
        return [
            Predictions(**{name: logits[index] for name, logits in parts.items()})
            for index in range(len(images))
        ]

    def _run(self, feed: dict[str, Any]) -> list[Any]:
        try:
            arrays: list[Any] = self._session.run(None, feed)
        except Exception as error:  # it raises many kinds
            first = str(error).splitlines()[0]
            raise ValueError(f"the graph cannot be run on these images ({first})") from None
        return arrays

    def _checked_size(
        self, images: Tensor, image_sizes_hw: Sequence[SizeHW], tasks: list[str]
    ) -> SizeHW:
        """The size that images are padded to."""
        if images.shape[1] != self.facts.in_channels:
            raise ValueError(
                f"the graph takes images of {self.facts.in_channels} channels, "
                f"found {images.shape[1]}"
            )
        size_hw = self.facts.size_for((images.shape[-2], images.shape[-1]))
        if "scene" in tasks and any(tuple(own) != size_hw for own in image_sizes_hw):
            height, width = size_hw
            raise ValueError(
                f"the class of a whole image is told of images without padding, here of "
                f"{width} × {height} px: resize them, or predict with the checkpoint"
            )
        return size_hw

    def _as_taken(self, images: Tensor, size_hw: SizeHW, *, later: bool) -> Tensor:
        """(B, C, *size_hw), padded right and below, and as they were where the graph normalises.

        ``later``: of the second date, whose padding must be the mean in the light of the first.
        """
        height, width = images.shape[-2:]
        padded = images.new_zeros((*images.shape[:2], *size_hw), dtype=torch.float32)
        if later and self.facts.padding_after is not None:
            padded += torch.tensor(self.facts.padding_after)[:, None, None]
        padded[..., :height, :width] = images
        if self.facts.normalises:
            padded = padded * self._std + self._mean
        return padded
