"""The loop of all trainings: Lightning's, with what this project wants of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.loggers import TensorBoardLogger

from geomtp.training.run_folder import AtomicCheckpointIO, MetricsCsv, RunFolder


class TrainerSettings(Protocol):
    """The settings of a run that concern its loop."""

    @property
    def accelerator(self) -> str: ...  # noqa: D102

    @property
    def devices(self) -> int: ...  # noqa: D102

    @property
    def nodes(self) -> int: ...  # noqa: D102

    @property
    def precision(self) -> str: ...  # noqa: D102

    @property
    def clip_norm(self) -> float | None: ...  # noqa: D102

    @property
    def log_every(self) -> int: ...  # noqa: D102


def trainer_of(
    config: TrainerSettings,
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
