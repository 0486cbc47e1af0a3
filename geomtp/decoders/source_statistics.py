"""Batch norm with the running statistics of each source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class SourceStatistics(nn.Module):
    """Running means and variances of the batch norms of a trunk, a set for each source.

    In training a trunk normalises the images of one source by their own statistics. Running
    statistics over all sources are those of none of them, and what was learned does not show when
    they are used (docs/decisions/0006-statistics-by-source.md). Weights and biases stay shared.

    - means, variances: (sources, all channels of all norms)

    The norms' own statistics are the mixture of those of the sources; official files hold only
    them, and ``spread`` gives them to every source.
    """

    means: Tensor
    variances: Tensor

    def __init__(self, trunk: nn.Module, sources: Sequence[str]) -> None:
        super().__init__()
        self.sources = tuple(sources)
        channels = sum(norm.num_features for norm in norms_of(trunk))
        self.register_buffer("means", torch.zeros(len(self.sources), channels))
        self.register_buffer("variances", torch.ones(len(self.sources), channels))

    @contextmanager
    def of(self, source: str, trunk: nn.Module) -> Iterator[None]:
        """Let the norms of ``trunk`` use, and in training update, the statistics of ``source``."""
        row = self.sources.index(source)
        norms = norms_of(trunk)
        shared = [(norm.running_mean, norm.running_var) for norm in norms]
        sizes = [norm.num_features for norm in norms]
        own = zip(self.means[row].split(sizes), self.variances[row].split(sizes), strict=True)
        for norm, (mean, variance) in zip(norms, own, strict=True):
            norm.running_mean, norm.running_var = mean, variance
        try:
            yield
        finally:
            for norm, (mean, variance) in zip(norms, shared, strict=True):
                norm.running_mean, norm.running_var = mean, variance
        if any(norm.training for norm in norms):
            self._mix(trunk)

    @torch.no_grad()
    def _mix(self, trunk: nn.Module) -> None:
        """Give the norms the statistics of all sources in equal parts."""
        mean = self.means.mean(dim=0)
        variance = self.variances.mean(dim=0) + self.means.var(dim=0, unbiased=False)
        norms = norms_of(trunk)
        sizes = [norm.num_features for norm in norms]
        for norm, m, v in zip(norms, mean.split(sizes), variance.split(sizes), strict=True):
            _known(norm.running_mean).copy_(m)
            _known(norm.running_var).copy_(v)

    @torch.no_grad()
    def spread(self, trunk: nn.Module) -> None:
        """Give every source the norms' own statistics."""
        norms = norms_of(trunk)
        self.means.copy_(torch.cat([_known(norm.running_mean) for norm in norms]))
        self.variances.copy_(torch.cat([_known(norm.running_var) for norm in norms]))


def norms_of(trunk: nn.Module) -> list[_BatchNorm]:
    """The batch norms of ``trunk``, synchronised ones too, in its order."""
    return [module for module in trunk.modules() if isinstance(module, _BatchNorm)]


def _known(statistics: Tensor | None) -> Tensor:
    assert statistics is not None, "a batch norm without running statistics"
    return statistics
