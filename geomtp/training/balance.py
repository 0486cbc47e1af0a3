"""Learned weights of the losses of tasks and sources, beside their plain sum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from geomtp.model import MultiTaskModel


class UncertaintyBalance(nn.Module):
    """One learned log variance s for each task of each source (Kendall et al. 2018, 1705.07115).

    The loss L of a task of a source counts as exp(−s)·L + s, twice the paper's L / (2σ²) + log σ
    with s = log σ². At first s is 0, which is the plain sum; where the gradient of s is zero every
    weighed loss is 1.
    """

    def __init__(self, names: Iterable[str]) -> None:
        """``names``: of the losses, "task/source"."""
        super().__init__()
        self._of_name = nn.ParameterDict({name: nn.Parameter(torch.zeros(())) for name in names})

    @staticmethod
    def of(model: MultiTaskModel) -> UncertaintyBalance:
        """One for each task of each source that ``model`` has a classifier for."""
        assert model.config is not None
        return UncertaintyBalance(
            f"{task}/{source}" for source in model.config.sources for task in model.tasks_of(source)
        )

    @property
    def log_variances(self) -> Mapping[str, Tensor]:
        """S by "task/source", scalars that are trained."""
        return cast(Mapping[str, Tensor], self._of_name)

    def factors(self) -> dict[str, float]:
        """What each loss is multiplied by at present: exp(−s) by "task/source"."""
        return {name: float((-s.detach()).exp()) for name, s in self._of_name.items()}
