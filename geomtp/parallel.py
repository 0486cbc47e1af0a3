"""What several processes need; each function also works alone, without a process group.

A process is named by its rank, 0…world−1, as in ``torch.distributed``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

Item = TypeVar("Item")

_LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))


def _has_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process, 0…world−1; 0 alone."""
    return dist.get_rank() if _has_group() else 0


_own_rank = rank  # share_of_rank has a parameter of the same name


def world_size() -> int:
    """How many processes work together; 1 alone."""
    return dist.get_world_size() if _has_group() else 1


def is_first() -> bool:
    """Whether this process is the one that writes files and prints."""
    return rank() == 0


def mean_over_processes(value: Tensor) -> Tensor:
    """The mean of ``value`` over all processes, without gradient; ``value`` itself alone.

    Made for the normalisers of losses. Each process divides its own sum by the mean count::

        loss = losses.sum() / mean_over_processes(count).clamp(min=1)

    Averaging the gradients over the processes, as DistributedDataParallel does, then gives the
    gradient of (sum over everything) / (count over everything): the one that a single process
    would compute with the whole batch, however unevenly the counts are spread.

    Args:
        value: any shape, the same in every process; integers become float32.

    Returns:
        A floating-point tensor of the shape and device of ``value``; the same in every process.
    """
    mean = value.detach().clone()
    if not mean.is_floating_point():
        mean = mean.to(torch.float32)
    if _has_group():
        dist.all_reduce(mean)
        mean /= world_size()
    return mean


def gather_objects(items: Sequence[Item]) -> list[Item]:
    """The items of all processes, one process after the other by rank; every process gets all.

    The processes may hold different numbers of items, none included; nothing is cut or repeated.
    The items travel as pickles: numbers, strings, arrays and dataclasses of them.
    """
    if not _has_group():
        return list(items)
    parts: list[list[Item]] = [[] for _ in range(world_size())]
    dist.all_gather_object(parts, list(items))
    return [item for part in parts for item in part]


def share_of_rank(count: int, rank: int | None = None, world: int | None = None) -> range:
    """Which of ``count`` pieces of work this process does: rank, rank + world, rank + 2·world, …

    The shares of all processes hold each index 0…count−1 exactly once: nothing is padded or done
    twice, so shares differ in length by at most one and may be empty.

    Args:
        count: how many pieces there are.
        rank: of the process meant; this one by default.
        world: number of processes; those of the process group by default.
    """
    start = _own_rank() if rank is None else rank
    step = world_size() if world is None else world
    return range(start, count, step)


def launched_as() -> tuple[int, int]:
    """Rank and number of processes that a launcher (torchrun, srun) set; (0, 1) without one.

    Raises ValueError for variables that are no such numbers.
    """
    for rank_name, world_name in _LAUNCHERS:
        texts = os.environ.get(rank_name), os.environ.get(world_name)
        if None in texts:
            continue
        try:
            rank, world = (int(str(text)) for text in texts)
        except ValueError:
            rank, world = -1, 0
        if not 0 <= rank < world:
            raise ValueError(
                f"{rank_name}={texts[0]} and {world_name}={texts[1]} name no process: expected "
                f"numbers 0 ≤ {rank_name} < {world_name}; unset them to run alone"
            )
        return rank, world
    return 0, 1
