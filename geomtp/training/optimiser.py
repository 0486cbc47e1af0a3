"""AdamW with layer-wise learning-rate decay, and the cosine schedule."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from geomtp.encoders.encoder import Encoder

WARMUP_START = 1e-6
"""Factor of the learning rate at the first step of a warm-up."""


def parameter_groups(
    model: nn.Module,
    encoder: Encoder | None,
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float | None = None,
) -> list[dict[str, Any]]:
    """Groups for AdamW, one per layer and kind; each has ``params``, ``names``, ``lr`` and more.

    - encoder: the part of ``model`` whose layers are counted; what is outside learns at the full
      rate; None where there is no layer_decay
    - layer_decay: a layer learns at ``layer_decay`` times the rate of the next one; None: all alike

    Vectors, biases, position embeddings and what ``encoder.undecayed`` names are not decayed
    towards zero. Relative position tables of ViT + RVSA are, as in the reference.
    """
    layers, last = {}, 0
    spared: set[int] = set()
    if encoder is not None:
        spared = {id(encoder.get_parameter(name)) for name in encoder.undecayed()}
        layers = {id(p): encoder.layer_of(name) for name, p in encoder.named_parameters()}
        last = encoder.num_layers + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        layer = last if layer_decay is None else layers.get(id(parameter), last)
        plain = parameter.ndim <= 1 or name.endswith(".bias") or "pos_embed" in name
        decayed = not (plain or id(parameter) in spared)
        scale = 1.0 if layer_decay is None else layer_decay ** (last - layer)
        group = groups.setdefault(
            (layer, decayed),
            {
                "params": [],
                "names": [],
                "lr": learning_rate * scale,
                "weight_decay": weight_decay if decayed else 0.0,
                "scale": scale,
            },
        )
        group["params"].append(parameter)
        group["names"].append(name)
    return [groups[key] for key in sorted(groups)]


def adamw(
    groups: Iterable[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.AdamW:
    """AdamW as in the reference: epsilon 1e-8."""
    kept = [{k: v for k, v in group.items() if k not in ("names", "scale")} for group in groups]
    return torch.optim.AdamW(kept, betas=betas, eps=1e-8, fused=True)


def learning_rate_factor(
    step: int, *, steps: int, warmup_steps: int = 0, drops_at: Sequence[int] = ()
) -> float:
    """Factor of the learning rate at ``step`` (from 0): linear warm-up, then cosine to zero.

    With ``drops_at`` there is no cosine: the rate is a tenth of what it was from each of them on.
    """
    warm = 1.0
    if step < warmup_steps:
        warm = WARMUP_START + (1 - WARMUP_START) * step / max(1, warmup_steps - 1)
    if drops_at:
        return float(warm * 0.1 ** sum(step >= drop for drop in drops_at))
    if step < warmup_steps:
        return warm
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return (1 + math.cos(math.pi * min(1.0, progress))) / 2


def scheduled(
    optimiser: Optimizer, *, steps: int, warmup_steps: int = 0, drops_at: Sequence[int] = ()
) -> OptimizerLRScheduler:
    """``optimiser`` and its ``learning_rate_factor``, step by step, as Lightning takes them."""

    def factor(step: int) -> float:
        return learning_rate_factor(step, steps=steps, warmup_steps=warmup_steps, drops_at=drops_at)

    return {
        "optimizer": optimiser,
        "lr_scheduler": {"scheduler": LambdaLR(optimiser, factor), "interval": "step"},
    }


class ClipsGradients(LightningModule):
    """A training whose gradients are clipped in every precision.

    Lightning refuses to in mixed precision when AdamW is fused, because of loss scaling; bf16 has
    none.
    """

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip all gradients together, if that is wanted."""
        if gradient_clip_val is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            clip_gradients(parameters, gradient_clip_val)


def clip_gradients(parameters: Iterable[Tensor], max_norm: float) -> Tensor:
    """Scale the gradients to at most ``max_norm`` together; their norm before."""
    return torch.nn.utils.clip_grad_norm_(parameters, max_norm)
