"""Validation during training: scores, models to keep, pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from geomtp.checkpoints import replacing, save_weights
from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.inference.evaluate import evaluate, predict_batch
from geomtp.model import MultiTaskModel, save
from geomtp.training.adapters import merged
from geomtp.training.change_pictures import change_comparison
from geomtp.training.comparisons import comparison
from geomtp.training.pictures import Picture, contact_sheet, displayable, save_picture
from geomtp.training.run_folder import RunFolder
from geomtp.types import Batch, Predictions

HEADLINES = (
    "semantic/miou",
    "box/ap50",
    "mask/ap50",
    "rotated/ap50",
    "scene/accuracy",
    "change/f1",
)
"""The figures that are printed, and whose mean decides which model is best."""

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class ValidationSet:
    """The held-out images of each source."""

    datasets: Mapping[str, StoreDataset]
    workers: int
    limit: int | None

    def loaders(self, rank: int = 0, world: int = 1) -> dict[str, DataLoader[Batch]]:
        """One loader per source, of this process's share."""
        return {
            source: validation_loader(
                dataset, source, rank=rank, world=world, workers=self.workers, limit=self.limit
            )
            for source, dataset in self.datasets.items()
        }

    def scores(self, model: MultiTaskModel, rank: int = 0, world: int = 1) -> Scores:
        """The scores of ``model`` on every source."""
        classes = {source: dataset.store.classes for source, dataset in self.datasets.items()}
        return evaluate(model, self.loaders(rank, world), classes)

    @property
    def counts(self) -> dict[str, int]:
        """How many images of each source are looked at."""
        sizes = {source: len(dataset) for source, dataset in self.datasets.items()}
        return {source: min(size, self.limit or size) for source, size in sizes.items()}

    def draw(self, model: MultiTaskModel, folder: RunFolder, count: int) -> None:
        """Write one picture per source: ``count`` images, predictions below the truth."""
        for source, dataset in self.datasets.items():
            loader = validation_loader(dataset, source, limit=count)
            panels = [
                picture_of(batch, predict_batch(model, batch)[0], dataset) for batch in loader
            ]
            if panels:
                save_picture(contact_sheet(panels, 1), folder.pictures / f"{source}.png")


def picture_of(batch: Batch, found: Predictions, dataset: StoreDataset) -> Image.Image:
    """The first image of ``batch`` with its truth and ``found``, what a model says of it."""
    height, width = batch.image_sizes_hw[0]
    mean, std = dataset.info.mean, dataset.info.std

    def shown(images: Tensor) -> Picture:
        return _at_size(displayable(images[0, :, :height, :width], mean, std), batch)

    image, truth = shown(batch.images), batch.targets[0]
    if batch.images_after is None:
        return comparison(image, truth, found, dataset.store.classes)
    return change_comparison(image, shown(batch.images_after), truth, found)


def _at_size(image: np.ndarray, batch: Batch) -> np.ndarray:
    """The picture in the file's own size, to which truth and predictions belong."""
    if batch.original_sizes_hw is None or batch.original_sizes_hw[0] == image.shape[:2]:
        return image
    size_hw = batch.original_sizes_hw[0]
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    resized = torch.nn.functional.interpolate(tensor, size=size_hw, mode="bilinear")
    return resized[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def mean_headline(scores: Scores) -> float:
    """The mean of all headline figures of all sources, 0…1; figures that are NaN are left out."""
    values = [source[name] for source in scores.values() for name in HEADLINES if name in source]
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else 0.0


class Validation(Callback):
    """Validates every so many steps and at the end; keeps the latest and the best model."""

    def __init__(
        self,
        held_out: ValidationSet,
        folder: RunFolder,
        *,
        every: int,
        pictures: int,
        first: bool = False,
    ) -> None:
        """``every``: steps between validations, 0 for none; ``first``: before training too."""
        self.held_out, self.folder = held_out, folder
        self.every, self.pictures, self.first = every, pictures, first
        self.scores: Scores = {}
        self.best = -1.0
        self._done_at = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the untrained model if that is wanted."""
        if self.first and trainer.global_step == 0:
            self.validate(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Validate after every ``every`` steps."""
        if self.every and trainer.global_step % self.every == 0:
            self.validate(trainer, pl_module)

    def validate(self, trainer: Trainer, module: Any) -> None:
        """Score, log, and write models and pictures, unless this step was validated before.

        ``module``: a LightningModule whose ``trained`` is the model to look at.
        """
        if trainer.global_step == self._done_at:
            return
        self._done_at = trainer.global_step
        model: MultiTaskModel = module.trained
        self.scores = self.held_out.scores(model, trainer.global_rank, trainer.world_size)
        flat = {
            f"val/{source}/{name}": value
            for source, values in self.scores.items()
            for name, value in values.items()
            if not math.isnan(value)
        }
        headline = mean_headline(self.scores)
        for logger in trainer.loggers:
            logger.log_metrics(flat | {"val/mean": headline}, trainer.global_step)
        if trainer.is_global_zero:
            self._write(model.eval(), headline, trainer.global_step)
        module.train()
        trainer.strategy.barrier()
        self.best = max(self.best, headline)

    def _write(self, model: MultiTaskModel, headline: float, step: int) -> None:
        write_models(model, self.folder)
        write_scores(self.scores, step, self.held_out.counts, self.folder)
        if headline > self.best:
            save(merged(model), self.folder.best)
        if self.pictures:
            with torch.no_grad():
                self.held_out.draw(model, self.folder, self.pictures)

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run must know."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse of ``state_dict``."""
        self.best = state_dict["best"]


def write_scores(scores: Scores, step: int, counts: Mapping[str, int], folder: RunFolder) -> None:
    """Write the step, the images looked at and the scores by source; what is not defined is null.

    As JSON.
    """
    known = {
        source: {name: None if math.isnan(v) else v for name, v in values.items()}
        for source, values in scores.items()
    }
    text = json.dumps({"step": step, "images": dict(counts), "scores": known}, indent=1)
    with replacing(folder.scores) as part:
        part.write_text(f"{text}\n", "utf-8")


def write_models(model: MultiTaskModel, folder: RunFolder) -> None:
    """Write the model, and its encoder alone, for those who need no decoder."""
    model = merged(model)
    save(model, folder.model)
    save_encoder(model, folder)


def save_encoder(model: MultiTaskModel, folder: RunFolder) -> None:
    """Write the encoder alone, for those who need no decoder."""
    assert model.config is not None
    config = model.config
    info = {
        "kind": "encoder",
        "encoder": config.encoder,
        "image_size": config.image_size,
        "in_channels": config.in_channels,
        "encoder_options": dict(config.encoder_options),
    }
    save_weights(model.encoder.state_dict(), folder.encoder, info)
