"""`geomtp predict`, killed in the middle and again while it writes, ends as if it had not been."""

import os
import signal
import subprocess
import sys
import time

import pyogrio
import pytest

from geomtp.cli import main
from tests.inference.scenes import UTM, noise, write_scene
from tests.inference.test_predict_command import model_file

WAIT_S = 300
FLAGS = ("--device", "cpu", "--score", "0.05", "--classes-of", "made")


def started(*words):
    command = [sys.executable, "-m", "geomtp.cli", "predict", *map(str, words)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*command, *FLAGS], **quiet)


def killed_when(process, reached):
    """Kill ``process`` as soon as ``reached`` says so."""
    last = time.monotonic() + WAIT_S
    while not reached():
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < last
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def visible(folder):
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def layer(path):
    frame = pyogrio.read_dataframe(path)
    return frame.drop(columns="geometry"), [polygon.wkb for polygon in frame.geometry]


def assert_same(path, other):
    """The same bytes; of GeoPackages, which hold the time of their making, the same rows."""
    if path.suffix == ".gpkg":
        (table, polygons), (others, other_polygons) = layer(path), layer(other)
        assert table.equals(others)
        assert polygons == other_polygons
    elif not path.name.endswith("summary.json"):  # which holds seconds
        assert path.read_bytes() == other.read_bytes()


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_killed_command_goes_on_to_the_same_files(tmp_path):
    model = model_file(tmp_path, "semantic", "rotated")
    scene = write_scene(tmp_path / "scene.tif", noise(500, 800)[None].repeat(3, axis=0), **UTM)
    whole, out = tmp_path / "whole", tmp_path / "out"
    assert main(["predict", *map(str, (model, scene)), "--out", str(whole), *FLAGS]) == 0
    words = (model, scene, "--out", out)
    work = out / ".scene.work"

    killed_when(started(*words), lambda: len(list(work.glob("block-*.npz"))) >= 2)
    blocks = {path.name: path.stat().st_mtime_ns for path in work.glob("block-*.npz")}
    assert 2 <= len(blocks) < 6
    assert visible(out) == set()

    killed_when(started(*words), lambda: list(out.glob(".scene_*")))
    assert "scene_summary.json" not in visible(out)  # it was not done
    for name in visible(out):
        assert_same(out / name, whole / name)
    after = {path.name: path.stat().st_mtime_ns for path in work.glob("block-*.npz")}
    assert len(after) == 6
    assert blocks.items() <= after.items()  # what was done was not done again

    last = started(*words)
    said = last.communicate(timeout=WAIT_S)[0]
    assert last.returncode == 0, said
    assert "going on: 6 of 6 blocks are done already" in said
    assert visible(out) == visible(whole)
    for name in visible(whole):
        assert_same(out / name, whole / name)
    assert sorted(out.iterdir()) == sorted(out / name for name in visible(out))  # nothing hidden
    assert len(layer(out / "scene_rotated.gpkg")[1]) > 0
