"""Encoders and models as graphs for other programs: ONNX and ``torch.export``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from geomtp.checkpoints import read_weights, replacing
from geomtp.encoders.presets import create_encoder
from geomtp.inference.graphs.graph_facts import LEAST_SIDE_PX, GraphFacts
from geomtp.inference.graphs.graph_files import PACKAGES, SUFFIXES, WRITERS, Form, Run
from geomtp.inference.graphs.graphs import EncoderGraph, Graph, ModelGraph, Normalisation, in_words
from geomtp.inference.graphs.onnx_models import required
from geomtp.inference.graphs.tracing import example_images, traced, why_one_size
from geomtp.inference.training_settings import settings_of_training, trained_size_px
from geomtp.model import SIZE_DIVISOR, MultiTaskModel, load
from geomtp.types import SizeHW

TOLERANCE = 1e-3
"""How far an output of a written graph may be from the model's own: as a part of that output's
largest value, or of 1 where all are smaller."""

Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class ExportGraph:
    """Settings of an export.

    - checkpoint: a model, or an encoder alone; out: the file to write
    - form: of the file; None: as its suffix says
    - image_size: side of the images that the graph is traced with, in pixels; None: that of its
      run's validation, or else what the model was made for, up to a multiple of 32
    - source: whose classes and normalisation are meant; None: the model's only one
    - encoder_only: of a model, export its encoder
    - normalise: the graph takes pixels as they lie in files, and normalises them
    - any_size: let the graph take images of other sizes too, where its encoder can
    """

    checkpoint: Path
    out: Path
    form: Form | None = None
    image_size: int | None = None
    source: str | None = None
    encoder_only: bool = False
    normalise: bool = True
    any_size: bool = True


def export_graph(config: ExportGraph, say: Say = print) -> GraphFacts:
    """Write a graph, after comparing what the written file says with what the model says.

    Raises ValueError in one sentence where the checkpoint, the settings or the packages do not do,
    or where numbers differ by more than ``TOLERANCE``: then nothing is written.
    """
    form = _form(config)
    graph, facts = _graph(config)
    program, facts = _traced(graph.eval(), facts, config.any_size, say)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(config.out) as part:
        run = WRITERS[form](program, facts, part, graph.dates)
        for line in compared(graph, run, facts):
            say(line)
    return facts


def _form(config: ExportGraph) -> Form:
    """The form that is asked for. Raises ValueError where the suffix is not its own."""
    by_suffix = {suffix: form for form, suffix in SUFFIXES.items()}
    form = config.form or by_suffix.get(config.out.suffix)
    if form is None or config.out.suffix != SUFFIXES[form]:
        wanted = " or ".join(by_suffix) if form is None else f"{SUFFIXES[form]} for {form}"
        raise ValueError(f"a graph goes to a file ending in {wanted}, got {config.out.name}")
    if form == "onnx":
        for package in PACKAGES:
            required(package)
    return form


def _graph(config: ExportGraph) -> tuple[Graph, GraphFacts]:
    """What is to be traced, and what is known of it before."""
    kind, info = _described(config.checkpoint)
    if kind == "encoder":
        return _encoder_graph(config, info)
    model = load(config.checkpoint)
    assert model.config is not None
    source = _source(config.source, model)
    own = model.config.sources[source]
    trained_px = trained_size_px(settings_of_training(config.checkpoint))
    normalisation = Normalisation(*((own.mean, own.std) if config.normalise else (None, None)))
    facts = GraphFacts(
        encoder=model.config.encoder,
        image_size_hw=_size_hw(config.image_size, trained_px or model.config.image_size),
        any_size=False,
        in_channels=model.config.in_channels,
        normalises=config.normalise,
        mean=own.mean,
        std=own.std,
        source=source,
    )
    if config.encoder_only:
        return EncoderGraph(model.encoder, normalisation), facts
    padding = None if own.light is None else own.light.becomes_mean(own.mean, own.std)
    facts = dataclasses.replace(
        facts,
        tasks=tuple(model.tasks_of(source)),
        classes=own.classes,
        padding_after=padding,
    )
    return ModelGraph(model, source, normalisation), facts


def _described(checkpoint: Path) -> tuple[str, dict[str, Any]]:
    """Whether a file holds a model or an encoder, and its description."""
    _, info = read_weights(checkpoint)
    kind = info.get("kind")
    if kind not in ("model", "encoder"):
        raise ValueError(
            f"{checkpoint} holds neither a model nor an encoder of ours (kind: {kind})"
        )
    return kind, info


def _encoder_graph(config: ExportGraph, info: dict[str, Any]) -> tuple[Graph, GraphFacts]:
    if config.source is not None:
        raise ValueError(f"{config.checkpoint} holds an encoder alone, which knows no --source")
    encoder = create_encoder(
        info["encoder"],
        image_size=info["image_size"],
        in_channels=info["in_channels"],
        weights=config.checkpoint,
        **info["encoder_options"],
    )
    facts = GraphFacts(
        encoder=info["encoder"],
        image_size_hw=_size_hw(config.image_size, info["image_size"]),
        any_size=False,
        in_channels=info["in_channels"],
        normalises=False,  # files of encoders know no mean and std
    )
    return EncoderGraph(encoder, Normalisation(None, None)), facts


def _source(asked: str | None, model: MultiTaskModel) -> str:
    assert model.config is not None
    known = list(model.config.sources)
    if asked is None and len(known) > 1:
        raise ValueError(f"the model knows {', '.join(known)}: say by --source which is meant")
    source = asked or known[0]
    model.tasks_of(source)  # raises where it is unknown
    return source


def _size_hw(asked: int | None, own: int | Sequence[int]) -> SizeHW:
    """The size to trace with. Raises ValueError for one that no graph takes."""
    if asked is not None and (asked < LEAST_SIDE_PX or asked % SIZE_DIVISOR):
        raise ValueError(
            f"--image-size must be a multiple of {SIZE_DIVISOR}, at least {LEAST_SIDE_PX}; "
            f"found {asked}"
        )
    sides = asked or own
    height, width = (sides, sides) if isinstance(sides, int) else sides
    return _rounded(height), _rounded(width)


def _rounded(side: int) -> int:
    return max(LEAST_SIDE_PX, -(-side // SIZE_DIVISOR) * SIZE_DIVISOR)


def _traced(
    graph: Graph, facts: GraphFacts, any_size: bool, say: Say
) -> tuple[ExportedProgram, GraphFacts]:
    """The graph for any size where that is asked for and can be, else for one, with a word why."""
    facts = dataclasses.replace(facts, outputs=_outputs(graph, facts))
    if not any_size:
        return traced(graph, facts), facts
    reason = why_one_size(graph.encoder, facts.tasks)
    if reason is None:
        free = dataclasses.replace(facts, any_size=True)
        try:
            return traced(graph, free), free
        except ValueError as error:
            reason = str(error)
    height, width = facts.image_size_hw
    say(f"for images of {width} × {height} px alone: {reason}")
    return traced(graph, facts), facts


@torch.no_grad()
def _outputs(graph: Graph, facts: GraphFacts) -> dict[str, str]:
    """What each output holds, in words."""
    said = graph(*example_images(facts, 1, facts.image_size_hw, graph.dates))
    return {name: in_words(name, value, facts.image_size_hw) for name, value in said.items()}


def compared(graph: Graph, run: Run, facts: GraphFacts) -> Iterator[str]:
    """A line on each batch that ``run`` and ``graph`` were both given: how far they are apart.

    Raises ValueError where that is more than ``TOLERANCE``.
    """
    height, width = facts.image_size_hw
    batches = [(1, (height, width)), (3, (height, width))]
    if facts.any_size:
        batches += [(2, (height + 32, width + 96)), (1, (LEAST_SIDE_PX, LEAST_SIDE_PX))]
    for count, size_hw in batches:
        images = example_images(facts, count, size_hw, graph.dates, seed=count)
        with torch.no_grad():
            wanted = graph(*images)
        found = run(images)
        name, apart, bound = _worst(wanted, found)
        line = (
            f"{count} × {size_hw[1]} × {size_hw[0]} px: largest difference from the model "
            f"{apart:.1e} ({name}), allowed {bound:.1e}"
        )
        if not apart <= bound:  # NaN too
            raise ValueError(f"the graph does not say what the model says, nothing written: {line}")
        yield line


def _worst(wanted: dict[str, Tensor], found: dict[str, Tensor]) -> tuple[str, float, float]:
    """The output that comes nearest to its bound or goes furthest beyond, difference and bound."""
    rows = []
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return name, float("inf"), TOLERANCE
        bound = TOLERANCE * max(1.0, float(value.abs().max()))
        apart = float((found[name] - value).abs().max())
        rows.append((apart / bound if apart == apart else float("inf"), name, apart, bound))
    _, name, apart, bound = max(rows)
    return name, apart, bound
