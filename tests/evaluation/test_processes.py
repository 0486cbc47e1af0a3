"""Two processes evaluate as one: the same figures to the last digit and the same files."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from geomtp.labels import ImageLabels, StoreInfo, write_store
from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.types import ClassMap
from tests.data.folders import layouts
from tests.data.stores import MEAN, STD

pytestmark = pytest.mark.slow

CLASSES = ClassMap(("ship", "plane"))
TASKS = ("semantic", "rotated")


def tiles(folder, count=7):
    """Tiles of scenes of three, with objects and maps; two images differ in their suffix alone."""
    rng = np.random.default_rng(0)
    names = [f"s{i // 3}__64__{40 * (i % 3)}___0.png" for i in range(count)] + ["a.png", "a.tif"]
    rows = []
    for i, name in enumerate(names):
        layouts.picture(folder / "images" / name, seed=i)
        layouts.mask(folder / "masks" / f"{i}.png", {0: layouts.LEFT, 1: layouts.RIGHT})
        rboxes = rng.uniform((10, 10, 12, 6, -1), (50, 40, 20, 11, 1), (4, 5)).astype(np.float32)
        rows.append(
            ImageLabels(
                f"images/{name}",
                (48, 64),
                "val",
                rboxes=rboxes,
                rbox_labels=np.arange(4) % 2,
                semantic=f"masks/{i}.png",
            )
        )
    write_store(folder, rows, StoreInfo("made", CLASSES, folder, MEAN, STD))
    return folder


def model_file(folder):
    torch.manual_seed(1)
    config = ModelConfig(
        encoder="test_resnet",
        image_size=64,
        sources={"made": SourceConfig(CLASSES, TASKS)},
        semantic_channels=8,
        detector_channels=8,
        fc_channels=16,
        proposals=20,
    )
    save(build_model(config), folder / "model.safetensors")
    return folder / "model.safetensors"


def command(model, data, out):
    words = ["evaluate", model, "--data", data, "--out", out, "--maps", out / "maps"]
    settings = ["--workers", "0", "--worst", "3", "--device", "cpu", "--submit", "dota"]
    return ["-m", "geomtp.cli", *map(str, words), *settings]


def run(words, **variables):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd(), **variables}
    done = subprocess.run(words, env=environment, timeout=300, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def content(path):
    """What a file holds, but for the clock, the number of processes and the state of a checkout."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            return {name: archive.read(name) for name in archive.namelist()}
    if path.suffix == ".json":
        result = json.loads(path.read_text())
        return {name: facts for name, facts in result.items() if name != "software"}
    if path.suffix == ".md":
        lines = path.read_text().splitlines()
        return lines[: lines.index("## Software")]
    return path.read_bytes()


def without_progress(said):
    return [line for line in said.splitlines() if not line.endswith("of 9 images")]


def files(folder):
    return {p.relative_to(folder): content(p) for p in folder.rglob("*") if p.is_file()}


def test_two_processes_evaluate_as_one(tmp_path):
    model, data = model_file(tmp_path), tiles(tmp_path / "data")
    said = run([sys.executable, *command(model, data, tmp_path / "alone")])
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    words = command(model, data, tmp_path / "both")
    said_by_both = run([sys.executable, *launcher, *words])
    alone, both = files(tmp_path / "alone"), files(tmp_path / "both")
    assert both == alone
    assert len([path for path in alone if path.parts[0] == "maps"]) == 2 * 9
    assert alone.keys() >= {Path("worst") / f"0{i}.png" for i in (1, 2, 3)}
    result = json.loads((tmp_path / "both" / "result.json").read_text())
    assert result["software"]["processes"] == 2
    assert result["protocol"]["rotated boxes scored by"] == "scene"
    assert result["scores"]["semantic/miou"] > 0
    assert without_progress(said_by_both.replace("both", "alone")) == without_progress(said)
