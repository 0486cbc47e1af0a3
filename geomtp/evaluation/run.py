"""An evaluation: a model, images, a protocol, and what is written of them."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.data.transforms import EvalTransform
from geomtp.devices import computing_device
from geomtp.evaluation.collected import Collected, file_size_hw
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.evaluation.evaluated_data import (
    evaluated_store,
    source_of,
)
from geomtp.evaluation.facts import data_facts, model_facts
from geomtp.evaluation.looking import look_at
from geomtp.evaluation.prediction_maps import MapFolder
from geomtp.evaluation.protocol import Protocol
from geomtp.evaluation.result_files import Report, software
from geomtp.evaluation.scene_scores import SceneScores
from geomtp.evaluation.scene_truth import read_scene_labels
from geomtp.evaluation.submissions import required_task, submission_of
from geomtp.evaluation.worst_cases import WorstCases
from geomtp.inference.training_settings import settings_of_training, trained_size_px
from geomtp.labels import LabelStore
from geomtp.labels.tiles.tile_names import tile_of
from geomtp.metrics.source_scores import SourceScores
from geomtp.model import MultiTaskModel, SourceConfig, load
from geomtp.parallel import (
    is_first,
    of_first,
    processes_of_launcher,
    rank,
    rank_on_machine,
    world_size,
)
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

    Processes that torchrun or srun started share the images; the first writes and speaks, and the
    figures are the same in all.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    with processes_of_launcher():
        return _evaluate(config, say if is_first() else _silence)


def _silence(text: str) -> None:
    """What the other processes say."""


def _evaluate(config: Evaluate, say: Say) -> EvaluationResult:
    began = time.monotonic()
    model = load(config.checkpoint)
    device = computing_device(config.device, rank_on_machine())
    model.to(device)
    name = source_of(config, model)
    assert model.config is not None
    source, tasks = model.config.sources[name], model.tasks_of(name)
    _check_tasks(config, tasks)
    settings = settings_of_training(config.checkpoint)
    val_share = float(settings.get("val_share", 0.2))
    store = of_first(lambda: evaluated_store(config, tasks, source, val_share))
    protocol = config.protocol(trained_size_px(settings))
    say(f"{len(store)} images of {store.source}; {protocol}")
    collected = _collected(config, source, tasks, store)
    _look_at_all(config, model, name, store, protocol, collected, say)
    submission = None
    if collected.submission is not None:
        submission = of_first(collected.submission.finish)
        say(submission)
    seconds = round(time.monotonic() - began, 1)
    running = {"device": str(device), "processes": world_size(), "seconds": seconds}
    facts = {
        "model": model_facts(config.checkpoint, model, name, settings),
        "data": data_facts(config, store, source, collected.images, collected.labelled),
        "protocol": {"in words": str(protocol), **dataclasses.asdict(protocol)},
        "software": {**software(), **running},
    }
    report = collected.report(facts, config.out / "worst")
    page = report.write(config.out) if is_first() else report.page_in(config.out)
    return EvaluationResult(report, page, submission)


def _check_tasks(config: Evaluate, tasks: list[str]) -> None:
    """Raise ValueError for settings that the model's tasks have no use for."""
    if config.task is not None and config.task not in tasks:
        raise ValueError(f"the model has no task {config.task!r}, only {', '.join(tasks)}")
    if config.centre is not None and tasks != ["scene"]:
        raise ValueError(
            f"--centre leaves out the border, which {', '.join(tasks)} is scored on: it is for "
            f"the class of whole images alone"
        )
    if (config.scene_labels or config.score_by == "scene") and "rotated" not in tasks:
        raise ValueError(
            f"scenes are merged of rotated boxes, and the model has {', '.join(tasks)}: leave out "
            f"--score-by and --scene-labels"
        )
    if config.submit is not None:
        required_task(config.submit, tasks)


def _collected(
    config: Evaluate, source: SourceConfig, tasks: list[str], store: LabelStore
) -> Collected:
    classes = source.classes
    images = [row.image for row in store]
    writer = config.submit and submission_of(
        config.submit, classes, config.out, config.rotated_nms_iou, config.scenes
    )
    scenes = _scene_scores(config, source, images) if "rotated" in tasks else None
    by_image = [task for task in tasks if task != "rotated" or scenes is None]
    return Collected(
        classes=classes,
        tasks=tasks,
        scores=SourceScores(classes, by_image),
        scenes=scenes,
        worst=WorstCases(config.worst),
        maps=None if config.maps is None else MapFolder(config.maps, classes, images),
        submission=writer or None,
    )


def _scene_scores(config: Evaluate, source: SourceConfig, images: list[str]) -> SceneScores | None:
    """What scores rotated boxes by scene, where that is asked for or there are tiles."""
    by = config.score_by
    if by is None and (config.scene_labels or any(map(tile_of, images))):
        by = "scene"
    if by != "scene":
        return None
    labels = None
    if config.scene_labels is not None:
        labels = read_scene_labels(config.scene_labels, images, source.classes)
    return SceneScores(source.classes, config.rotated_nms_iou, labels)


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
    loader = validation_loader(
        dataset,
        name,
        rank=rank(),
        world=world_size(),
        workers=config.workers,
        limit=config.limit,
    )
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
            say(f"{min(count, collected.images * world_size())} of {count} images")
    collected.gather()
    nothing_else = config.maps is None and config.submit is None
    if not collected.images:
        raise ValueError(f"none of the {count} images could be read")
    if not collected.labelled and nothing_else:
        raise ValueError(
            f"the {count} images have no labels for {', '.join(model.tasks_of(name))}: there is "
            f"nothing to score; for predictions give --maps or --submit"
        )
