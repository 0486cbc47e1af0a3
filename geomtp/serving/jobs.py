"""Jobs: what was asked for, and how far it is. They outlive the server in files."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
import shutil
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from geomtp.checkpoints import replacing
from geomtp.serving.refusals import Refused

State = Literal["queued", "running", "done", "failed", "cancelled"]

ENDED = ("done", "failed", "cancelled")


@dataclass(frozen=True)
class JobSettings:
    """What a job may set; see ``geomtp predict``.

    - score: least score of an object
    - bands: of the image, in the model's order, by number from 1 or by name; None: all
    - gsd: metres per pixel that the model looks at; None: those of the image
    - stretch: bring the values of each band to 0…255 first
    """

    score: float = 0.3
    bands: tuple[str, ...] | None = None
    gsd: float | None = None
    stretch: bool = False


@dataclass(frozen=True)
class Job:
    """A prediction that was asked for.

    - rasters: ids of the images, two for a change, the earlier date first
    - state, and error: a sentence where it failed
    - windows: how many are looked at by now, and of how many; None: not known yet
    - says: what is happening
    - note: what may be wrong with the results, though it can be done
    - attempts: how often it was begun
    """

    id: str
    model: str
    rasters: tuple[str, ...]
    settings: JobSettings
    created: str
    state: State = "queued"
    error: str | None = None
    windows: tuple[int, int] | None = None
    says: str = ""
    note: str | None = None
    attempts: int = 0
    ended: str | None = None


class JobStore:
    """The jobs below ``root``, each in a folder of its own with ``job.json`` and ``out/``.

    Jobs that a killed server left behind wait again. May be used by several threads.
    """

    def __init__(self, root: Path, max_jobs: int, max_kept: int) -> None:
        self._root, self._max_jobs, self._max_kept = root, max_jobs, max_kept
        self.changed = threading.Condition()
        root.mkdir(parents=True, exist_ok=True)
        found = [job for job in map(_read, root.iterdir()) if job]
        self._jobs = {job.id: job for job in sorted(found, key=lambda job: job.created)}
        for job in found:
            if job.state == "running":
                self.update(job.id, state="queued", says="waits to go on")

    def all(self) -> list[Job]:
        """The jobs, the oldest first."""
        with self.changed:
            return list(self._jobs.values())

    def get(self, job_id: str) -> Job:
        """A job by its id. Raises ``Refused`` where there is none."""
        with self.changed:
            if job_id not in self._jobs:
                raise Refused(404, "there is no such job: it may have been removed")
            return self._jobs[job_id]

    def out(self, job_id: str) -> Path:
        """The folder of a job's results."""
        return self._root / job_id / "out"

    def add(
        self,
        model: str,
        rasters: tuple[str, ...],
        settings: JobSettings,
        note: str | None = None,
    ) -> Job:
        """A new job that waits. Raises ``Refused`` where too many do."""
        with self.changed:
            open_jobs = [job for job in self._jobs.values() if job.state not in ENDED]
            if len(open_jobs) >= self._max_jobs:
                raise Refused(
                    429, f"{len(open_jobs)} jobs are waiting or running, the most that this server "
                    f"takes (--max_jobs): try again when one has ended",
                )  # fmt: skip
            now = datetime.now(UTC).isoformat()
            job = Job(secrets.token_hex(16), model, rasters, settings, now, says="waits", note=note)
            (self._root / job.id).mkdir()
            self._jobs[job.id] = job
            self._write(job)
            self.changed.notify_all()
        self._forget_old()
        return job

    def update(self, job_id: str, **changes: Any) -> Job:
        """The job with ``changes``; written to its file where its state is among them."""
        with self.changed:
            job = dataclasses.replace(self._jobs[job_id], **changes)
            if job.state in ENDED and job.ended is None:
                job = dataclasses.replace(job, ended=datetime.now(UTC).isoformat())
            self._jobs[job_id] = job
            if "state" in changes:
                self._write(job)
            self.changed.notify_all()
        return job

    def begin_next(self) -> Job | None:
        """The oldest job that waits, marked as running; None where none does."""
        with self.changed:
            for job in self._jobs.values():
                if job.state == "queued":
                    return self.update(
                        job.id, state="running", says="opens the model", attempts=job.attempts + 1
                    )
        return None

    def remove(self, job_id: str) -> None:
        """Forget an ended job and its files. Raises ``Refused`` where it has not ended."""
        with self.changed:
            if self.get(job_id).state not in ENDED:
                raise Refused(409, "the job has not ended: cancel it first")
            del self._jobs[job_id]
        shutil.rmtree(self._root / job_id, ignore_errors=True)

    def _forget_old(self) -> None:
        ended = [job for job in self.all() if job.state in ENDED]
        for job in ended[: max(0, len(ended) - self._max_kept)]:
            self.remove(job.id)

    def _write(self, job: Job) -> None:
        with replacing(self._root / job.id / "job.json") as beside:
            beside.write_text(json.dumps(dataclasses.asdict(job)), encoding="utf-8")


def _read(folder: Path) -> Job | None:
    """The job in ``folder``; None where there is none."""
    try:
        values = json.loads((folder / "job.json").read_text(encoding="utf-8"))
        bands = values["settings"]["bands"]
        settings = JobSettings(
            **{**values["settings"], "bands": None if bands is None else tuple(bands)}
        )
        windows = None if values["windows"] is None else tuple(values["windows"])
        changes = {"settings": settings, "rasters": tuple(values["rasters"]), "windows": windows}
        job = Job(**{**values, **changes})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return job if job.id == folder.name and re.fullmatch("[0-9a-f]{32}", job.id) else None
