"""A server that is killed in the middle of a job goes on with it when it is started again."""

import os
import time

import httpx
import pytest

from tests.serving.processes import serving
from tests.serving.servers import picture, png, write_checkpoint

pytestmark = pytest.mark.slow

WAIT_S = 300


def until(client, job, reached):
    """The job as soon as ``reached`` says so."""
    last = time.monotonic() + WAIT_S
    while not reached(now := client.get(f"/api/jobs/{job}").json()):
        assert time.monotonic() < last, now
        time.sleep(0.1)
    return now


def worker_of(process):
    """The process id of a server's worker."""
    with open(f"/proc/{process.pid}/task/{process.pid}/children", encoding="ascii") as file:
        (child,) = file.read().split()
    return int(child)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="reads Linux's list of processes")
def test_a_job_goes_on_after_the_server_was_killed(tmp_path):
    (tmp_path / "tiny").mkdir()
    checkpoint = write_checkpoint(tmp_path / "tiny" / "best.safetensors", ("semantic",))
    words = (checkpoint, "--work", tmp_path / "work")
    with serving(*words) as server, httpx.Client(base_url=server.address, timeout=60) as client:
        image = png(picture(1200, 1200))
        raster = client.post("/api/rasters", params={"name": "town.png"}, content=image).json()
        wanted = {"model": "tiny", "rasters": [raster["id"]]}
        job = client.post("/api/jobs", json=wanted).json()["id"]
        before = until(client, job, lambda now: now["windows"] and now["windows"][0] > 100)
        worker = worker_of(server.process)
        server.process.kill()
        server.process.wait()
        last = time.monotonic() + WAIT_S
        while os.path.exists(f"/proc/{worker}"):  # it is not left behind
            assert time.monotonic() < last
            time.sleep(0.1)
    blocks = list((tmp_path / "work").rglob("block-*.npz"))
    assert blocks
    with serving(*words) as server, httpx.Client(base_url=server.address, timeout=60) as client:
        after = until(client, job, lambda now: now["state"] in ("done", "failed"))
        assert (after["state"], after["error"], after["attempts"]) == ("done", None, 2)
        assert after["windows"][1] < before["windows"][1]  # done blocks are not done again
        figures = client.get(f"/api/jobs/{job}/results").json()["summary"]
        assert sum(c["pixels"] for c in figures["semantic"]["classes"].values()) == 1200 * 1200
