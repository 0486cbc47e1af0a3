"""Long chains of short tensor operations, kept on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch's CPU operators run in the calling thread only; also usable as a decorator.

    The sweep, the clipping and the suppression are hundreds of steps of microseconds each. Handing
    each to all cores and waiting for the slowest gains little where the machine is idle, and where
    another process holds one core it costs a time slice per step: fifty times and more.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
