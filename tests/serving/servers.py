"""A tiny model, images, and a server of them within the test's own process."""

import io
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from affine import Affine
from fastapi.testclient import TestClient
from PIL import Image
from rasterio.io import MemoryFile

from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.rasters.reading import quiet
from geomtp.serving.app import create_app
from geomtp.serving.job_runner import Worker
from geomtp.serving.serve_config import Serve
from geomtp.serving.served_models import ServedModel
from geomtp.types import ClassMap

UTM = {"crs": "EPSG:32632", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
HOST = "http://127.0.0.1:8000"


def write_checkpoint(path, tasks=("semantic", "rotated")):
    """A model of random weights that has an answer in a moment."""
    torch.manual_seed(0)
    classes = ClassMap(("ship", "plane"), ((255, 200, 0), (0, 200, 255)))
    config = ModelConfig(
        encoder="test_resnet", image_size=64, sources={"made": SourceConfig(classes, tasks)},
        semantic_channels=8, detector_channels=8, fc_channels=16, proposals=50, rois=32,
        change_channels=(16, 8, 8, 8),
    )  # fmt: skip
    save(build_model(config).eval(), path)
    return path


def picture(height=96, width=128, seed=0):
    """(H, W, 3) uint8 of smooth patches."""
    rough = np.random.default_rng(seed).uniform(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    return np.kron(rough, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)


def png(pixels=None):
    """The bytes of a PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture() if pixels is None else pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def geotiff(pixels=None, **profile):
    """The bytes of a GeoTIFF, by default at 9° east on the 45th parallel or so."""
    pixels = picture() if pixels is None else pixels
    height, width, count = pixels.shape
    with quiet(), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", height=height, width=width, count=count,
            **{"dtype": pixels.dtype, **UTM, **profile},
        ) as file:  # fmt: skip
            file.write(pixels.transpose(2, 0, 1))
        return memory.read()


def served(name="made", tasks=("semantic", "rotated"), channels=3):
    """A model that is offered; nobody opens its file."""
    return ServedModel(
        name, Path("none.safetensors"), "made", tasks, ("ship", "plane"),
        ((255, 200, 0), (0, 200, 255)), (120.0,) * channels, (60.0,) * channels,
        2 if "change" in tasks else 1,
    )  # fmt: skip


class PlayedWorker:
    """Stands in for the process that does jobs: ``play(job, say)`` is called in a thread.

    A ``play`` that returns nothing goes on forever, as far as the server sees.
    """

    def __init__(self, play):
        self.said, self.alive, self._play = SimpleQueue(), True, play

    def tell(self, job):
        threading.Thread(target=self._do, args=(job,), daemon=True).start()

    def _do(self, job):
        answer = self._play(job, self.said.put)
        if answer is not None:
            self.said.put(answer)

    def kill(self):
        self.alive = False


def at_once(job, say):
    """A job that is done when it begins."""
    return {"state": "done"}


def never(job, say):
    """A job without an end."""
    say({"windows": [1, 8]})


@contextmanager
def server(tmp_path, play=None, models=None, **settings):
    """A client of a server of ``models``, whose jobs are played; else of its checkpoints."""
    config = Serve(
        checkpoints=settings.pop("checkpoints", (tmp_path / "none.safetensors",)),
        work=tmp_path / "work", device="cpu", **settings,
    )  # fmt: skip
    new_worker = Worker if play is None else lambda: PlayedWorker(play)
    if play is not None and models is None:
        models = {"made": served()}
    with TestClient(create_app(config, models, new_worker), base_url=HOST) as client:
        yield client


def upload(client, content, name="scene.png"):
    return client.post("/api/rasters", params={"name": name}, content=content)


def ended(client, job_id, seconds=200):
    """The job once it has ended."""
    until = time.monotonic() + seconds
    while (job := client.get(f"/api/jobs/{job_id}").json())["state"] in ("queued", "running"):
        assert time.monotonic() < until, job
        time.sleep(0.05)
    return job


def pixels_of(answer):
    """(h, w, 4) of a tile."""
    return np.array(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
