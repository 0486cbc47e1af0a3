"""The loop of all trainings: Lightning's, with what this project wants of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from geomtp.training.configs import RunSettings
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.progress import StepProgress
from geomtp.training.run_folder import AtomicCheckpointIO, MetricsCsv, RunFolder, SaveLast
from geomtp.training.stores import Say


def fit(
    config: RunSettings,
    folder: RunFolder,
    module: LightningModule,
    data: LightningDataModule,
    callbacks: Sequence[Callback],
    *,
    steps: int,
    start_step: int,
    say: Say,
) -> tuple[Trainer, bool]:
    """Train ``module`` for ``steps``; the loop, and whether the user stopped it before its end.

    Every training can be stopped between steps, tells of its progress and leaves checkpoints; a
    resumed one (``start_step``) goes on from the last. ``callbacks``: what else is done.
    """
    interruption = StopBetweenSteps()
    trainer = trainer_of(
        config,
        folder,
        [
            interruption,
            StepProgress(steps, say),
            *callbacks,
            SaveLast(folder, config.checkpoint_every),
        ],
        steps=steps,
        start_step=start_step,
    )
    checkpoint = str(folder.last) if config.resume else None
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    return trainer, interruption.stopped


def trainer_of(
    config: RunSettings,
    folder: RunFolder,
    callbacks: Sequence[Callback],
    *,
    steps: int,
    start_step: int,
) -> Trainer:
    """A loop of ``steps`` optimiser steps that logs into ``folder``; a resumed one begins later."""
    several = config.devices * config.nodes > 1
    return Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy="ddp" if several else "auto",
        sync_batchnorm=several and torch.cuda.is_available(),
        precision="bf16-mixed" if config.precision == "bf16" else "32-true",
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=config.clip_norm,
        log_every_n_steps=config.log_every,
        logger=[
            MetricsCsv(folder.metrics, start_step),
            TensorBoardLogger(folder.path, name="", version="tensorboard"),
        ],
        callbacks=list(callbacks),
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        default_root_dir=folder.path,
    )
