"""What a run trains on: its model's settings, its data sets, its steps."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import StepSampler, batch_shares, train_loader
from geomtp.data.transforms import EvalTransform, TrainTransform
from geomtp.labels import DoubtRule, LabelStore
from geomtp.model import ModelConfig, SourceConfig
from geomtp.training.configs import PretrainMTP
from geomtp.types import Batch


def model_config_of(config: PretrainMTP, stores: Mapping[str, LabelStore]) -> ModelConfig:
    """The model of a run: its encoder, and a classifier for each task of each source."""
    options: dict[str, Any] = {"drop_path": config.drop_path}
    if config.activation_checkpointing:
        options["activation_checkpointing"] = True
    return ModelConfig(
        encoder=config.encoder,
        image_size=config.image_size,
        in_channels=config.in_channels,
        encoder_options=options,
        sources={
            name: SourceConfig(
                classes=store.classes,
                tasks=config.tasks_of(name),
                mean=config.mean or store.mean,
                std=config.std or store.std,
            )
            for name, store in stores.items()
        },
        semantic_channels=config.semantic_channels,
        detector_channels=config.detector_channels,
        fc_channels=config.fc_channels,
        proposals=config.proposals,
        rois=config.rois,
        anchor_scale=config.anchor_scale,
        rotated_looks=config.rotated_looks,
        reference_box_targets=config.reference_box_targets,
        reference_statistics=config.reference_statistics,
    )


def datasets(
    config: PretrainMTP, stores: Mapping[str, LabelStore], split: str, *, training: bool
) -> dict[str, StoreDataset]:
    """The images of one split of each source, as training views or whole; empty sources left out.

    Raises ValueError when a source that is to be trained has no image.
    """
    train_view = TrainTransform(
        config.image_size,
        resize_range=config.resize_range,
        resize_relative_to=config.resize_relative_to,
        photometric=config.photometric,
        reference_filtering=config.reference_filtering,
        reference_photometric=config.reference_photometric,
    )
    found = {}
    for name, store in stores.items():
        source, part = config.sources[name], store.subset(split)
        if len(part) == 0:
            if training:
                raise ValueError(
                    f"{name} has no images in its {split!r} split: nothing to train on"
                )
            continue
        found[name] = StoreDataset(
            part,
            train_view if training else EvalTransform(config.evaluation_size),
            config.tasks_of(name),
            seed=config.seed + zlib.crc32(name.encode()),
            skip_bad=config.skip_bad,
            mean=config.mean,
            std=config.std,
            doubt=DoubtRule(source.least_score, source.without_flags) if training else DoubtRule(),
        )
    return found


class MixedData(LightningDataModule):
    """The steps of a run, from ``start_step`` on, as this process reads them."""

    def __init__(
        self, config: PretrainMTP, parts: Mapping[str, StoreDataset], start_step: int
    ) -> None:
        super().__init__()
        self.config, self.parts, self.start_step = config, parts, start_step

    def train_dataloader(self) -> DataLoader[dict[str, Batch]]:
        """The loader of this process; called by Lightning when the processes are known."""
        config = self.config
        assert self.trainer is not None
        sizes = {name: len(dataset) for name, dataset in self.parts.items()}
        weights = {name: source.weight for name, source in config.sources.items()}
        sampler = StepSampler(
            sizes,
            batch_shares(
                sizes,
                config.batch_size,
                config.mixing,
                weights if config.mixing == "weights" else None,
            ),
            config.steps,
            start_step=self.start_step,
            seed=config.seed,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
        )
        return train_loader(
            self.parts,
            sampler,
            size_px=config.image_size,
            workers=config.workers,
            pin_memory=torch.cuda.is_available(),
            reference_label_padding=config.reference_label_padding,
        )
