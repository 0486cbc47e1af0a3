"""Processes that share a study, and nothing else."""

from __future__ import annotations

import os

_LAUNCHERS = ("SLURM_", "TORCHELASTIC_")
_PLACES = ("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")


def leave_launcher() -> None:
    """Forget that a launcher (srun, torchrun) started other processes too.

    Each of them does runs of the study by itself; trainings would otherwise wait for each other.
    To be called before Lightning is imported.
    """
    for name in list(os.environ):
        if name.startswith(_LAUNCHERS) or name in _PLACES:
            del os.environ[name]
