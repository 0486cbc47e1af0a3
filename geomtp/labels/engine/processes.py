"""Sharing the shards of a labelling run: by a launcher's ranks, or among local processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from multiprocessing.queues import Queue
from queue import Empty
from typing import Any

import torch

from geomtp.labels.engine.generate_config import GenerateLabels
from geomtp.labels.engine.label_shards import ShardLabeller
from geomtp.labels.engine.plan import Plan

_GONE = (
    "a labelling process ended without a word (killed for want of memory?): start again to go on"
)


def label_in_processes(
    config: GenerateLabels, plan: Plan, numbers: Sequence[int], on_image: Callable[[int], None]
) -> None:
    """Label the shards ``numbers`` in ``config.processes`` processes of this machine.

    Each takes the next shard when it is done with one. Raises what a process raised (ValueError or
    OSError), or OSError when one vanished; the others are then ended.
    """
    context = multiprocessing.get_context("spawn")  # CUDA and GDAL do not survive a fork
    count = min(config.processes or 1, len(numbers))
    tasks, news = context.Queue(), context.Queue()
    for number in [*numbers, *[None] * count]:
        tasks.put(number)
    workers = [
        context.Process(target=_work, args=(config, plan, i, count, tasks, news), daemon=True)
        for i in range(count)
    ]
    for worker in workers:
        worker.start()
    try:
        _listen(workers, news, on_image)
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.join()
        for queue in (tasks, news):
            queue.close()
            queue.cancel_join_thread()


def _listen(workers: Sequence[Any], news: Queue[Any], on_image: Callable[[int], None]) -> None:
    """Pass on what the workers say until all have finished."""
    running = len(workers)
    while running:
        try:
            kind, value = news.get(timeout=1.0)
        except Empty:
            # Finished workers ended with 0; one that died has not said goodbye.
            if any(worker.exitcode not in (None, 0) for worker in workers):
                raise OSError(_GONE) from None
            continue
        if kind == "image":
            on_image(value)
        elif kind == "finished":
            running -= 1
        elif kind == "wrong value":
            raise ValueError(value)
        else:
            raise OSError(value)


def _work(
    config: GenerateLabels, plan: Plan, index: int, count: int, tasks: Queue[Any], news: Queue[Any]
) -> None:
    """A local process: label shards until there is none left."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's business
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    parent = os.getppid()

    def on_image(instances: int) -> None:
        news.put(("image", instances))
        if os.getppid() != parent:
            os._exit(1)  # the first process was killed: nobody would merge what is made here

    try:
        labeller = ShardLabeller(config, plan, index)
        while (number := tasks.get()) is not None:
            labeller.label(number, on_image)
        news.put(("finished", None))
    except ValueError as error:
        news.put(("wrong value", str(error)))
    except OSError as error:
        news.put(("failed", str(error)))
