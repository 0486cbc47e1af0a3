"""What a result says of its model and its data, as named facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from geomtp.checkpoints import sha256_of
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.labels import LabelStore
from geomtp.model import MultiTaskModel, SourceConfig


def model_facts(
    path: Path, model: MultiTaskModel, source: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Of the file ``path`` with ``model``; ``settings`` are those of its training."""
    assert model.config is not None
    return {
        "file": path,
        "sha256": sha256_of(path),
        "encoder": model.config.encoder,
        "tasks": model.tasks_of(source),
        "source": source,
        "classes": model.config.sources[source].classes.names,
        "parameters": sum(p.numel() for p in model.parameters()),
        "training seed": settings.get("seed"),
        "training steps": settings.get("steps"),
    }


def data_facts(
    config: Evaluate, store: LabelStore, source: SourceConfig, images: int, labelled: int
) -> dict[str, Any]:
    """Of the images of ``store``, so many of which were looked at and had labels."""
    sizes = sorted({row.size_hw for row in store})
    return {
        "data": config.data,
        "source": store.source,
        "split": config.split,
        "images": images,
        "labelled": labelled,
        "sizes": [f"{w} × {h}" for h, w in sizes[:5]] + ["…"] * (len(sizes) > 5),
        "bands": len(source.mean),
        "mean": source.mean,
        "std": source.std,
        "seed": "nothing is drawn at random",
    }
