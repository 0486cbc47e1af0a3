"""Jobs done in order: a thread here, and the process that it hands them to."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from geomtp.serving.jobs import ENDED, Job, JobStore
from geomtp.serving.refusals import Refused

MOST_ATTEMPTS = 3
"""How often a job is begun that the server did not survive."""

Told = dict[str, Any]


class Worker:
    """The process ``geomtp.serving.worker``, and the lines that it says."""

    def __init__(self) -> None:
        self.said: SimpleQueue[Told] = SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "geomtp.serving.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
            start_new_session=True,  # Ctrl-C is for the server, which tells the worker
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.said.put(json.loads(line))
        code = self._process.wait()
        reason = f"exit status {code}" if code >= 0 else "killed: was the memory enough?"
        error = f"the process of the job ended ({reason})"
        self.said.put({"gone": True, "state": "failed", "error": error})

    def tell(self, job: Told) -> None:
        """Hand over a job."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # that it is gone is said by ``_listen``
            self._process.stdin.write(json.dumps(job) + "\n")

    @property
    def alive(self) -> bool:
        """Whether it may be given a job."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()


class JobRunner:
    """Does the jobs of a store, the oldest first, one at a time.

    - told_of: what the process needs to know of a job; raises ``Refused``
    - new_worker: starts that process
    """

    def __init__(
        self,
        jobs: JobStore,
        told_of: Callable[[Job], Told],
        job_minutes: float,
        new_worker: Callable[[], Worker] = Worker,
    ) -> None:
        self._jobs, self._told_of, self._minutes = jobs, told_of, job_minutes
        self._new_worker = new_worker
        self._worker: Worker | None = None
        self._running: str | None = None
        self._stopping = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin with the jobs that wait."""
        self._worker = self._new_worker()  # it takes seconds to load: meanwhile images come in
        self._thread.start()

    def stop(self) -> None:
        """Stop; the running job goes on when a server is started on the same folder."""
        with self._jobs.changed:
            self._stopping = True
            self._jobs.changed.notify_all()
            self._wake()
        if self._thread.is_alive():
            self._thread.join()
        if self._worker is not None:
            self._worker.kill()

    def cancel(self, job_id: str) -> Job:
        """The job, which is not done any more; one that has ended stays as it is."""
        with self._jobs.changed:
            job = self._jobs.get(job_id)
            if job.state in ENDED:
                return job
            job = self._jobs.update(job_id, state="cancelled", says="cancelled")
            self._wake()
            return job

    def _wake(self) -> None:
        if self._worker is not None:
            self._worker.said.put({})

    def _work(self) -> None:
        while True:
            with self._jobs.changed:
                if self._stopping:
                    return
                job = self._jobs.begin_next()
                if job is None:
                    self._jobs.changed.wait()
                    continue
            self._one(job)

    def _one(self, job: Job) -> None:
        if job.attempts > MOST_ATTEMPTS:
            self._end(job.id, f"given up: the server ended {MOST_ATTEMPTS} times during this job")
            return
        try:
            told = self._told_of(job)
        except Refused as refusal:
            self._end(job.id, refusal.sentence)
            return
        if self._worker is None or not self._worker.alive:
            self._worker = self._new_worker()
        worker, until = self._worker, time.monotonic() + 60 * self._minutes
        worker.tell(told)
        while True:
            try:
                said = worker.said.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                self._drop_worker()
                self._end(
                    job.id, f"stopped after {self._minutes:g} minutes, the longest that a job may "
                    f"take here (--job_minutes)",
                )  # fmt: skip
                return
            if self._stopping or self._jobs.get(job.id).state == "cancelled":
                self._drop_worker()
                return
            if "state" in said:
                if "gone" in said:
                    self._worker = None
                sentence = said.get("error")
                self._end(job.id, None if sentence is None else sentence, told.get("names", {}))
                return
            if said:
                self._jobs.update(job.id, **_changes(said))

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker = None

    def _end(self, job_id: str, error: str | None, names: dict[str, str] | None = None) -> None:
        for path, name in (names or {}).items():
            error = error if error is None else error.replace(path, name)
        with self._jobs.changed:
            if self._jobs.get(job_id).state == "cancelled":
                return
            state = "done" if error is None else "failed"
            self._jobs.update(job_id, state=state, error=error, says=state)


def _changes(said: Told) -> Told:
    """What a line of the process changes in a job."""
    if "windows" in said:
        return {"windows": tuple(said["windows"]), "says": "looks at the image"}
    return {"says": str(said["says"])[:300]}
