"""One model with decoders in training: its step, its schedule, its moving average."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from geomtp.model import MultiTaskModel
from geomtp.training.balance import UncertaintyBalance
from geomtp.training.configs import Training
from geomtp.training.optimiser import ClipsGradients, adamw, parameter_groups, scheduled
from geomtp.types import Batch


class NonFiniteLossError(ValueError):
    """A loss was NaN or infinite; the message says which, and where its batch was saved."""


def non_finite_loss(
    module: LightningModule, folder: Path, saved: Mapping[str, Any], where: str = ""
) -> NonFiniteLossError:
    """The error to raise at this step; what is to be ``saved`` of its batch is written first."""
    step = module.global_step
    place = folder / f"non_finite_step_{step}_{module.global_rank}.pt"
    torch.save({"step": step, **saved}, place)
    return NonFiniteLossError(
        f"the loss became NaN or infinite at step {step}{where}; its images are saved in {place}: "
        f"look at them, or lower the learning rate and --resume"
    )


class MultiTaskTraining(ClipsGradients):
    """Trains a MultiTaskModel on {source: batch}."""

    def __init__(
        self,
        model: MultiTaskModel,
        config: Training,
        batch_folder: Path,
        balance: UncertaintyBalance | None = None,
    ) -> None:
        """``batch_folder``: where a batch with a non-finite loss is saved.

        ``balance``: weights of the losses that are learned with the model.
        """
        super().__init__()
        self.model, self.balance = model, balance
        if config.freeze_encoder:
            model.encoder.requires_grad_(False)
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

    def train(self, mode: bool = True) -> MultiTaskTraining:
        """Training mode, but for what is frozen."""
        super().train(mode)
        if self.config.freeze_encoder:
            self.model.encoder.eval()
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
        log_variances = None if self.balance is None else self.balance.log_variances
        total, losses = self.model.total_loss(batches, self.config.loss_weights, log_variances)
        self._check_weights(losses)
        if not torch.isfinite(total):
            self._stop(batches, losses)
        rate = self.lr_schedulers().get_last_lr()[-1]  # type: ignore[union-attr]
        logged = {f"loss/{name}": value for name, value in losses.items()}
        self.log_dict(logged | {"loss/total": total.detach(), "lr": rate}, batch_size=1)
        if self.balance is not None:
            factors = {f"balance/{name}": f for name, f in self.balance.factors().items()}
            self.log_dict(factors, batch_size=1)
        by_task = {
            task: torch.stack([v for name, v in losses.items() if name.startswith(task)]).sum()
            for task in self.model.decoders
        }
        self.log_dict(by_task, prog_bar=True, logger=False, batch_size=1)
        return total

    def _check_weights(self, losses: Mapping[str, Tensor]) -> None:
        """Raise ValueError for a weight of a loss that a trained task does not have.

        Any source is passed: a step need not hold all of them.
        """
        known = sorted({loss.rpartition("/")[0] for loss in losses})
        tasks = {name.partition("/")[0] for name in known}
        for name in self.config.loss_weights:
            task, *loss = name.split("/")[:2]
            if loss and task in tasks and f"{task}/{loss[0]}" not in known:
                raise ValueError(
                    f"loss_weights: no loss is called {name!r}; known: {', '.join(known)}"
                )

    def _stop(self, batches: Mapping[str, Batch], losses: Mapping[str, Tensor]) -> None:
        bad = [name for name, value in losses.items() if not torch.isfinite(value)]
        images = {
            source: (batch.image_ids, batch.images.cpu()) for source, batch in batches.items()
        }
        raise non_finite_loss(
            self,
            self.batch_folder,
            {"losses": dict(losses), "images": images},
            f" ({', '.join(bad) or 'in the sum'})",
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
            self,
            self.model.encoder,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
        )
        return scheduled(
            adamw(groups),
            steps=config.steps,
            warmup_steps=config.warmup_steps,
            drops_at=config.drops_at,
        )
