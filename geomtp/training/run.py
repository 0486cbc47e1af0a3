"""A training run of a model with decoders: from data sets to a folder with a trained model."""

from __future__ import annotations

import logging
import math
import shlex
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lightning.pytorch import Callback

from geomtp.data.dataset import StoreDataset
from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.encoders.weights import load_encoder_weights
from geomtp.model import MultiTaskModel
from geomtp.training.configs import Training
from geomtp.training.curves import draw_curves, read_metrics
from geomtp.training.module import MultiTaskTraining
from geomtp.training.run_data import StepData, further_steps
from geomtp.training.run_folder import RunFolder, is_first_process, last_step
from geomtp.training.running_statistics import StatisticsAnew
from geomtp.training.stores import Say
from geomtp.training.trainers import fit
from geomtp.training.validation import HEADLINES, Scores, Validation, ValidationSet
from geomtp.training.view_sizes import small_views

MAY_DIFFER = {
    *("data", "out", "workers", "resume", "log_every", "accelerator", "pictures"),
    "checkpoint_every",
}
"""Settings that a resumed run may change: they do not change its numbers."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended: its folder, its last scores, the steps done, and whether it was stopped.

    training_images, held_out_images: how many it trained on and is scored on.
    """

    folder: RunFolder
    scores: Scores
    steps: int
    stopped: bool
    training_images: int
    held_out_images: int

    @property
    def figures(self) -> dict[str, float]:
        """The scores of the run's only source, "task/figure" → fraction; empty if it was stopped.

        Raises ValueError for a run on several sources.
        """
        if len(self.scores) > 1:
            raise ValueError(f"the run has several sources: {', '.join(self.scores)}")
        return next(iter(self.scores.values()), {})


@dataclass(frozen=True)
class RunData:
    """What a run reads.

    - training, held_out: the data sets by source; shares: images of each in one step
    - reference_label_padding: see ``collate``
    """

    training: Mapping[str, StoreDataset]
    held_out: Mapping[str, StoreDataset]
    shares: Mapping[str, int]
    reference_label_padding: bool = False

    def result(
        self, config: Training, folder: RunFolder, scores: Scores, steps: int, stopped: bool
    ) -> RunResult:
        """What a run on these data came to."""
        held_out = (len(dataset) for dataset in self.held_out.values())
        return RunResult(
            folder,
            scores,
            steps,
            stopped,
            training_images=sum(len(dataset) for dataset in self.training.values()),
            held_out_images=sum(min(n, config.validation_limit or n) for n in held_out),
        )


def load_start_weights(model: MultiTaskModel, config: Training, say: Say) -> None:
    """Load what ``config.weights`` names into the encoder. Raises as ``load_encoder_weights``."""
    if not config.weights:
        return
    file = imagenet_file(config.encoder) if config.weights == "imagenet" else config.weights
    report = load_encoder_weights(model.encoder, file)
    say(f"encoder weights from {config.weights}: {len(report.used)} tensors")


def train(
    module: MultiTaskTraining,
    folder: RunFolder,
    data: RunData,
    say: Say,
    also: Sequence[Callback] = (),
) -> RunResult:
    """Train, validate and write the run's files into ``folder``, which is open.

    ``also``: what else is done between the steps.
    """
    config = module.config
    if is_first_process() and (warning := small_views(data.training, data.held_out)):
        say(warning)
    start_step = last_step(folder) if config.resume else 0
    validation = Validation(
        ValidationSet(data.held_out, config.workers, config.validation_limit),
        folder,
        every=config.validate_every,
        pictures=config.pictures,
        first=config.validate_first,
    )
    trainer, stopped = fit(
        config,
        folder,
        module,
        StepData(config, data.training, data.shares, start_step, data.reference_label_padding),
        [*_statistics(config, data), validation, *also],
        steps=config.steps,
        start_step=start_step,
        say=say,
    )
    if not stopped:
        validation.validate(trainer, module)
    if trainer.is_global_zero:
        draw_curves(headline_metrics(folder), folder.path / "curves.png")
    return data.result(config, folder, validation.scores, trainer.global_step, stopped)


def _statistics(config: Training, data: RunData) -> list[Callback]:
    count = config.statistics_batches
    if not count:
        return []
    return [StatisticsAnew(further_steps(config, data.training, data.shares, count))]


def story_of(result: RunResult, command: str) -> str:
    """What to tell the user at the end: the scores, where things lie, how to go on.

    ``command``: the one that was typed, without settings.
    """
    folder = result.folder
    if result.stopped:
        return (
            f"stopped after step {result.steps}; nothing is lost. Go on with:\n"
            f"  {command} --config {shlex.quote(str(folder.config))} --resume"
        )
    shown = [n for n in HEADLINES if any(n in scores for scores in result.scores.values())]
    lines = [f"{'source':<20}" + "".join(f"{name:>16}" for name in shown)]
    for source, scores in result.scores.items():
        figures = (scores.get(name, math.nan) for name in shown)
        lines.append(f"{source:<20}" + "".join(f"{value:>16.3f}" for value in figures))
    lines += [
        f"model     {folder.model}",
        f"encoder   {folder.encoder}",
        f"scores    {folder.scores}",
        f"pictures  {folder.pictures}",
    ]
    return "\n".join(lines)


def headline_metrics(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """The log without the scores of single classes, which would make the picture too long."""
    metrics = read_metrics(folder.metrics)
    return {
        name: points
        for name, points in metrics.items()
        if name.endswith(HEADLINES) or not name.startswith(("val/", "gradient/"))
    }


def silence_known_warnings() -> None:
    """Lightning's advice that does not apply here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in (
        r".*does not have many workers.*",
        r".*number of training batches.*is smaller than the logging interval.*",
        r".*Checkpoint directory.*exists and is not empty.*",
        r".*LeafSpec.*is deprecated.*",
        r".*dataloader is not resumable.*",  # its steps begin where the run is resumed
        r".*no `train_dataloader`.*",
        r".*`train_dataloader` yielded None.*",
    ):
        warnings.filterwarnings("ignore", message=text)
