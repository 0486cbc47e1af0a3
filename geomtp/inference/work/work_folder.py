"""The folder of a scene in work: its plan, and a file for each block that is done.

Processes and nodes share it without talking to each other. Each does its own share of the blocks;
one that finds all of them done merges. A killed prediction goes on with the blocks that are
missing.
"""

from __future__ import annotations

import glob
import json
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from geomtp.checkpoints import replacing
from geomtp.inference.work.block_results import StoredBlock

_PLAN = "plan.json"


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
        work = WorkFolder(out / f".{name}.work", blocks)
        work.path.mkdir(parents=True, exist_ok=True)
        before = work._plan()
        if before is None:
            with replacing(work.path / _PLAN) as beside:
                beside.write_text(json.dumps(settings), encoding="utf-8")
        elif before != settings:
            differing = [k for k in settings if settings[k] != before.get(k)]
            raise ValueError(
                f"{work.path} holds part of a prediction with other settings "
                f"({', '.join(f'{k} {before.get(k)}' for k in differing)}): give the same to "
                f"go on, or delete that folder"
            )
        return work

    @staticmethod
    def clear(out: Path, name: str, settings: dict[str, Any]) -> None:
        """Remove what is left of a finished scene, of whose blocks nothing is needed any more.

        Blocks of other ``settings`` stay.
        """
        work = WorkFolder(out / f".{name}.work", 0)
        if work._plan() == settings:
            work._remove()
        for gone in out.glob(f"{glob.escape(work.path.name)}-*"):
            shutil.rmtree(gone, ignore_errors=True)

    def _plan(self) -> dict[str, Any] | None:
        plan = self.path / _PLAN
        return json.loads(plan.read_text(encoding="utf-8")) if plan.is_file() else None

    def block(self, number: int) -> StoredBlock:
        """Block ``number``, done or not."""
        return StoredBlock(self.path / f"block-{number:07d}.npz")

    @property
    def done(self) -> list[int]:
        """The numbers of the blocks that are done."""
        return [number for number in range(self.blocks) if self.block(number).exists()]

    @contextmanager
    def merging(self) -> Iterator[bool]:
        """Whether the blocks are this process's to merge; False while another merges them.

        The folder is removed at the end, but not if the block raises or the process is killed: then
        the next one merges.
        """
        lock = FileLock(self.path / "merging.lock")  # the system frees it when its process dies
        try:
            lock.acquire(blocking=False)
        except (Timeout, FileNotFoundError):
            yield False
            return
        try:
            yield True
        finally:
            lock.release()
        self._remove()

    def _remove(self) -> None:
        """All of it at once, so that no other process finds a part of it."""
        gone = self.path.with_name(f"{self.path.name}-{uuid.uuid4().hex}")
        try:
            self.path.rename(gone)
        except OSError:  # another process was faster, or reads in it where systems mind that
            return
        shutil.rmtree(gone, ignore_errors=True)
