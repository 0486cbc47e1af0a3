"""Running a test's function in several gloo processes."""

from __future__ import annotations

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing


def results_of_processes(function: Callable[[], Any], folder: Path, world: int = 2) -> list[Any]:
    """What ``function`` (of a module's top level) returns in each process, by rank.

    The processes meet through a file in ``folder``: no port is needed.
    """
    multiprocessing.spawn(_run, args=(function, str(folder), world), nprocs=world)
    return [pickle.loads((folder / f"{rank}.pkl").read_bytes()) for rank in range(world)]


def _run(rank: int, function: Callable[[], Any], folder: str, world: int) -> None:
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=world)
    result = function()
    (Path(folder) / f"{rank}.pkl").write_bytes(pickle.dumps(result))
    with contextlib.suppress(RuntimeError):  # the other may be gone: it has all it needs
        distributed.barrier()
    # No orderly end: gloo's threads sometimes abort the process while they are taken down.
    os._exit(0)
