"""What a run trains on: its model's settings, its views, its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import StepSampler, train_loader
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform
from geomtp.labels import LabelStore
from geomtp.model import ModelConfig, SourceConfig
from geomtp.training.configs import Training
from geomtp.types import Batch


def model_config_of(
    config: Training, stores: Mapping[str, LabelStore], tasks: Mapping[str, Sequence[str]]
) -> ModelConfig:
    """The model of a run: its encoder, and a classifier for each of the ``tasks`` of each source.

    Raises ValueError when the images of the sources differ in channels.
    """
    options: dict[str, Any] = {"drop_path": config.drop_path}
    if config.activation_checkpointing:
        options["activation_checkpointing"] = True
    return ModelConfig(
        encoder=config.encoder,
        image_size=config.image_size,
        in_channels=_channels(config, stores),
        encoder_options=options,
        sources={
            name: SourceConfig(
                classes=store.classes,
                tasks=tuple(tasks[name]),
                mean=config.mean or store.mean,
                std=config.std or store.std,
            )
            for name, store in stores.items()
        },
        semantic_channels=config.semantic_channels,
        change_channels=config.change_channels,
        detector_channels=config.detector_channels,
        fc_channels=config.fc_channels,
        proposals=config.proposals,
        rois=config.rois,
        anchor_scale=config.anchor_scale,
        rotated_looks=config.rotated_looks,
    )


def _channels(config: Training, stores: Mapping[str, LabelStore]) -> int:
    """How many channels the images have: what is said, or what the stores say."""
    if config.mean is not None:
        return len(config.mean)
    counts = {name: len(store.mean) for name, store in stores.items()}
    wanted = config.in_channels or next(iter(counts.values()))
    if other := [f"{name}: {count}" for name, count in counts.items() if count != wanted]:
        raise ValueError(
            f"the encoder is to take {wanted} channels, but label stores name mean and std of "
            f"others ({', '.join(other)}): give --mean and --std, or --in-channels"
        )
    return wanted


def training_view(config: Training) -> TrainTransform:
    """How images are seen in training."""
    return TrainTransform(
        config.image_size,
        resize_range=config.resize_range,
        resize_relative_to=config.resize_relative_to,
        photometric=config.colours_vary,
        flip_vertically=config.flip_vertically,
    )


def held_out_view(config: Training) -> EvalTransform:
    """How images are seen in validation."""
    return EvalTransform(config.evaluation_size)


def further_steps(
    config: Training,
    parts: Mapping[str, StoreDataset],
    shares: Mapping[str, int],
    count: int,
) -> DataLoader[dict[str, Batch]]:
    """``count`` steps of training views that are drawn apart from those of the training."""
    sizes = {name: len(dataset) for name, dataset in parts.items()}
    sampler = StepSampler(sizes, shares, count, seed=config.seed + 1)
    return train_loader(parts, sampler, size_px=config.image_size, workers=0)


class StepData(LightningDataModule):
    """The steps of a run, from ``start_step`` on, as this process reads them."""

    def __init__(
        self,
        config: Training,
        parts: Mapping[str, StoreDataset],
        shares: Mapping[str, int],
        start_step: int,
        reference_label_padding: bool,
    ) -> None:
        super().__init__()
        self.config, self.parts, self.shares = config, parts, shares
        self.start_step, self.reference_label_padding = start_step, reference_label_padding

    def train_dataloader(self) -> DataLoader[dict[str, Batch]]:
        """The loader of this process; called by Lightning when the processes are known."""
        assert self.trainer is not None
        sampler = StepSampler(
            {name: len(dataset) for name, dataset in self.parts.items()},
            self.shares,
            self.config.steps,
            start_step=self.start_step,
            seed=self.config.seed,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return train_loader(
            self.parts,
            sampler,
            size_px=self.config.image_size,
            workers=self.config.workers,
            pin_memory=torch.cuda.is_available(),
            reference_label_padding=self.reference_label_padding,
        )
