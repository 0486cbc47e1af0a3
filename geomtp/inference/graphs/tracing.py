"""From a module to a graph of torch.export, for batches and images of any size where it can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from geomtp.encoders.encoder import Encoder
from geomtp.encoders.internimage import InternImage
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.inference.graphs.graph_facts import LEAST_SIDE_PX, RAW_TASKS, GraphFacts
from geomtp.inference.graphs.graphs import Graph
from geomtp.model import SIZE_DIVISOR
from geomtp.types import SizeHW


def traced(graph: Graph, facts: GraphFacts) -> ExportedProgram:
    """The operators of ``graph``, for any number of images and, by ``facts.any_size``, any size.

    Raises ValueError in one sentence where torch.export cannot trace it.
    """
    # an axis of one cell would be taken for one that always has one cell
    height, width = facts.image_size_hw
    size_hw = (height + 32, width + 64) if facts.any_size else (height, width)
    axes: dict[int, Any] = {0: Dim("batch")}
    if facts.any_size:
        least = LEAST_SIDE_PX // SIZE_DIVISOR
        axes[2] = SIZE_DIVISOR * Dim("rows", min=least)
        axes[3] = SIZE_DIVISOR * Dim("columns", min=least)
    examples = example_images(facts, 2, size_hw, graph.dates)
    try:
        with torch.no_grad():
            return torch.export.export(graph, examples, dynamic_shapes=(axes,) * graph.dates)
    except Exception as error:  # torch raises many kinds
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"torch.export cannot trace {facts.encoder} ({reason})") from error


def example_images(
    facts: GraphFacts, count: int, size_hw: SizeHW, dates: int, seed: int = 0
) -> tuple[Tensor, ...]:
    """Noise as the graph takes it: of each date (count, C, H, W) float32."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, facts.in_channels, *size_hw)
    images = tuple(torch.randn(shape, generator=generator) for _ in range(dates))
    if not facts.normalises:
        return images
    mean, std = (torch.tensor(values)[:, None, None] for values in (facts.mean, facts.std))
    return tuple(image * std + mean for image in images)


def why_one_size(encoder: Encoder, tasks: Sequence[str]) -> str | None:
    """Why a graph takes images of one size alone; None where any size may be tried."""
    if raw := [task for task in tasks if task in RAW_TASKS]:
        return f"the anchors of the task {' and '.join(raw)} are laid for it"
    own_tables = "windows or tables of positions of the encoder are laid for it"
    if isinstance(encoder, ViTRVSA):
        return own_tables
    if isinstance(encoder, InternImage):
        return None
    from geomtp.encoders.timm_encoder import SIZE_MULTIPLE, TimmEncoder

    assert isinstance(encoder, TimmEncoder)
    free = encoder.multiple_hw == (SIZE_MULTIPLE, SIZE_MULTIPLE) and not encoder.tiled
    return None if free and not encoder.plan.plain else own_tables
