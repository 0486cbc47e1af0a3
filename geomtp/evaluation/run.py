"""An evaluation: a model, images, a protocol, and what is written of them."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.checkpoints import sha256_of
from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.data.transforms import EvalTransform
from geomtp.evaluation.collected import Collected, file_size_hw
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.evaluation.evaluated_data import (
    evaluated_store,
    source_of,
)
from geomtp.evaluation.looking import look_at
from geomtp.evaluation.prediction_maps import MapFolder
from geomtp.evaluation.protocol import Protocol
from geomtp.evaluation.result_files import Report, software
from geomtp.evaluation.submissions import required_task, submission_of
from geomtp.evaluation.worst_cases import WorstCases
from geomtp.inference.devices import computing_device
from geomtp.inference.training_settings import settings_of_training, trained_size_px
from geomtp.labels import LabelStore
from geomtp.metrics.source_scores import SourceScores
from geomtp.model import MultiTaskModel, SourceConfig, load
from geomtp.training.stores import Say

_SAID_EVERY_S = 15.0


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation leaves behind.

    - report: all that is in result.json; page: the path of the readable one
    - submission: what was written for a server, in one line; None where nothing was asked for
    """

    report: Report
    page: Path
    submission: str | None

    @property
    def figures(self) -> dict[str, float]:
        """The scores of the whole set by name, fractions; empty without labels."""
        tasks = self.report.tasks.values()
        return {name: value for task in tasks for name, value in task.overall.items()}


def evaluate(config: Evaluate, say: Say = print) -> EvaluationResult:
    """Measure a model, and write ``config.out`` and what else is asked for.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    began = time.monotonic()
    model = load(config.checkpoint)
    device = computing_device(config.device)
    model.to(device)
    name = source_of(config, model)
    assert model.config is not None
    source, tasks = model.config.sources[name], model.tasks_of(name)
    if config.centre is not None and tasks != ["scene"]:
        raise ValueError(
            f"--centre leaves out the border, which {', '.join(tasks)} is scored on: it is for "
            f"the class of whole images alone"
        )
    if config.submit is not None:
        required_task(config.submit, tasks)
    settings = settings_of_training(config.checkpoint)
    store = evaluated_store(config, tasks, source, float(settings.get("val_share", 0.2)))
    protocol = config.protocol(trained_size_px(settings))
    say(f"{len(store)} images of {store.source}; {protocol}")
    collected = _collected(config, source, tasks)
    _look_at_all(config, model, name, store, protocol, collected, say)
    submission = None if collected.submission is None else collected.submission.finish()
    seconds = round(time.monotonic() - began, 1)
    facts = {
        "model": _model_facts(config.checkpoint, model, name, settings),
        "data": _data_facts(config, store, source, collected),
        "protocol": {"in words": str(protocol), **dataclasses.asdict(protocol)},
        "software": {**software(), "device": str(device), "seconds": seconds},
    }
    report = collected.report(facts, config.out / "worst")
    if submission:
        say(submission)
    return EvaluationResult(report, report.write(config.out), submission)


def _collected(config: Evaluate, source: SourceConfig, tasks: list[str]) -> Collected:
    classes = source.classes
    writer = config.submit and submission_of(
        config.submit, classes, config.out, config.rotated_nms_iou, config.scenes
    )
    return Collected(
        classes=classes,
        tasks=tasks,
        scores=SourceScores(classes, tasks),
        worst=WorstCases(config.worst),
        maps=None if config.maps is None else MapFolder(config.maps, classes),
        submission=writer or None,
    )


def _look_at_all(
    config: Evaluate,
    model: MultiTaskModel,
    name: str,
    store: LabelStore,
    protocol: Protocol,
    collected: Collected,
    say: Say,
) -> None:
    assert model.config is not None
    source = model.config.sources[name]
    dataset = StoreDataset(
        store,
        EvalTransform(protocol.size_px),
        model.tasks_of(name),
        skip_bad=config.skip_bad,
        mean=source.mean,
        std=source.std,
    )
    loader = validation_loader(dataset, name, workers=config.workers, limit=config.limit)
    count, said = min(len(store), config.limit or len(store)), time.monotonic()
    for batch in loader:  # of one image each
        height, width = batch.image_sizes_hw[0]
        after = None if batch.images_after is None else batch.images_after[0, :, :height, :width]
        found = look_at(
            model, name, batch.images[0, :, :height, :width], protocol, file_size_hw(batch), after
        )
        collected.add(batch, found, dataset)
        if time.monotonic() - said > _SAID_EVERY_S:
            said = time.monotonic()
            say(f"{collected.images} of {count} images")
    nothing_else = config.maps is None and config.submit is None
    if not collected.images:
        raise ValueError(f"none of the {count} images could be read")
    if not collected.labelled and nothing_else:
        raise ValueError(
            f"the {count} images have no labels for {', '.join(model.tasks_of(name))}: there is "
            f"nothing to score; for predictions give --maps or --submit"
        )


def _model_facts(
    path: Path, model: MultiTaskModel, source: str, settings: dict[str, Any]
) -> dict[str, Any]:
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


def _data_facts(
    config: Evaluate, store: LabelStore, source: SourceConfig, collected: Collected
) -> dict[str, Any]:
    sizes = sorted({row.size_hw for row in store})
    return {
        "data": config.data,
        "source": store.source,
        "split": config.split,
        "images": collected.images,
        "labelled": collected.labelled,
        "sizes": [f"{w} × {h}" for h, w in sizes[:5]] + ["…"] * (len(sizes) > 5),
        "bands": len(source.mean),
        "mean": source.mean,
        "std": source.std,
        "seed": "nothing is drawn at random",
    }
