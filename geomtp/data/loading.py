"""Data loaders whose workers leave Ctrl-C alone and whose errors arrive as they were raised."""

from __future__ import annotations

import signal
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset


@dataclass(frozen=True)
class Failure:
    """An error in a worker, on its way to the process that asked."""

    error: OSError | ValueError


class _Loader(DataLoader[Any]):
    """A data loader that raises a worker's error as it was, without the worker's traceback, and
    leaves out batches of nothing.
    """

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            if isinstance(batch, Failure):
                # A copy: an error that this frame holds holds this frame, and with it the workers.
                raise copy(batch.error)
            if batch is not None:
                yield batch


def loader_of(
    samples: Dataset[Any],
    steps: Any,
    collect: Callable[[Any], Any],
    workers: int,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """A loader of the batches that ``collect`` makes of the samples of each of ``steps``.

    A batch that is a ``Failure`` raises its error, one that is None is left out. ``workers`` 0
    reads in this process.
    """
    return _Loader(
        samples,
        batch_sampler=steps,
        collate_fn=collect,
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_prepare_worker,
    )


def _prepare_worker(worker: int) -> None:
    """One thread, since there are other workers; Ctrl-C is the main process's to handle."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
