"""Several sources in one data loader: what each step reads is a function of the step alone."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from geomtp.data.dataset import Sample, StoreDataset, collate
from geomtp.data.loading import Failure, loader_of
from geomtp.parallel import share_of_rank
from geomtp.types import Batch

Key = tuple[str, int, int]
"""Source, how often the source was gone through before, and the index of an image in it."""


class StepSampler(Sampler[list[Key]]):
    """What each step reads: a list of (source, source epoch, index), the sources in order.

    Every source is gone through again and again, each time in a new order, so that no source's
    length ends an epoch. With B = shares[source] and W = ``world``, step k reads the images number
    k·B·W … (k + 1)·B·W − 1 of that endless walk, and rank r of those the r-th part, r·B … (r + 1)·B
    − 1. So all ranks together read what one process with the batch of all would, and resuming is
    starting at another step. The order of source epoch e is drawn from (seed, source's name, e).

    ``len()`` is the number of ALL steps; iteration begins at ``start_step``.

    Args:
        sizes: number of images of each source.
        shares: images of each source in one step of one process.
        steps: number of steps.
        start_step: the first step, 0 unless a run is resumed.
        seed: of the orders.
        rank: this process, 0…world − 1.
        world: number of processes.

    Raises ValueError for sources without images, shares below 1, or names that do not match.
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        shares: Mapping[str, int],
        steps: int,
        start_step: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if set(sizes) != set(shares):
            raise ValueError(
                f"sizes and shares must name the same sources, "
                f"got {', '.join(sorted(sizes))} and {', '.join(sorted(shares))}"
            )
        _check_sizes(sizes)
        low = [source for source, share in shares.items() if share < 1]
        if low:
            raise ValueError(f"every source needs at least one image a step: {', '.join(low)}")
        if not 0 <= rank < world:
            raise ValueError(f"rank must lie in 0…{world - 1}, got {rank}")
        self.sizes, self.shares = dict(sizes), dict(shares)
        self.steps, self.start_step, self.seed = steps, start_step, seed
        self.rank, self.world = rank, world
        self._orders: dict[str, tuple[int, NDArray[np.int64]]] = {}

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[list[Key]]:
        return (self.step(step) for step in range(self.start_step, self.steps))

    def step(self, step: int) -> list[Key]:
        """What this process reads at ``step``."""
        keys = []
        for source, share in self.shares.items():
            first = (step * self.world + self.rank) * share
            keys += [self._at(source, position) for position in range(first, first + share)]
        return keys

    def _at(self, source: str, position: int) -> Key:
        epoch, place = divmod(position, self.sizes[source])
        known = self._orders.get(source)
        if known is None or known[0] != epoch:
            rng = np.random.default_rng((self.seed, zlib.crc32(source.encode()), epoch))
            known = (epoch, rng.permutation(self.sizes[source]))
            self._orders[source] = known
        return (source, epoch, int(known[1][place]))


def batch_shares(
    sizes: Mapping[str, int],
    batch_size: int,
    mixing: Literal["avg", "ratio", "weights"],
    weights: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """How many images of each source one step of one process holds, at least one of each.

    - "avg": the same number of each, batch_size divided by the number of sources, rounded down
    - "ratio": in proportion to the sources' sizes; "weights": in proportion to ``weights``. The
      shares add up to ``batch_size``; what rounding leaves goes to the largest remainders

    Raises ValueError when ``batch_size`` is smaller than the number of sources, for sources without
    images, for an unknown mixing, and for weights that are missing, not wanted or not positive.
    """
    _check_sizes(sizes)
    if batch_size < len(sizes):
        raise ValueError(
            f"a batch of {batch_size} cannot hold an image of each of {len(sizes)} sources "
            f"({', '.join(sizes)}): take a batch size of {len(sizes)} or more"
        )
    if mixing not in ("avg", "ratio", "weights"):
        raise ValueError(f"unknown mixing {mixing!r}; known: avg, ratio, weights")
    if (mixing == "weights") != (weights is not None):
        raise ValueError("weights are given with the mixing 'weights', and only then")
    if mixing == "avg":
        return {source: batch_size // len(sizes) for source in sizes}
    parts: Mapping[str, float] = sizes if weights is None else weights
    if set(parts) != set(sizes) or not all(0 < part < float("inf") for part in parts.values()):
        raise ValueError(
            f"weights must give each source ({', '.join(sizes)}) a positive number, got {weights}"
        )
    return _apportioned(batch_size, {source: float(parts[source]) for source in sizes})


def _apportioned(total: int, parts: Mapping[str, float]) -> dict[str, int]:
    """``total`` in proportion to ``parts``, at least one each, by largest remainders."""
    shares: dict[str, int] = {}
    rest, open_parts = total, dict(parts)
    # Those whose quota is below one get one; the others share what is left.
    while small := [s for s, p in open_parts.items() if p * rest < sum(open_parts.values())]:
        for source in small:
            shares[source] = 1
            del open_parts[source]
        rest = total - len(shares)
    quotas = {s: p * rest / sum(open_parts.values()) for s, p in open_parts.items()}
    shares |= {source: int(quota) for source, quota in quotas.items()}
    missing = total - sum(shares.values())
    for source in sorted(quotas, key=lambda s: int(quotas[s]) - quotas[s])[:missing]:
        shares[source] += 1
    return {source: shares[source] for source in parts}


def _check_sizes(sizes: Mapping[str, int]) -> None:
    if not sizes:
        raise ValueError("no sources: at least one is needed")
    empty = [source for source, size in sizes.items() if size < 1]
    if empty:
        raise ValueError(f"these sources hold no images: {', '.join(empty)}; leave them out")


_Read = tuple[str, Sample | Failure]


class _Views(Dataset[_Read]):
    """The training views of several sources by key, each with its source."""

    def __init__(self, datasets: Mapping[str, StoreDataset]) -> None:
        self._datasets = dict(datasets)

    def __getitem__(self, key: Key) -> _Read:
        source, epoch, index = key
        try:
            return source, self._datasets[source].get(epoch, index)
        except (OSError, ValueError) as error:
            return source, Failure(error)


class _Images(Dataset[Sample | Failure | None]):
    """The images of one source by index; None for one to be left out."""

    def __init__(self, dataset: StoreDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, index: int) -> Sample | Failure | None:
        try:
            return self._dataset.get_or_none(index)
        except (OSError, ValueError) as error:
            return Failure(error)


def _batches(
    read: Sequence[_Read], size_px: int, reference_label_padding: bool
) -> dict[str, Batch] | Failure:
    """One batch of each source, or the first failure."""
    by_source: dict[str, list[Sample]] = {}
    for source, sample in read:
        if isinstance(sample, Failure):
            return sample
        by_source.setdefault(source, []).append(sample)
    return {
        source: collate(samples, source, size_px, reference_label_padding=reference_label_padding)
        for source, samples in by_source.items()
    }


def _batch(read: Sequence[Sample | Failure | None], source: str) -> Batch | Failure | None:
    """The batch of those that are not left out, None of none, or the first failure."""
    samples = []
    for sample in read:
        if isinstance(sample, Failure):
            return sample
        if sample is not None:
            samples.append(sample)
    return collate(samples, source) if samples else None


def train_loader(
    datasets: Mapping[str, StoreDataset],
    sampler: StepSampler,
    *,
    size_px: int,
    workers: int,
    pin_memory: bool = False,
    reference_label_padding: bool = False,
) -> DataLoader[dict[str, Batch]]:
    """A loader of the steps of ``sampler``; each is {source: batch}, canvases ``size_px`` or more.

    What comes does not depend on the number of ``workers`` (0: in this process). Raises ValueError
    when sampler and data sets do not match; iterating raises OSError or ValueError naming a file
    that cannot be used.
    """
    sizes = {source: len(dataset) for source, dataset in datasets.items()}
    if sizes != sampler.sizes:
        raise ValueError(f"the sampler was made for {sampler.sizes}, the data sets are {sizes}")
    collect = partial(_batches, size_px=size_px, reference_label_padding=reference_label_padding)
    return loader_of(_Views(datasets), sampler, collect, workers, pin_memory)


def validation_loader(
    dataset: StoreDataset,
    source: str,
    *,
    batch_size: int = 1,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    limit: int | None = None,
) -> DataLoader[Batch]:
    """A loader of this rank's share of ``dataset``: over all ranks each image comes exactly once.

    Nothing is padded or repeated, so shares may differ by one image and be empty. ``limit``: only
    so many images, evenly spread. Raises ValueError for a batch size or limit below 1; iterating
    raises like ``train_loader``.
    """
    if batch_size < 1 or (limit is not None and limit < 1):
        raise ValueError(f"batch_size and limit must be positive, got {batch_size} and {limit}")
    count = len(dataset) if limit is None else min(limit, len(dataset))
    spread = [(2 * i + 1) * len(dataset) // (2 * count) for i in range(count)]
    own = [spread[i] for i in share_of_rank(count, rank, world)]
    steps = [own[i : i + batch_size] for i in range(0, len(own), batch_size)]
    return loader_of(_Images(dataset), steps, partial(_batch, source=source), workers)
