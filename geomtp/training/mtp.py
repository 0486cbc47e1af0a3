"""Multi-task pretraining: from a configuration to a folder with a trained encoder."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.encoders.weights import load_encoder_weights
from geomtp.model import MultiTaskModel, build_model
from geomtp.training.configs import PretrainMTP
from geomtp.training.curves import draw_curves, read_metrics
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.optimiser import adamw, learning_rate_factor, parameter_groups
from geomtp.training.progress import StepProgress
from geomtp.training.run_data import MixedData, datasets, model_config_of
from geomtp.training.run_folder import (
    AtomicCheckpointIO,
    MetricsCsv,
    RunFolder,
    SaveLast,
    last_step,
)
from geomtp.training.stores import Say, build_stores, open_stores, wait_for_stores
from geomtp.training.validation import HEADLINES, Scores, Validation, ValidationSet
from geomtp.types import Batch

MAY_DIFFER = {"data", "out", "workers", "resume", "log_every", "accelerator", "pictures"}
"""Settings that a resumed run may change: they do not change its numbers."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended: its folder, its last scores, the steps done, and whether it was stopped."""

    folder: RunFolder
    scores: Scores
    steps: int
    stopped: bool


def pretrain_mtp(config: PretrainMTP, say: Say = print) -> RunResult:
    """Train, validate and write the run folder ``config.out``.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    silence_known_warnings()
    folder = RunFolder(config.out)
    names = list(config.sources)
    if getattr(rank_zero_only, "rank", 0) == 0:  # set from the launcher's variables
        folder.open(config, resume=config.resume, may_differ=MAY_DIFFER)
        build_stores(names, config.data, folder.stores, strict=config.strict, say=say)
    else:
        wait_for_stores(names, config.data, folder.stores)
    stores = open_stores(names, config.data, folder.stores)
    start_step = last_step(folder) if config.resume else 0
    model_config = model_config_of(config, stores)
    torch.manual_seed(config.seed)
    model = build_model(model_config)
    if config.weights and not config.resume:
        file = imagenet_file(config.encoder) if config.weights == "imagenet" else config.weights
        report = load_encoder_weights(model.encoder, file)
        say(f"encoder weights from {config.weights}: {len(report.used)} tensors")
    module = MultiTaskPretraining(model, config, folder.path)
    held_out = ValidationSet(
        datasets(config, stores, config.validation_split, training=False),
        config.workers,
        config.validation_limit,
    )
    validation = Validation(
        held_out,
        folder,
        every=config.validate_every,
        pictures=config.pictures,
        first=config.validate_first,
    )
    interruption = StopBetweenSteps()
    trainer = Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if config.devices * config.nodes > 1 else "auto",
        sync_batchnorm=config.devices * config.nodes > 1 and torch.cuda.is_available(),
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_steps=config.steps,
        max_epochs=-1,
        gradient_clip_val=config.clip_norm,
        log_every_n_steps=config.log_every,
        logger=[
            MetricsCsv(folder.metrics, start_step),
            TensorBoardLogger(folder.path, name="", version="tensorboard"),
        ],
        callbacks=[
            interruption,
            StepProgress(config.steps, say),
            validation,
            SaveLast(folder, config.checkpoint_every),
        ],
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder.path,
    )
    data = MixedData(config, datasets(config, stores, "train", training=True), start_step)
    checkpoint = str(folder.last) if config.resume else None
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    if not interruption.stopped:
        validation.validate(trainer, module)
    if trainer.is_global_zero:
        draw_curves(headline_metrics(folder), folder.path / "curves.png")
    return RunResult(folder, validation.scores, trainer.global_step, interruption.stopped)


def story_of(result: RunResult) -> str:
    """What to tell the user at the end: the scores, where things lie, how to go on."""
    folder = result.folder
    if result.stopped:
        return (
            f"stopped after step {result.steps}; nothing is lost. Go on with:\n"
            f"  geomtp pretrain mtp --config {folder.config} --resume"
        )
    lines = [f"{'source':<20}" + "".join(f"{name:>16}" for name in HEADLINES)]
    for source, scores in result.scores.items():
        figures = (scores.get(name, math.nan) for name in HEADLINES)
        lines.append(f"{source:<20}" + "".join(f"{value:>16.3f}" for value in figures))
    lines += [
        f"model     {folder.model}",
        f"encoder   {folder.encoder}",
        f"pictures  {folder.pictures}",
    ]
    return "\n".join(lines)


def headline_metrics(folder: RunFolder) -> dict[str, list[tuple[int, float]]]:
    """The log without the scores of single classes, which would make the picture too long."""
    metrics = read_metrics(folder.metrics)
    return {
        name: points
        for name, points in metrics.items()
        if not name.startswith("val/") or name.endswith(HEADLINES)
    }


class NonFiniteLossError(ValueError):
    """A loss was NaN or infinite; the message says which, and where its batch was saved."""


class MultiTaskPretraining(LightningModule):
    """Trains a MultiTaskModel on {source: batch}."""

    def __init__(self, model: MultiTaskModel, config: PretrainMTP, batch_folder: Path) -> None:
        """``batch_folder``: where a batch with a non-finite loss is saved."""
        super().__init__()
        self.model = model
        self.config = config
        self.batch_folder = batch_folder
        self.average: AveragedModel | None = None
        if config.ema_decay is not None:
            update = get_ema_multi_avg_fn(config.ema_decay)
            self.average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
            self.average.requires_grad_(False)

    @property
    def trained(self) -> MultiTaskModel:
        """The model to validate and to keep: the moving average where there is one."""
        if self.average is None:
            return self.model
        return cast(MultiTaskModel, self.average.module)

    def train(self, mode: bool = True) -> MultiTaskPretraining:
        """Training mode, but for batch norms that are frozen."""
        super().train(mode)
        frozen: dict[str, list[nn.Module]] = {
            "train": [],
            "frozen_encoder": [self.model.encoder],
            "frozen": [self.model],
        }
        for part in frozen[self.config.batch_norm]:
            for module in part.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def on_train_start(self) -> None:
        """Lightning itself leaves the mode as it finds it."""
        self.train()

    def on_train_batch_start(self, batch: Mapping[str, Batch], batch_idx: int) -> None:
        """Seed each step by (seed, step, process), so that resuming repeats its random numbers."""
        numbers = (self.config.seed, self.global_step, self.global_rank)
        torch.manual_seed(hash(numbers) % 2**63)

    def training_step(self, batches: Mapping[str, Batch], batch_idx: int) -> Tensor:
        """The sum of all losses of all tasks and sources."""
        total, losses = self.model.total_loss(batches, self.config.loss_weights)
        if not torch.isfinite(total):
            self._stop(batches, losses)
        rate = self.lr_schedulers().get_last_lr()[-1]  # type: ignore[union-attr]
        logged = {f"loss/{name}": value for name, value in losses.items()}
        self.log_dict(logged | {"loss/total": total.detach(), "lr": rate}, batch_size=1)
        by_task = {
            task: torch.stack([v for name, v in losses.items() if name.startswith(task)]).sum()
            for task in self.model.decoders
        }
        self.log_dict(by_task, prog_bar=True, logger=False, batch_size=1)
        return total

    def _stop(self, batches: Mapping[str, Batch], losses: Mapping[str, Tensor]) -> None:
        bad = [name for name, value in losses.items() if not torch.isfinite(value)]
        place = self.batch_folder / f"non_finite_step_{self.global_step}_{self.global_rank}.pt"
        images = {
            source: (batch.image_ids, batch.images.cpu()) for source, batch in batches.items()
        }
        torch.save({"step": self.global_step, "losses": dict(losses), "images": images}, place)
        raise NonFiniteLossError(
            f"the loss became NaN or infinite at step {self.global_step} "
            f"({', '.join(bad) or 'in the sum'}); its images are saved in {place}: "
            f"look at them, or lower the learning rate and --resume"
        )

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, then move the average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, warm-up and cosine by step."""
        config = self.config
        groups = parameter_groups(
            self.model,
            self.model.encoder,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
        )
        optimiser = adamw(groups)

        def factor(step: int) -> float:
            return learning_rate_factor(step, steps=config.steps, warmup_steps=config.warmup_steps)

        schedule = LambdaLR(optimiser, factor)
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def silence_known_warnings() -> None:
    """Lightning's advice that does not apply here."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    for text in (
        r".*does not have many workers.*",
        r".*number of training batches.*is smaller than the logging interval.*",
        r".*Checkpoint directory.*exists and is not empty.*",
        r".*LeafSpec.*is deprecated.*",
        r".*no `train_dataloader`.*",
        r".*`train_dataloader` yielded None.*",
    ):
        warnings.filterwarnings("ignore", message=text)
