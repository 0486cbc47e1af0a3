"""Files of traced graphs: written with their description, and run as they were written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram

from geomtp.inference.graphs.graph_facts import ENTRY, GraphFacts
from geomtp.inference.graphs.onnx_models import open_session, required

Form = Literal["onnx", "torch_export"]

SUFFIXES: dict[Form, str] = {"onnx": ".onnx", "torch_export": ".pt2"}

INPUTS = ("images", "images_after")

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
"""What writing and checking ONNX takes."""

LARGEST_ONNX_BYTES = 2**31 - 2**24
"""Of weights in one ONNX file: its format counts bytes in 31 bits."""

Run = Callable[[Sequence[Tensor]], dict[str, Tensor]]
"""Images of each date in, the outputs by name."""


def write_onnx(program: ExportedProgram, facts: GraphFacts, path: Path, dates: int) -> Run:
    """Write ``program`` to ``path``; the file, run by onnxruntime.

    Raises ValueError where the weights are too large for one file, or an operator has no form in
    ONNX.
    """
    onnx, *_ = [required(package) for package in PACKAGES]
    size = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if size > LARGEST_ONNX_BYTES:
        raise ValueError(
            f"the weights have {size / 2**30:.1f} GiB and an ONNX file holds less than 2: "
            f"export to torch_export, or the encoder alone"
        )
    try:
        with _quiet():
            made = torch.onnx.export(
                program,
                input_names=INPUTS[:dates],
                output_names=list(facts.outputs),
                dynamic_shapes=({0: "batch"},) * dates,  # for the names of axes alone
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{facts.encoder} has no form in ONNX ({reason})") from error
    assert made is not None
    made.model.metadata_props[ENTRY] = facts.to_json()
    made.model.producer_name = "geomtp"
    onnx.save_model(made.model_proto, str(path))
    session = open_session(path)

    def run(images: Sequence[Tensor]) -> dict[str, Tensor]:
        feed = {name: date.numpy() for name, date in zip(INPUTS, images, strict=False)}
        arrays = session.run(None, feed)
        return {n: torch.from_numpy(a) for n, a in zip(facts.outputs, arrays, strict=True)}

    return run


def write_torch_export(program: ExportedProgram, facts: GraphFacts, path: Path, dates: int) -> Run:
    """Write ``program`` to ``path`` in torch's own form; the file, loaded again."""
    with path.open("wb") as file, _quiet():
        torch.export.save(program, file, extra_files={ENTRY: facts.to_json()})
    with path.open("rb") as written:
        module = torch.export.load(written).module()

    def run(images: Sequence[Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            said: dict[str, Tensor] = module(*images[:dates])
        return said

    return run


WRITERS: dict[Form, Callable[[ExportedProgram, GraphFacts, Path, int], Run]] = {
    "onnx": write_onnx,
    "torch_export": write_torch_export,
}


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notes of the exporters on their own progress."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
