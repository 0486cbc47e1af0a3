"""What several processes need; each function also works alone, without a process group.

A process is named by its rank, 0…world−1, as in ``torch.distributed``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

Item = TypeVar("Item")

LONGEST_WAIT = timedelta(minutes=10)
"""How long processes that begin wait for each other."""

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


def rank_on_machine() -> int:
    """The number of this process among those of its machine, as the launcher says; 0 alone."""
    return int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0)


@contextmanager
def processes_of_launcher() -> Iterator[None]:
    """While the block lasts, be one of the processes that torchrun or srun started.

    Without a launcher, or in a group already, nothing happens. Only small things are meant to
    travel (gloo: no GPU is touched). Raises ValueError like ``launched_as``, OSError when not all
    processes come.
    """
    rank, world = launched_as()
    if _has_group() or world == 1:
        yield
        return
    address, port = meeting_place()
    try:
        dist.init_process_group(
            "gloo",
            init_method=f"tcp://{address}:{port}",
            rank=rank,
            world_size=world,
            timeout=LONGEST_WAIT,
        )
    except (RuntimeError, ValueError) as error:  # torch's errors of its store are RuntimeErrors
        raise OSError(
            f"process {rank} of {world} did not meet the others at {address}:{port}: start all of "
            f"them by torchrun or srun ({str(error).splitlines()[0]})"
        ) from error
    try:
        yield
        dist.barrier()  # none leaves while another still writes
    finally:
        dist.destroy_process_group()


def meeting_place() -> tuple[str, int]:
    """Address and port at which the first process listens, as the launcher says.

    Where srun says none, the first machine of the job and a port made of the job's number.
    """
    if {"MASTER_ADDR", "MASTER_PORT"} <= set(os.environ):
        return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    from lightning.fabric.plugins.environments.slurm import SLURMEnvironment  # it reads node lists

    place = SLURMEnvironment()
    return place.main_address, place.main_port


def of_first(call: Callable[[], Item]) -> Item:
    """What ``call`` gives in the first process, which alone calls it; every process gets it.

    An OSError or ValueError is raised in all of them. What it gives travels as a pickle.
    """
    if not _has_group():
        return call()
    outcome: list[Any] = [None]
    if is_first():
        try:
            outcome = [(call(), None)]
        except (OSError, ValueError) as error:
            outcome = [(None, error)]
    dist.broadcast_object_list(outcome)
    value, raised = outcome[0]
    if raised is not None:
        raise raised
    return value


def gather_to_first(items: Sequence[Item]) -> list[Item]:
    """The items of all processes by rank in the first process, none in the others.

    Otherwise like ``gather_objects``, with less memory.
    """
    if not _has_group():
        return list(items)
    parts: list[list[Item]] = [[] for _ in range(world_size())]
    dist.gather_object(list(items), parts if is_first() else None)
    return [item for part in parts for item in part]


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
