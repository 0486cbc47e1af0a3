"""Choosing which of the assigned boxes a step trains on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from geomtp.decoders.detection.assignment import BACKGROUND


@dataclass(frozen=True)
class Sampler:
    """At most ``count`` boxes of an image, at most ``positive_fraction`` of them objects."""

    count: int
    positive_fraction: float

    def sample(self, assigned: Tensor) -> tuple[Tensor, Tensor]:
        """Indices of the chosen objects and of the chosen background.

        ``assigned`` (N,) as ``assign`` gives it. Where all fit, all are taken in their order.
        """
        positives = _at_most(
            int(self.count * self.positive_fraction), torch.nonzero(assigned >= 0)[:, 0]
        )
        negatives = torch.nonzero(assigned == BACKGROUND)[:, 0]
        return positives, _at_most(self.count - len(positives), negatives)


def _at_most(count: int, indices: Tensor) -> Tensor:
    """At most ``count`` of ``indices``, drawn at random."""
    if len(indices) <= count:
        return indices
    return indices[torch.randperm(len(indices))[:count].to(indices.device)]
