"""Running statistics of batch norms, measured anew with the weights that training ended on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from geomtp.model import MultiTaskModel
from geomtp.training.module import MultiTaskTraining
from geomtp.types import Batch


class StatisticsAnew(Callback):
    """Measures them after the last step, before the model is validated and written.

    Statistics that are kept while training are those of the last ten batches or so: few values
    where maps are coarse and batches small, and of weights that still move in a short training.
    """

    def __init__(self, steps: Iterable[Mapping[str, Batch]]) -> None:
        """``steps``: what training steps read, {source: batch}, the same in every process."""
        self.steps = steps

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Measure if that was the last step."""
        if trainer.global_step == trainer.max_steps:
            assert isinstance(pl_module, MultiTaskTraining)
            learned = {
                name for name, norm in norms_by_name(pl_module.model).items() if norm.training
            }
            with torch.random.fork_rng():
                torch.manual_seed(pl_module.config.seed)
                measure_statistics(pl_module.trained, self.steps, learned)
            pl_module.train()


@torch.no_grad()
def measure_statistics(
    model: MultiTaskModel, steps: Iterable[Mapping[str, Batch]], names: Iterable[str]
) -> None:
    """Give batch norms the mean of the statistics of all ``steps``, as training sees images.

    What they had before is forgotten; the model is left in training mode, but for other norms.

    - steps: {source: batch}, the same sources in each
    - names: of the norms, as in ``model.named_modules()``; others stay as they are
    """
    device = next(model.parameters()).device
    norms, chosen = norms_by_name(model), set(names)
    model.train()
    for name, norm in norms.items():
        norm.train(name in chosen)
    momenta = {name: norms[name].momentum for name in chosen}
    for number, batches in enumerate(steps, start=1):
        for name in chosen:
            norms[name].momentum = 1 / number  # the mean over all steps so far
        model.total_loss({source: batch.to(device) for source, batch in batches.items()})
    for name, momentum in momenta.items():
        norms[name].momentum = momentum


def norms_by_name(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch norms of a model, by their names in ``named_modules``."""
    return {name: part for name, part in model.named_modules() if isinstance(part, _BatchNorm)}
