"""Do tasks and sources want the same of the shared encoder? Their gradients, compared."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from geomtp.checkpoints import replacing
from geomtp.model import MultiTaskModel, loss_weight
from geomtp.training.run_folder import RunFolder
from geomtp.types import Batch

CONFLICTS_NAME = "conflicts.json"
"""The measurements of a run, in its folder."""

Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Agreement:
    """How the gradients of several parties agree, the mean over the steps looked at.

    - names: of the parties, in the order of rows and columns
    - cosines: between their gradients, −1…1; NaN where one has no gradient
    - opposed: share of the steps in which the cosine was below zero, 0…1
    """

    names: tuple[str, ...]
    cosines: Matrix
    opposed: Matrix

    def pairs(self) -> dict[str, float]:
        """The cosine of each two parties, by "a+b"."""
        names = self.names
        return {
            f"{names[i]}+{names[j]}": self.cosines[i][j]
            for i in range(len(names))
            for j in range(i + 1, len(names))
        }


@dataclass(frozen=True)
class Conflicts:
    """What the losses want of the encoder's parameters, measured on some steps' images.

    - tasks: agreement of the tasks, each task's gradient summed over its sources; sources: the
      other way round
    - norms: L2 norm of the gradient of each "task/source", the mean over the steps
    - losses: their values, likewise, weighed as in training
    - steps: how many steps were looked at
    """

    tasks: Agreement
    sources: Agreement
    norms: dict[str, float]
    losses: dict[str, float]
    steps: int

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Conflicts:
        """The inverse of ``dataclasses.asdict`` by way of JSON."""

        def agreement(entry: Mapping[str, Any]) -> Agreement:
            rows = (tuple(tuple(row) for row in entry[name]) for name in ("cosines", "opposed"))
            return Agreement(tuple(entry["names"]), *rows)

        parts = {name: agreement(values[name]) for name in ("tasks", "sources")}
        return Conflicts(**{**values, **parts})


def measure_conflicts(
    model: MultiTaskModel,
    steps: Iterable[Mapping[str, Batch]],
    *,
    weights: Mapping[str, float] | None = None,
    factors: Mapping[str, float] | None = None,
    seed: int = 0,
) -> Conflicts:
    """Compare the gradients of tasks and of sources on the encoder of ``model``.

    ``model`` and the random numbers of its training stay as they are: a copy is looked at, each
    part in the mode (training or not) in which it is, on the device where it is.

    - steps: what a training step reads, several times: {source: batch}
    - weights: of the losses, as for ``MultiTaskModel.total_loss``; factors: by "task/source", in
      addition
    - seed: of what is drawn at random in a step (sampling of regions, dropped branches)

    Raises ValueError when ``steps`` is empty or no parameter of the encoder is trained.
    """
    model = copy.deepcopy(model)
    device = next(model.parameters()).device
    seen: list[tuple[dict[str, Tensor], dict[str, float]]] = []
    with torch.random.fork_rng(), torch.enable_grad():
        for number, batches in enumerate(steps):
            torch.manual_seed(hash((seed, number)) % 2**63)
            here = {source: batch.to(device) for source, batch in batches.items()}
            seen.append(_gradients(model, here, weights or {}, factors or {}))
    if not seen:
        raise ValueError("to compare gradients at least one step is needed")
    names = list(seen[0][0])
    count = len(seen)
    return Conflicts(
        tasks=_agreement([_summed(gradients, 0) for gradients, _ in seen]),
        sources=_agreement([_summed(gradients, 1) for gradients, _ in seen]),
        norms={name: sum(float(g[name].norm()) for g, _ in seen) / count for name in names},
        losses={name: sum(losses[name] for _, losses in seen) / count for name in names},
        steps=count,
    )


def _gradients(
    model: MultiTaskModel,
    batches: Mapping[str, Batch],
    weights: Mapping[str, float],
    factors: Mapping[str, float],
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The gradient (P,) of each "task/source" on the encoder's parameters, and its loss."""
    parameters = [p for p in model.encoder.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError("no parameter of the encoder is trained: there is nothing to compare")
    totals: dict[str, Tensor] = {}
    for name, value in model.loss(batches).items():
        task, *_, source = name.split("/")
        part = value * loss_weight(name, weights) * factors.get(f"{task}/{source}", 1.0)
        totals[f"{task}/{source}"] = totals.get(f"{task}/{source}", 0.0) + part
    gradients = {}
    for name, total in totals.items():
        found = torch.autograd.grad(total, parameters, retain_graph=True, allow_unused=True)
        pairs = zip(found, parameters, strict=True)
        gradients[name] = torch.cat(
            [(torch.zeros_like(p) if g is None else g).flatten().float() for g, p in pairs]
        )
    return gradients, {name: float(total.detach()) for name, total in totals.items()}


def _summed(gradients: Mapping[str, Tensor], part: int) -> dict[str, Tensor]:
    """The gradients added up by one part of their names: 0 the task, 1 the source."""
    found: dict[str, Tensor] = {}
    for name, gradient in gradients.items():
        key = name.split("/", 1)[part]
        found[key] = found[key] + gradient if key in found else gradient
    return found


def _agreement(steps: Sequence[Mapping[str, Tensor]]) -> Agreement:
    names = tuple(steps[0])
    cosines = torch.stack([_cosines([step[name] for name in names]) for step in steps])
    opposed = (cosines < 0).double()
    opposed[cosines.isnan()] = torch.nan
    return Agreement(names, _matrix(cosines.nanmean(dim=0)), _matrix(opposed.nanmean(dim=0)))


def _cosines(gradients: Sequence[Tensor]) -> Tensor:
    """Cosines between gradients (P,), as a matrix in float64; NaN for one without length."""
    stacked = torch.stack(list(gradients))
    products = (stacked @ stacked.T).double()
    lengths = products.diagonal().sqrt()
    return products / (lengths[:, None] * lengths[None, :])


def _matrix(values: Tensor) -> Matrix:
    return tuple(tuple(float(value) for value in row) for row in values)


class ConflictLog(Callback):
    """Measures conflicts every so many steps, and when training ends; writes ``conflicts.json``.

    That is a list of {"step": …, and the fields of ``Conflicts``}. With several processes each
    looks at its own images, and the first one's figures are written.
    """

    def __init__(
        self, steps: Iterable[Mapping[str, Batch]], folder: RunFolder, every: int, seed: int
    ) -> None:
        """``steps``: what is looked at, the same each time; ``every``: at least 1."""
        self.steps, self.every, self.seed = steps, every, seed
        self.path = folder.path / CONFLICTS_NAME

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure before the first step."""
        if trainer.global_step == 0:
            self.measure(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Measure when it is time."""
        step = trainer.global_step
        if step % self.every == 0 or step == trainer.max_steps:
            self.measure(trainer, pl_module)

    def measure(self, trainer: Trainer, module: Any) -> None:
        """Measure, log and write. ``module``: a ``MultiTaskTraining``."""
        found = measure_conflicts(
            module.train().model,
            self.steps,
            weights=module.config.loss_weights,
            factors=None if module.balance is None else module.balance.factors(),
            seed=self.seed,
        )
        flat = {f"conflict/{name}": value for name, value in found.tasks.pairs().items()}
        flat |= {f"conflict/{name}": value for name, value in found.sources.pairs().items()}
        flat |= {f"gradient/{name}": value for name, value in found.norms.items()}
        for logger in trainer.loggers:
            logger.log_metrics(flat, trainer.global_step)
        if trainer.is_global_zero:
            self._write(found, trainer.global_step)
        trainer.strategy.barrier()

    def _write(self, found: Conflicts, step: int) -> None:
        earlier = []
        if self.path.is_file():
            earlier = [e for e in json.loads(self.path.read_text("utf-8")) if e["step"] < step]
        with replacing(self.path) as part:
            text = json.dumps([*earlier, {"step": step, **asdict(found)}], indent=1)
            part.write_text(text + "\n", encoding="utf-8")
