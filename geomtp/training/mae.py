"""Masked autoencoding: from a configuration to a folder with an encoder to start from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.utils.data import DataLoader

from geomtp.data.unlabelled import UnlabelledDataset, unlabelled_loader
from geomtp.mae import MaeConfig, MaskedAutoencoder, Masking, load_mae_weights, mask_by_noise
from geomtp.mae.patches import visible_count
from geomtp.training import run
from geomtp.training.curves import Curve, draw_curves, read_metrics
from geomtp.training.mae_config import PretrainMAE
from geomtp.training.mae_data import open_images, prepare_images, wait_for_images
from geomtp.training.module import non_finite_loss
from geomtp.training.optimiser import ClipsGradients, adamw, parameter_groups, scheduled
from geomtp.training.reconstructions import Reconstructions
from geomtp.training.run_folder import RunFolder, is_first_process, last_step
from geomtp.training.stores import Say
from geomtp.training.trainers import fit
from geomtp.types import Batch

MAY_DIFFER = {*run.MAY_DIFFER, "validation_data", "draw_every"}
"""Settings that a resumed run may change: they do not change its numbers."""

BETAS = (0.9, 0.95)


@dataclass(frozen=True)
class MaeResult:
    """How a run ended: its folder, the steps done of those planned, and whether it was stopped."""

    folder: RunFolder
    steps: int
    stopped: bool


def pretrain_mae(config: PretrainMAE, say: Say = print) -> MaeResult:
    """Train, draw and write the run folder ``config.out``.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    run.silence_known_warnings()
    folder = RunFolder(config.out)
    torch.manual_seed(config.seed)
    model = _architecture(config).build(
        activation_checkpointing=config.activation_checkpointing,
    )
    visible_count(model.patch_count, config.mask_ratio)  # raises for what cannot be
    if config.weights and not config.resume:
        report = load_mae_weights(model, config.weights)
        say(f"weights from {config.weights}: {len(report.used)} tensors")
    with folder.opened(config, resume=config.resume, may_differ=MAY_DIFFER):
        if is_first_process():
            prepare_images(config, folder, say)
        else:
            wait_for_images(folder)
        training, held_out = open_images(config, folder)
    start_step = last_step(folder) if config.resume else 0
    steps = config.steps_of(len(training))
    drawing = Reconstructions(
        held_out or training,
        held_out,
        folder,
        _architecture(config, training),
        mask_ratio=config.mask_ratio,
        every=config.draw_every,
        pictures=config.pictures,
    )
    module = MaskedAutoencoding(model, config, steps, folder.path)
    trainer, stopped = fit(
        config,
        folder,
        module,
        UnlabelledSteps(config, training, steps, start_step),
        [drawing],
        steps=steps,
        start_step=start_step,
        say=say,
    )
    if not stopped:
        drawing.draw(trainer, module)
    if trainer.is_global_zero:
        draw_curves(_metrics(folder), folder.path / "curves.png")
    return MaeResult(folder, trainer.global_step, stopped)


def _architecture(config: PretrainMAE, data: UnlabelledDataset | None = None) -> MaeConfig:
    """What is stored beside the weights; with ``data`` its mean and deviation too."""
    return MaeConfig(
        encoder=config.encoder,
        image_size=config.image_size,
        in_channels=config.in_channels,
        decoder_width=config.decoder_width,
        decoder_depth=config.decoder_depth,
        decoder_heads=config.decoder_heads,
        norm_pixels=config.norm_pixels,
        mean=data.mean if data else None,
        std=data.std if data else None,
    )


def story_of(result: MaeResult) -> str:
    """What to tell the user at the end: the losses, where things lie, how to go on."""
    folder = result.folder
    if result.stopped:
        return (
            f"stopped after step {result.steps}; nothing is lost. Go on with:\n"
            f"  geomtp pretrain mae --config {folder.config} --resume"
        )
    metrics = _metrics(folder)
    lines = [
        f"{what:<24} {_began_and_ended(metrics[name])}"
        for name, what in (("loss/total", "loss"), ("val/loss", "loss of held-out images"))
        if name in metrics
    ]
    lines += [
        f"encoder   {folder.encoder}",
        f"whole     {folder.model}",
        f"pictures  {folder.pictures}",
        f"go on with: geomtp pretrain mtp --weights {folder.encoder} …",
    ]
    return "\n".join(lines)


def _metrics(folder: RunFolder) -> dict[str, Curve]:
    """The log; empty for a run shorter than the steps between two of its rows."""
    return read_metrics(folder.metrics) if folder.metrics.is_file() else {}


def _began_and_ended(curve: Curve) -> str:
    """The means of the first and the last tenth of a curve."""
    values = [value for _, value in curve]
    tenth = max(1, len(values) // 10)
    first, last = sum(values[:tenth]) / tenth, sum(values[-tenth:]) / tenth
    return f"{first:.3f} at first, {last:.3f} at last"


class MaskedAutoencoding(ClipsGradients):
    """Trains a MaskedAutoencoder on batches of images."""

    def __init__(
        self, model: MaskedAutoencoder, config: PretrainMAE, steps: int, batch_folder: Path
    ) -> None:
        """``batch_folder``: where a batch with a non-finite loss is saved."""
        super().__init__()
        self.model = model
        self.config, self.steps, self.batch_folder = config, steps, batch_folder

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The loss of the hidden patches."""
        loss = self.model.loss(batch.images, self._masking(len(batch.images)))
        if not torch.isfinite(loss):
            self._stop(batch)
        rate = self.lr_schedulers().get_last_lr()[-1]  # type: ignore[union-attr]
        self.log_dict({"loss/total": loss.detach(), "lr": rate}, batch_size=1)
        self.log("loss", loss.detach(), prog_bar=True, logger=False, batch_size=1)
        return loss

    def _masking(self, images: int) -> Masking:
        """This process's part of the step's masks: the same, however many processes share them."""
        generator = torch.Generator().manual_seed(
            hash((self.config.seed, self.global_step)) % 2**63
        )
        count = images * self.trainer.world_size
        noise = torch.rand(count, self.model.patch_count, generator=generator)
        own = noise[self.global_rank * images :][:images]
        return mask_by_noise(own.to(self.device), self.config.mask_ratio)

    def _stop(self, batch: Batch) -> None:
        images = (batch.image_ids, batch.images.cpu())
        raise non_finite_loss(self, self.batch_folder, {"images": images})

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, warm-up and cosine by step."""
        groups = parameter_groups(
            self.model,
            None,
            learning_rate=self.config.learning_rate,
            weight_decay=self.config.weight_decay,
        )
        return scheduled(
            adamw(groups, betas=BETAS),
            steps=self.steps,
            warmup_steps=self.config.warmup_steps_of(self.steps),
        )


class UnlabelledSteps(LightningDataModule):
    """The steps of a run, from ``start_step`` on, as this process reads them."""

    def __init__(
        self, config: PretrainMAE, dataset: UnlabelledDataset, steps: int, start_step: int
    ) -> None:
        super().__init__()
        self.config, self.dataset = config, dataset
        self.steps, self.start_step = steps, start_step

    def train_dataloader(self) -> DataLoader[Batch]:
        """The loader of this process; called by Lightning when the processes are known."""
        assert self.trainer is not None
        return unlabelled_loader(
            self.dataset,
            batch_size=self.config.batch_size,
            steps=self.steps,
            start_step=self.start_step,
            seed=self.config.seed,
            rank=self.trainer.global_rank,
            world=self.trainer.world_size,
            workers=self.config.workers,
            pin_memory=torch.cuda.is_available(),
        )
