"""What to compute on."""

from __future__ import annotations

import torch


def computing_device(name: str, index: int = 0) -> torch.device:
    """The device ``name``; "auto" is a GPU where there is one, else the CPU.

    ``index``: number of this process, by which the GPUs of a machine are taken in turn.
    Raises ValueError for a device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and torch.cuda.is_available():
        name = f"cuda:{index % torch.cuda.device_count()}"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"cannot compute on device {name!r} ({str(error).splitlines()[0]})"
        ) from None
