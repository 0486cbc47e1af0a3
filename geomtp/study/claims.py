"""Cells of work in a shared folder: each is taken by one process at a time, and by no two at once.

Who takes a cell writes the next ``claim-NNNN.json`` into its folder, which only one process can
create, and touches it now and then. A claim counts no longer when it was given up, when its process
is gone (on the same machine) or when it was not touched for a while (on any).
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.checkpoints import replacing

PATIENCE_S = 600.0
"""How long a claim of another machine counts without being touched."""

_TOUCH_EVERY_S = 20.0


@dataclass(frozen=True)
class Claim:
    """A cell that is held.

    - path: the file that says so
    - crashes: how many claims before this one ended without a word
    """

    path: Path
    crashes: int

    @staticmethod
    def take(cell: Path) -> Claim | None:
        """Take the cell in folder ``cell``, which is made if need be; None if another has it."""
        cell.mkdir(parents=True, exist_ok=True)
        earlier = sorted(cell.glob("claim-*.json"))
        if earlier and _counts(earlier[-1]):
            return None
        number = int(earlier[-1].stem.split("-")[1]) + 1 if earlier else 1
        path = cell / f"claim-{number:04d}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump(_about_us(), file)
        except FileExistsError:
            return None
        return Claim(path, sum(not _read(claim).get("given_up") for claim in earlier))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Touch the claim while the block runs; give it up at its end, however it ends."""
        ended = threading.Event()
        thread = threading.Thread(target=self._touch, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            self.give_up()

    def give_up(self) -> None:
        """Let others take the cell."""
        with replacing(self.path) as part:
            part.write_text(json.dumps({**_about_us(), "given_up": True}), encoding="utf-8")

    def _touch(self, ended: threading.Event) -> None:
        while not ended.wait(_TOUCH_EVERY_S):
            try:
                os.utime(self.path)
            except OSError:  # a file system that hangs for a while: the next time, then
                continue


def forget_claims(cell: Path) -> None:
    """Remove the claims of a cell that nobody holds, so that crashes are counted anew."""
    for path in cell.glob("claim-*.json"):
        path.unlink(missing_ok=True)


def is_claimed(cell: Path) -> bool:
    """Whether somebody works on the cell."""
    claims = sorted(cell.glob("claim-*.json"))
    return bool(claims) and _counts(claims[-1])


def _about_us() -> dict[str, Any]:
    return {"host": socket.gethostname(), "process": os.getpid(), "taken": time.time()}


def _read(path: Path) -> dict[str, Any]:
    """What a claim says; nothing while it is being written."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _counts(path: Path) -> bool:
    content = _read(path)
    if content.get("given_up"):
        return False
    here = content.get("host") == socket.gethostname()
    if here and not _is_running(content.get("process")):
        return False
    try:
        return time.time() - path.stat().st_mtime < PATIENCE_S
    except FileNotFoundError:
        return False


def _is_running(process: Any) -> bool:
    if not isinstance(process, int):
        return False
    if os.name != "posix":
        return True  # asking would end it; only the time tells then
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
