"""Jobs wait, run one at a time, end, are cancelled, and outlive the server."""

import json
import threading
import time
from contextlib import contextmanager

import pytest

from geomtp.serving.job_runner import JobRunner
from geomtp.serving.jobs import ENDED, JobSettings, JobStore
from geomtp.serving.refusals import Refused
from tests.serving.servers import PlayedWorker, at_once, never


class Played:
    """A store and its runner; ``play`` stands for the process of jobs."""

    def __init__(self, tmp_path, play, minutes=1.0, max_jobs=5, max_kept=10):
        self.workers = []
        self.jobs = JobStore(tmp_path / "jobs", max_jobs, max_kept)
        self.runner = JobRunner(
            self.jobs, lambda job: {"id": job.id, "names": {"/srv/x/image": "scene.tif"}}, minutes,
            self._worker_of(play),
        )  # fmt: skip

    def _worker_of(self, play):
        def new():
            self.workers.append(PlayedWorker(play))
            return self.workers[-1]

        return new

    def add(self, name="made"):
        return self.jobs.add(name, ("a" * 32,), JobSettings())

    def wait(self, job, *states):
        until = time.monotonic() + 20
        with self.jobs.changed:
            while self.jobs.get(job.id).state not in states:
                assert self.jobs.changed.wait(until - time.monotonic()), self.jobs.get(job.id)
        return self.jobs.get(job.id)


@contextmanager
def played(*arguments, **settings):
    it = Played(*arguments, **settings)
    it.runner.start()
    try:
        yield it
    finally:
        it.runner.stop()


def test_jobs_are_done_in_order(tmp_path):
    order = []

    def note(job, say):
        order.append(job["id"])
        say({"windows": [3, 4]})
        return {"state": "done"}

    with played(tmp_path, note) as it:
        jobs = [it.add() for _ in range(4)]
        ended = [it.wait(job, *ENDED) for job in jobs]
    assert order == [job.id for job in jobs]
    assert [(job.state, job.windows, job.attempts) for job in ended] == [("done", (3, 4), 1)] * 4
    assert len(it.workers) == 1  # its model stays open


def test_too_many_jobs_are_refused(tmp_path):
    with played(tmp_path, never, max_jobs=2) as it:
        first = it.add()
        it.add()
        with pytest.raises(Refused, match="2 jobs are waiting or running") as refused:
            it.add()
        assert refused.value.status == 429
        it.runner.cancel(first.id)
        it.add()


def test_a_running_job_is_cancelled_at_once_and_the_next_begins(tmp_path):
    with played(tmp_path, never) as it:
        first, second, third = it.add(), it.add(), it.add()
        it.wait(first, "running")
        assert it.runner.cancel(third.id).state == "cancelled"
        assert it.runner.cancel(first.id).state == "cancelled"
        it.wait(second, "running")
        assert [worker.alive for worker in it.workers] == [False, True]
        assert it.runner.cancel(first.id).state == "cancelled"  # again: nothing happens
        it.runner.cancel(second.id)
    assert it.jobs.get(third.id).attempts == 0


def test_a_job_that_takes_too_long_is_stopped(tmp_path):
    with played(tmp_path, never, minutes=0.002) as it:
        job = it.wait(it.add(), *ENDED)
    assert job.state == "failed"
    assert job.error == (
        "stopped after 0.002 minutes, the longest that a job may take here (--job_minutes)"
    )


def test_the_next_job_survives_a_process_that_dies(tmp_path):
    calls = []

    def die_once(job, say):
        calls.append(job)
        if len(calls) == 1:
            return {"gone": True, "state": "failed", "error": "the process of the job ended"}
        return {"state": "done"}

    with played(tmp_path, die_once) as it:
        first, second = it.add(), it.add()
        assert it.wait(first, *ENDED).error == "the process of the job ended"
        assert it.wait(second, *ENDED).state == "done"
        assert len(it.workers) == 2


def test_a_sentence_names_the_file_as_its_owner_does(tmp_path):
    def fail(job, say):
        return {"state": "failed", "error": "/srv/x/image has 2 bands"}

    with played(tmp_path, fail) as it:
        assert it.wait(it.add(), *ENDED).error == "scene.tif has 2 bands"


def test_a_job_goes_on_when_the_server_is_started_again(tmp_path):
    with played(tmp_path, never) as it:
        running, waiting = it.add(), it.add()
        it.wait(running, "running")
    states = [json.loads(p.read_text())["state"] for p in (tmp_path / "jobs").glob("*/job.json")]
    assert sorted(states) == ["queued", "running"]
    with played(tmp_path, at_once) as it:
        assert it.wait(running, *ENDED).attempts == 2
        assert it.wait(waiting, *ENDED).attempts == 1
        assert [job.state for job in it.jobs.all()] == ["done", "done"]


def test_a_job_that_takes_the_server_along_is_given_up(tmp_path):
    with played(tmp_path, never) as it:
        job = it.add()
        it.wait(job, "running")
    for _ in range(2):
        with played(tmp_path, never) as it:
            it.wait(job, "running")
    with played(tmp_path, never) as it:
        assert it.wait(job, *ENDED).error == "given up: the server ended 3 times during this job"


def test_old_jobs_are_forgotten_with_their_files(tmp_path):
    with played(tmp_path, at_once, max_kept=2) as it:
        for _ in range(4):
            it.wait(it.add(), *ENDED)
        last = it.wait(it.add(), *ENDED)
        assert len(it.jobs.all()) == len(list((tmp_path / "jobs").iterdir())) == 3
        it.jobs.remove(last.id)
        with pytest.raises(Refused, match="no such job"):
            it.jobs.get(last.id)


def test_only_ended_jobs_are_removed(tmp_path):
    with played(tmp_path, never) as it:
        job = it.add()
        it.wait(job, "running")
        with pytest.raises(Refused, match="cancel it first"):
            it.jobs.remove(job.id)


def test_damaged_job_files_are_passed_over(tmp_path):
    for name, text in (("a" * 32, "{}"), ("b" * 32, "not json"), ("c", "[]")):
        (tmp_path / "jobs" / name).mkdir(parents=True)
        (tmp_path / "jobs" / name / "job.json").write_text(text)
    assert JobStore(tmp_path / "jobs", 1, 1).all() == []


def test_a_store_is_used_by_many_threads(tmp_path):
    with played(tmp_path, at_once, max_jobs=1000) as it:
        added = []
        threads = [threading.Thread(target=lambda: added.append(it.add())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {it.wait(job, *ENDED).state for job in added} <= {"done"}
        assert len({job.id for job in added}) == 20
