"""The folder of a scene in work: its plan, and a file for each block that is done.

Processes and nodes share it without talking to each other. Each does its own share of the blocks;
the one that finds all of them done merges. A killed prediction goes on with the blocks that are
missing.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.checkpoints import replacing
from geomtp.inference.block_results import StoredBlock


@dataclass(frozen=True)
class WorkFolder:
    """``OUT/.NAME.work``; ``blocks``: how many there are."""

    path: Path
    blocks: int

    @staticmethod
    def open(out: Path, name: str, settings: dict[str, Any], blocks: int) -> WorkFolder:
        """The folder of scene ``name``, made if need be.

        ``settings``: what JSON holds and the blocks depend on. Raises ValueError where blocks of
        other settings lie there.
        """
        path = out / f".{name}.work"
        _take_back(path)
        path.mkdir(parents=True, exist_ok=True)
        plan = path / "plan.json"
        if plan.is_file():
            before = json.loads(plan.read_text(encoding="utf-8"))
            if before != settings:
                differing = [k for k in settings if settings[k] != before.get(k)]
                raise ValueError(
                    f"{path} holds part of a prediction with other settings "
                    f"({', '.join(f'{k} {before.get(k)}' for k in differing)}): give the same to "
                    f"go on, or delete that folder"
                )
        else:
            with replacing(plan) as beside:
                beside.write_text(json.dumps(settings), encoding="utf-8")
        return WorkFolder(path, blocks)

    def block(self, number: int) -> StoredBlock:
        """Block ``number``, done or not."""
        return StoredBlock(self.path / f"block-{number:07d}.npz")

    @property
    def done(self) -> list[int]:
        """The numbers of the blocks that are done."""
        return [number for number in range(self.blocks) if self.block(number).exists()]

    @contextmanager
    def merging(self) -> Iterator[WorkFolder | None]:
        """The folder for this process alone, to be merged and thrown away; None if another has it.

        If the block raises, the folder is given back, so that the next call merges again.
        """
        taken = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}")
        try:
            self.path.rename(taken)  # of several processes one succeeds
        except FileNotFoundError:
            yield None
            return
        try:
            yield WorkFolder(taken, self.blocks)
        except BaseException:
            taken.rename(self.path)
            raise
        shutil.rmtree(taken, ignore_errors=True)


def _take_back(path: Path) -> None:
    """Give the folder that a killed process was merging its name again."""
    for taken in path.parent.glob(f"{path.name}-*"):
        if not path.exists() and (taken / "plan.json").is_file():
            taken.rename(path)
