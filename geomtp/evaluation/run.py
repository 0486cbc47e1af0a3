"""An evaluation: a model, images, a protocol, and what is written of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.data.transforms import EvalTransform
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.evaluation.evaluated_data import (
    evaluated_store,
    settings_of_training,
    source_of,
    trained_size_px,
)
from geomtp.evaluation.found_objects import matches_of
from geomtp.evaluation.looking import look_at
from geomtp.evaluation.prediction_maps import MapFolder
from geomtp.evaluation.protocol import Protocol
from geomtp.evaluation.result_files import Report, TaskReport, sha256_of, software
from geomtp.evaluation.result_tables import class_rows, confusion_of, overall
from geomtp.evaluation.submissions import SubmissionWriter, required_task, submission_of
from geomtp.evaluation.worst_cases import WorstCases, quality_of
from geomtp.labels import LabelStore
from geomtp.metrics import CocoResult
from geomtp.metrics.source_scores import SourceScores
from geomtp.model import MultiTaskModel, SourceConfig, load
from geomtp.training.validation import picture_of
from geomtp.types import Batch, ClassMap, Predictions, Targets

Say = Callable[[str], None]

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


@dataclass
class _Collected:
    """What is gathered image by image."""

    classes: ClassMap
    tasks: list[str]
    scores: SourceScores
    worst: WorstCases
    maps: MapFolder | None
    submission: SubmissionWriter | None
    confusions: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    images: int = 0
    labelled: int = 0

    def add(self, batch: Batch, found: Predictions, dataset: StoreDataset) -> None:
        """Take in the one image of ``batch``."""
        image, targets = batch.image_ids[0], batch.targets[0]
        self.images += 1
        if is_labelled(targets, self.tasks):
            self.labelled += 1
            self.scores.update(image, found, targets)
        for kind, matches in matches_of(found, targets).items():
            counts = matches.confusion(len(self.classes))
            self.confusions[kind] = self.confusions.get(kind, np.zeros_like(counts)) + counts
        quality = quality_of(found, targets, len(self.classes))
        self.worst.add(image, quality, lambda: picture_of(batch, found, dataset))
        if self.maps is not None:
            self.maps.write(image, found, picture_of(batch, found, dataset))
        if self.submission is not None:
            self.submission.add(image, found, _file_size(batch))


def evaluate(config: Evaluate, say: Say = print) -> EvaluationResult:
    """Measure a model, and write ``config.out`` and what else is asked for.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    began = time.monotonic()
    model = load(config.checkpoint)
    device = _device(config.device)
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
        "software": {
            **software(),
            "device": str(device),
            "seconds": round(time.monotonic() - began, 1),
        },
    }
    report = _report(config, facts, collected)
    if submission:
        say(submission)
    return EvaluationResult(report, report.write(config.out), submission)


def is_labelled(targets: Targets, tasks: list[str]) -> bool:
    """Whether there is anything to compare predictions of ``tasks`` with."""
    labels = {
        "semantic": targets.semantic,
        "instance": targets.boxes,
        "horizontal": targets.boxes,
        "rotated": targets.rboxes,
        "scene": targets.scene_class,
        "change": targets.change,
    }
    return any(labels[task] is not None for task in tasks)


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"cannot compute on device {name!r} ({str(error).splitlines()[0]})"
        ) from None


def _collected(config: Evaluate, source: SourceConfig, tasks: list[str]) -> _Collected:
    classes = source.classes
    writer = config.submit and submission_of(
        config.submit, classes, config.out, config.rotated_nms_iou, config.scenes
    )
    return _Collected(
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
    collected: _Collected,
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
    for batch in _single(loader):
        height, width = batch.image_sizes_hw[0]
        after = None if batch.images_after is None else batch.images_after[0, :, :height, :width]
        found = look_at(
            model, name, batch.images[0, :, :height, :width], protocol, _file_size(batch), after
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


def _single(loader: Iterable[Batch]) -> Iterable[Batch]:
    """Batches of one image, in pixels of its file."""
    for batch in loader:
        assert len(batch.targets) == 1
        yield batch


def _file_size(batch: Batch) -> tuple[int, int]:
    """Height and width of the one image in its file."""
    return (batch.original_sizes_hw or batch.image_sizes_hw)[0]


def _report(config: Evaluate, facts: dict[str, dict[str, Any]], collected: _Collected) -> Report:
    remarks = []
    if collected.labelled < collected.images:
        without = collected.images - collected.labelled
        remarks.append(f"{without} of {collected.images} images have no labels and are not scored.")
    tasks = _task_reports(collected) if collected.labelled else {}
    if collected.confusions and collected.labelled:
        remarks.append(
            "Confusions of objects: at IoU 0.5 and scores from 0.5; the last row counts detections "
            "of nothing, the last column objects that were missed."
        )
    data = facts["data"]
    title = f"{', '.join(collected.tasks)}: {data['images']} images of {data['source']}"
    worst = collected.worst.write(config.out / "worst")
    return Report(facts, tasks, worst, remarks, f"{title} ({data['split']})")


def _task_reports(collected: _Collected) -> dict[str, TaskReport]:
    names = collected.classes.names
    reports = {}
    for task, result in collected.scores.results().items():
        rows = class_rows(result, names)
        confusion = confusion_of(result)
        labels = tuple(str(row["class"]) for row in rows)
        columns = labels
        if confusion is None:
            kind = "rotated" if task == "rotated" else "box"
            counts = collected.confusions.get(kind)
            confusion = None if counts is None else counts.tolist()
            labels, columns = (*names, "(nothing)"), (*names, "(missed)")
        if isinstance(result, CocoResult) and result.mask is None:
            task = "boxes"
        reports[task] = TaskReport(overall(result), rows, confusion, labels, columns)
    return reports


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
    config: Evaluate, store: LabelStore, source: SourceConfig, collected: _Collected
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
