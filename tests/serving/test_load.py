"""Fifty clients at once, many of them with bad intentions."""

import contextlib
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import httpx
import pytest

from tests.serving.processes import serving
from tests.serving.servers import geotiff, png, write_checkpoint
from tests.serving.test_rasters_over_http import folder_of_images, virtual

pytestmark = pytest.mark.slow

CLIENTS, SECRET = 50, b"what nobody may read"


def good(client, number):
    raster = client.post("/api/rasters", params={"name": f"{number}.png"}, content=png())
    assert raster.status_code == 201
    tile = client.get(f"/tiles/{raster.json()['id']}/0/0/0.png")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")
    job = client.post("/api/jobs", json={"model": "tiny", "rasters": [raster.json()["id"]]})
    assert job.status_code in (202, 429)
    if job.status_code == 429:
        assert "try again" in job.json()["detail"]


def no_image(client, number):
    for content in (
        b"text",
        png()[:150],
        geotiff()[:300],
        b"\x89PNG" + bytes(90),
        b"II*\0\xff\xff",
    ):
        answer = client.post("/api/rasters", content=content)
        assert answer.status_code == 422, answer.text


def too_large(client, number):
    def chunks():
        for _ in range(40):
            yield bytes(100_000)

    with contextlib.suppress(httpx.NetworkError, httpx.RemoteProtocolError):
        # that the server hangs up in the middle is as good
        assert client.post("/api/rasters", content=chunks()).status_code == 413


def out_of_the_folder(client, number):
    for path in ("../secret.txt", "out.png", "/etc/passwd", "up/outside.png", "c.vrt", "\0"):
        answer = client.post("/api/rasters/pick", json={"path": path})
        assert answer.status_code == 404
        assert SECRET not in answer.content
    for path in ("/page/../../secret.txt", "/page/%2e%2e/%2e%2e/secret.txt", "/..%2f..%2fsecret"):
        assert client.get(path).status_code in (404, 421)


def virtual_raster(client, number):
    answer = client.post("/api/rasters", content=virtual("/etc/hostname"))
    assert answer.status_code == 422


def nonsense(client, number):
    assert client.get(f"/tiles/{'0' * 32}/30/1/1.png").status_code == 404
    assert client.post("/api/jobs", json={"model": ["x"], "rasters": "y"}).status_code == 422
    assert client.get("/api/jobs", headers={"Host": "evil.example"}).status_code == 421


def states_of(client):
    return {job["state"] for job in client.get("/api/jobs").json()}


def slow_talker(address):
    """Announces an upload and then says next to nothing."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as talk:
        talk.sendall(
            b"POST /api/rasters HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n\r\n"
        )
        for _ in range(20):
            time.sleep(0.5)
            talk.sendall(b"x")


def test_fifty_clients_do_not_hinder_each_other(tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "secret.txt").write_bytes(SECRET)
    checkpoint = write_checkpoint(tmp_path / "tiny" / "best.safetensors", ("semantic",))
    images = folder_of_images(tmp_path)
    actions = (good, no_image, too_large, out_of_the_folder, virtual_raster, nonsense)
    bounds = ("--max_upload_mb", "1", "--max_jobs", "4")
    words = (checkpoint, "--images", images, "--work", tmp_path / "work", *bounds)
    with serving(*words) as server:
        address = server.address
        slow = [threading.Thread(target=slow_talker, args=(address,)) for _ in range(10)]
        for thread in slow:
            thread.start()
        waits, stopped = [], threading.Event()

        def probe():
            with httpx.Client(base_url=address, timeout=30) as client:
                while not stopped.wait(0.1):
                    began = time.monotonic()
                    assert client.get("/api/server").status_code == 200
                    waits.append(time.monotonic() - began)

        def act(number):
            with httpx.Client(base_url=address, timeout=120) as client:
                for turn in range(3):
                    actions[(number + turn) % len(actions)](client, number)

        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            prober = pool.submit(probe)
            try:
                for done in [pool.submit(act, number) for number in range(CLIENTS)]:
                    done.result()
            finally:
                stopped.set()
            prober.result()
        assert max(waits) < 10, sorted(waits)[-5:]
        for thread in slow:
            thread.join()
        with httpx.Client(base_url=address, timeout=120) as client:
            names = {raster["name"] for raster in client.get("/api/rasters").json()}
            assert names == {f"{n}.png" for n in range(CLIENTS) if any(
                actions[(n + turn) % len(actions)] is good for turn in range(3))}  # fmt: skip
            until = time.monotonic() + 120
            while (states := states_of(client)) & {"queued", "running"}:
                assert time.monotonic() < until
                time.sleep(0.2)
            assert states == {"done"}
    left = list((tmp_path / "work" / "rasters").iterdir())
    assert all((path / "raster.json").is_file() for path in left)
