"""The demo through its command, as small as it gets; stages done once; the quick one in full."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyogrio
import pytest
import rasterio

from geomtp.cli import main
from geomtp.commands import serve as serve_verb
from geomtp.demo import story
from geomtp.demo.chapters import Chapter
from geomtp.demo.finetuning import CLASSES
from geomtp.demo.pretraining import FIGURES, before_and_after
from geomtp.demo.stages import QUICK, Stage, going_on
from geomtp.demo.story import STAGES, run_demo
from geomtp.labels import LabelStore
from geomtp.training.configs import RunSettings
from geomtp.training.run_folder import RunFolder

TINY = dataclasses.replace(
    QUICK,
    train=2,
    val=1,
    mae=(
        *("--steps", "2", "--batch_size", "2", "--pictures", "1", "--workers", "0"),
        *("--log_every", "1"),
    ),
    mtp=(
        *("--encoder", "resnet10t", "--weights", "null", "--batch_norm", "train", "--steps", "1"),
        *("--semantic_channels", "8", "--detector_channels", "8", "--fc_channels", "16"),
        *("--proposals", "50", "--rois", "32", "--image_size", "64", "--pictures", "1"),
        *("--workers", "0"),
    ),
    finetune=(
        *("--steps", "1", "--image_size", "64", "--semantic_channels", "8", "--workers", "0"),
        *("--batch_size", "2", "--pictures", "1"),
    ),
    own_train=2,
    own_val=1,
    scene_hw=(96, 160),
)


def test_the_command_tells_the_whole_story_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(story, "QUICK", TINY)
    out = tmp_path / "run"
    words = ["demo", "--quick", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert [f"{n} of 5: {stage.title}" in said for n, stage in enumerate(STAGES, 1)] == [True] * 5
    _labels_are_made_of_boxes_and_scored_on_the_truth(out)
    _maps_are_georeferenced(out)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg;base64,/9j/") == 1 + 1 + 4 + 1 + 2  # by stage, in order
    assert page.count("<pre>geomtp ") == 5
    assert 'src="http' not in page

    trained = {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")}
    rows = Chapter.read(out / "mtp").rows
    (out / "mtp/chapter.json").unlink()  # as when it is killed right after training
    opened = []
    monkeypatch.setattr(serve_verb, "serve", lambda words: opened.append(words) or 0)
    assert main([*words, "--serve"]) == 0
    said = capsys.readouterr().out
    assert said.count("done before") == 4
    assert Chapter.read(out / "mtp").rows == rows
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.ckpt")} == trained
    models = [str(out / run / "model.safetensors") for run in ("finetune/from_mtp", "mtp")]
    assert opened == [[*models, "--images", str(out / "map")]]
    assert f"geomtp serve {models[0]} {models[1]} --images" in said

    assert main(["demo", "--out", str(out)]) == 1
    assert "was begun with --quick: go on so" in capsys.readouterr().err


def _labels_are_made_of_boxes_and_scored_on_the_truth(out):
    for name in ("embedded_harbour", "embedded_airfield", "embedded_town"):
        made = LabelStore.open(out / "labels/stores" / name)
        exact = LabelStore.open(out / "labels/drawn" / name)
        assert [row.split for row in made] == ["train", "train", "val"]
        assert made[0].prompts is not None  # a segmenter was at it
        assert exact[0].prompts is None
        assert made[2].rles == exact[2].rles


def _maps_are_georeferenced(out):
    with rasterio.open(out / "map/scene_semantic.tif") as raster:
        assert raster.crs.to_epsg() == 32636
        assert raster.shape == TINY.scene_hw
        assert raster.res == (0.25, 0.25)
        with rasterio.open(out / "map/scene.tif") as scene:
            assert raster.transform == scene.transform
        pixels = raster.read(1)
    for layer in ("map/scene_semantic.gpkg", "map/objects/scene_rotated.gpkg"):
        assert pyogrio.read_info(out / layer)["crs"] == "EPSG:32636"
    areas = {row[0]: row[1] for row in Chapter.read(out / "map").rows}
    # On the ground: the scale of UTM here is 0.9997.
    assert areas["all"] == pytest.approx(96 * 160 / 16, rel=2e-3)
    drawn = np.count_nonzero(pixels == CLASSES.names.index("tennis-court") + 1)
    assert areas["tennis-court"] == pytest.approx(drawn / 16, rel=2e-3, abs=0.5)


def _stage(name, log, *, stops=False):
    def do(demo):
        log.append(name)
        if stops and log.count(name) == 1:
            raise KeyboardInterrupt
        time.sleep(0.01)
        return Chapter((f"text of {name}",), f"geomtp {name}")

    return Stage(name, f"title of {name}", do)


def test_an_interrupted_demo_goes_on_with_the_stage_it_was_at(tmp_path):
    log, said = [], []
    stages = [_stage("a", log), _stage("b", log, stops=True), _stage("c", log)]
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, quick=True, say=said.append, stages=stages)
    assert said[-1] == "stopped; the same command goes on where this one was"
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (page.count("text of a"), page.count("Not done yet")) == (1, 2)
    chapters = run_demo(tmp_path, quick=True, say=said.append, stages=stages)
    assert log == ["a", "b", "b", "c"]
    assert list(chapters) == ["a", "b", "c"]
    assert chapters["a"].seconds >= 0.01


def test_time_of_stopped_attempts_counts(tmp_path):
    log = []
    stages = [_stage("a", log, stops=True)]
    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, quick=False, say=log.append, stages=stages)
    (tmp_path / "a/spent.json").write_text('{"seconds": 100.0, "cpu_seconds": 50.0}')
    chapter = run_demo(tmp_path, quick=False, say=log.append, stages=stages)["a"]
    assert 100.01 <= chapter.seconds < 101
    assert 50 <= chapter.cpu_seconds < 51
    assert "a 100 s; in all 100 s (50 processor seconds)" in log[-2]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(ValueError, match="is there already and holds no demo"):
        run_demo(tmp_path, quick=True, stages=[])
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_runs_go_on_from_their_checkpoint_or_begin_anew(tmp_path):
    config, folder = RunSettings(out=tmp_path), RunFolder(tmp_path)
    folder.config.write_text("x: 1")
    folder.metrics.write_text("step,name,value\n")
    assert going_on(config) == config  # killed before its first checkpoint
    assert not folder.config.exists()
    assert not folder.metrics.exists()
    folder.last.parent.mkdir()
    folder.last.write_bytes(b"")
    assert going_on(config) == dataclasses.replace(config, resume=True)


def test_figures_are_compared_at_both_ends_and_in_the_mean(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_text(
        "step,name,value\n"
        "0,val/a/semantic/miou,0.1\n0,val/b/semantic/miou,0.3\n0,val/mean,0.2\n"
        "5,val/a/semantic/miou,0.4\n9,val/a/semantic/miou,0.6\n9,val/b/semantic/miou,0.8\n"
        "0,val/a/rotated/ap50,0.0\n9,val/a/rotated/ap50,0.5\n"
    )
    rows = before_and_after(folder)
    assert rows[:2] == [("a", "semantic mIoU", 0.1, 0.6), ("b", "semantic mIoU", 0.3, 0.8)]
    assert rows[2][:2] == ("mean", "semantic mIoU")
    assert rows[2][2:] == pytest.approx((0.2, 0.7))
    assert rows[3][:2] == ("a", "rotated AP50")


@pytest.mark.slow
def test_the_quick_demo_stopped_in_between_goes_on_and_learns(tmp_path):
    words = [sys.executable, "-m", "geomtp.cli", "demo", "--quick", "--out", str(tmp_path / "run")]
    log = tmp_path / "run/mtp/metrics.csv"
    first = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    while first.poll() is None and not (log.is_file() and "loss/total" in log.read_text()):
        time.sleep(0.5)
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=300)[0]
    assert first.returncode == 130
    assert "the same command goes on where this one was" in said
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done before") == 2  # labels and MAE
    chapter = Chapter.read(tmp_path / "run/mtp")
    means = {
        figure: (before, after) for name, figure, before, after, _ in chapter.rows if name == "mean"
    }
    assert set(means) == set(FIGURES.values())
    for before, after in means.values():
        assert after > before
