"""What a weight file and the folder it lies in say of themselves, for its card."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from geomtp.checkpoints import read_description, sha256_of
from geomtp.model import ModelConfig
from geomtp.training.curves import read_metrics
from geomtp.training.run_folder import RunFolder

MACHINE = (
    "accelerator", "checkpoint_every", "data", "devices", "log_every", "nodes", "out", "pictures",
    "resume", "validation_data", "weights", "workers",
)  # fmt: skip
"""Settings of a run that say nothing of the weights, or name places of one machine."""


@dataclass(frozen=True)
class Figure:
    """One score: of which source and split, by which protocol; ``images``: how many, if known."""

    source: str
    name: str
    value: float
    images: int | None
    split: str
    protocol: str


@dataclass(frozen=True)
class Stage:
    """One training: what it was, and its settings; an empty mapping where it is not recorded."""

    title: str
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """All that a card tells.

    - kind: of the weights, as their description says ("model", "encoder", "mae", "mae_encoder")
    - info: the whole description; model: what to build, of a whole model
    - parameters: numbers in the file; sha256: of the file
    - stages: trainings that led here, the first one first
    - figures: scores of these very weights
    """

    name: str
    kind: str
    info: Mapping[str, Any]
    model: ModelConfig | None
    parameters: int
    sha256: str
    stages: tuple[Stage, ...]
    figures: tuple[Figure, ...]

    @staticmethod
    def of(path: Path) -> CardFacts:
        """What is known of the weights at ``path``. Raises as ``read_description``."""
        shapes, info = read_description(path)
        sha256 = sha256_of(path)
        return CardFacts(
            name=path.parent.resolve().name,
            kind=str(info.get("kind", "weights")),
            info=info,
            model=ModelConfig.from_json(info["model"]) if "model" in info else None,
            parameters=sum(math.prod(shape) for shape in shapes.values()),
            sha256=sha256,
            stages=tuple(_stages(path.parent)),
            figures=(*_validated(path), *_evaluated(path.parent, sha256)),
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the last training; empty where they are not recorded."""
        return self.stages[-1].settings if self.stages else {}


def _settings(folder: Path) -> dict[str, Any]:
    """``config.yaml`` of a run; empty where there is none."""
    path = RunFolder(folder).config
    if not path.is_file():
        return {}
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    return settings if isinstance(settings, dict) else {}


def _stages(folder: Path) -> list[Stage]:
    """The training in ``folder`` after those that it started from, as far as they are here."""
    stages: list[Stage] = []
    seen: set[Path] = set()
    place: Path | None = folder
    while place is not None and place.resolve() not in seen:
        seen.add(place.resolve())
        settings = _settings(place)
        if not settings:
            if stages:
                stages.append(Stage(f"weights {place.name}, whose origin is not recorded", {}))
            break
        stages.append(Stage(_title(settings), settings))
        start = settings.get("weights")
        if start in (None, "imagenet"):
            words = "random weights" if start is None else "ImageNet weights of a package"
            stages.append(Stage(words, {}))
            break
        place = _run_of(Path(str(start)))
    return stages[::-1]


def _run_of(weights: Path) -> Path:
    """The run folder of a weight file, or the file itself where it lies in none."""
    folder = weights if weights.is_dir() else weights.parent
    return folder if RunFolder(folder).config.is_file() else weights


def _title(settings: Mapping[str, Any]) -> str:
    if "mask_ratio" in settings:
        return f"masked autoencoding, {_length(settings)}"
    if "sources" in settings:
        sources = ", ".join(settings["sources"])
        return f"multi-task pretraining on {sources}, {_length(settings)}"
    task = settings.get("task", "a task")
    on = f" on {settings['source']}" if settings.get("source") else ""
    return f"fine-tuning for {task}{on}, {_length(settings)}"


def _length(settings: Mapping[str, Any]) -> str:
    length = f"{settings['steps']} steps" if settings.get("steps") else "steps by its epochs"
    return f"{length}, seed {settings.get('seed')}"


def _validated(path: Path) -> list[Figure]:
    """The scores of the validation that wrote this file of a run."""
    folder = RunFolder(path.parent)
    if not folder.scores.is_file():
        return []
    last = json.loads(folder.scores.read_text(encoding="utf-8"))
    step, scores = int(last["step"]), last["scores"]
    chosen = ""
    if path.name == folder.best.name:
        step, scores = _best(folder)
        chosen = ", the best step by these very images"
    elif path.name != folder.model.name:
        return []
    settings = _settings(path.parent)
    counts = last.get("images", {})
    return [
        Figure(
            source,
            name,
            value,
            counts.get(source),
            str(settings.get("validation_split", "val")),
            f"validation of training at step {step}{chosen}",
        )
        for source, values in scores.items()
        for name, value in values.items()
        if value is not None and name.count("/") == 1  # of single classes: in scores.json
    ]


def _best(folder: RunFolder) -> tuple[int, dict[str, dict[str, float]]]:
    """The step of the first highest mean of the headline figures, and its scores by source."""
    if not folder.metrics.is_file():
        return 0, {}
    metrics = read_metrics(folder.metrics)
    means = metrics.get("val/mean", [])
    if not means:
        return 0, {}
    best, _ = max(means, key=lambda point: (point[1], -point[0]))
    scores: dict[str, dict[str, float]] = {}
    for name, points in metrics.items():
        parts = name.split("/", 2)
        if parts[0] == "val" and len(parts) == 3 and best in dict(points):
            scores.setdefault(parts[1], {})[parts[2]] = dict(points)[best]
    return best, scores


def _evaluated(folder: Path, sha256: str) -> list[Figure]:
    """The results of ``geomtp evaluate`` below the folder that are of these very weights."""
    figures: list[Figure] = []
    for path in sorted([*folder.glob("result.json"), *folder.glob("*/result.json")]):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result.get("model", {}).get("sha256") != sha256:
            continue
        data = result.get("data", {})
        figures += [
            Figure(
                str(data.get("source")),
                name,
                value,
                data.get("labelled"),
                str(data.get("split")),
                str(result.get("protocol", {}).get("in words")),
            )
            for name, value in result.get("scores", {}).items()
            if value is not None
        ]
    return figures
