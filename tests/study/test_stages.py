"""Studies: what they leave behind, what they do again and what not, and who does it."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from geomtp.checkpoints import read_weights
from geomtp.cli import main
from geomtp.study import work
from geomtp.study.alone import leave_launcher
from geomtp.study.fingerprints import settings_hash
from geomtp.study.settings import Ladder, Stage, Transfer
from geomtp.study.stages import story_of, study_stages
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.run_folder import RunFolder
from tests.study.small import TINY, draw, small_study


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def done(data, tmp_path_factory):
    """A study that was run: its settings and its result. Tests copy it before they go on."""
    study = small_study(data, tmp_path_factory.mktemp("studies") / "first")
    return study, study_stages(study, lambda text: None)


@pytest.fixture
def copied(done, tmp_path):
    """The same study in a folder of its own."""
    shutil.copytree(done[0].out, tmp_path / "study")
    return dataclasses.replace(done[0], out=tmp_path / "study")


@pytest.fixture
def quick(monkeypatch):
    """Runs that take no time: what they give depends on their settings and weights."""

    def finetune(config, say):
        start = "" if config.weights is None else Path(config.weights).read_text()
        value = int(settings_hash([config.seed, config.train_fraction, start])[:4], 16) / 2**16
        return SimpleNamespace(
            figures={"scene/accuracy": value},
            steps=config.steps,
            stopped=False,
            training_images=4,
            held_out_images=4,
        )

    def pretrain_mtp(config, say):
        folder = RunFolder(config.out)
        folder.path.mkdir(parents=True)
        folder.encoder.write_text(str(config.learning_rate))
        return SimpleNamespace(folder=folder, scores={}, steps=config.steps, stopped=False)

    monkeypatch.setattr(work, "finetune", finetune)
    monkeypatch.setattr(work, "pretrain_mtp", pretrain_mtp)


@pytest.fixture
def quickly_done(quick, data, tmp_path):
    """A study that was run with such runs."""
    study = small_study(data, tmp_path / "study")
    assert len(study_stages(study, Listener()).rows) == 5
    return study


class Listener:
    def __init__(self):
        self.lines = []

    def __call__(self, text):
        self.lines.append(text)

    @property
    def ran(self):
        """The titles of the runs that were done."""
        return [
            line.split("] ")[1].rsplit(":", 1)[0] for line in self.lines if line.startswith("[")
        ]


def test_a_study_leaves_table_report_and_cells(done):
    study, result = done
    assert not result.stopped
    assert [row.kind for row in result.rows] == ["pretraining"] + ["transfer"] * 4
    assert {row.status for row in result.rows} == {"done"}
    transfers = result.rows[1:]
    assert [(row.rung, row.seed) for row in transfers] == [
        ("nothing", 1), ("mtp", 1), ("nothing", 2), ("mtp", 2),
    ]  # fmt: skip
    assert all(0 <= row.value <= 1 for row in transfers)
    assert {(row.train_images, row.test_images, row.steps) for row in transfers} == {(4, 4, 1)}
    assert transfers[0].pretraining_steps == 0
    assert transfers[1].pretraining_steps == 1
    assert transfers[1].pretraining_seconds == pytest.approx(result.rows[0].seconds, abs=0.1)
    assert all(row.cpu_seconds > 0 for row in result.rows)
    with result.csv.open(newline="", encoding="utf-8") as file:
        assert [r["value"] for r in csv.DictReader(file)][1:] == [str(r.value) for r in transfers]
    page = result.report.read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 1
    assert (study.out / "plots" / "gains_cnn.png").stat().st_size > 5000
    assert "the spread covers fine-tuning alone" in page
    text = story_of(result, "geomtp study stages")
    assert "cnn, chips: scene/accuracy, 4 test images" in text
    cell = study.out / "cells" / transfers[0].cell
    assert not list(cell.rglob("*.safetensors"))
    assert not list(cell.rglob("*.ckpt"))
    about = json.loads((cell / "result.json").read_text())
    assert (about["kind"], about["settings"]["train_fraction"]) == ("FineTune", 0.5)
    assert about["weights"] is None
    stage = study.out / "cells" / result.rows[0].cell / "run"
    assert read_weights(stage / "encoder.safetensors")[1]["encoder"] == "test_resnet"


def test_seeds_differ_and_rungs_are_paired(done):
    study, result = done
    said = [(study.out / "cells" / row.cell / "said.txt").read_text() for row in result.rows[1:]]
    assert ["encoder weights from" in text for text in said] == [False, True, False, True]
    settings = [
        json.loads((study.out / "cells" / row.cell / "result.json").read_text())["settings"]
        for row in result.rows[1:]
    ]
    assert settings[0] == settings[1]
    assert settings[2] == settings[3] == {**settings[0], "seed": 2}


def test_nothing_is_done_twice(copied):
    listener = Listener()
    again = study_stages(copied, listener)
    assert listener.ran == []
    assert listener.lines[-1] == "5 runs, 5 of them were done before"
    assert {row.status for row in again.rows} == {"done"}


def test_a_new_seed_or_fraction_reruns_nothing_else(quickly_done):
    listener = Listener()
    study_stages(dataclasses.replace(quickly_done, seeds=(1, 2, 3)), listener)
    assert listener.ran == [
        f"cnn: {rung}, chips with 0.5 of the labels, seed 3" for rung in ("nothing", "mtp")
    ]
    listener = Listener()
    more = dataclasses.replace(quickly_done, fractions=(0.5, 1.0), use_rungs=("nothing",))
    study_stages(more, listener)
    assert listener.ran == [
        f"cnn: nothing, chips with 1 of the labels, seed {seed}" for seed in (1, 2)
    ]


def test_what_shows_a_run_or_where_things_lie_is_no_change(copied, data, tmp_path):
    shutil.copytree(data, tmp_path / "moved")
    listener = Listener()
    every_run = {**TINY, "workers": 1, "log_every": 3, "pictures": 1}
    study_stages(
        dataclasses.replace(copied, every_run=every_run, data=tmp_path / "moved"), listener
    )
    assert listener.ran == []


def test_another_setting_or_other_data_is_another_cell(quickly_done, data, tmp_path):
    chosen = dataclasses.replace(quickly_done, use_rungs=("nothing",), seeds=(1,))
    listener = Listener()
    study_stages(dataclasses.replace(chosen, every_run={**TINY, "steps": 2}), listener)
    assert len(listener.ran) == 1
    shutil.copytree(data, tmp_path / "changed")
    image = next((tmp_path / "changed" / "chips" / "images").glob("train-*.png"))
    image.write_bytes(next((data / "chips" / "images").glob("val-*.png")).read_bytes())
    listener = Listener()
    study_stages(dataclasses.replace(chosen, data=tmp_path / "changed"), listener)
    assert listener.lines[0] == "chips: reading labels"
    assert len(listener.ran) == 1


def test_other_weights_are_another_cell(quickly_done, tmp_path):
    """The same transfer after another pretraining is run anew, and the rung without it is not."""
    stages = {"mtp": Stage("mtp", {**quickly_done.stages["mtp"].settings, "learning_rate": 1e-3})}
    listener = Listener()
    study_stages(dataclasses.replace(quickly_done, stages=stages, seeds=(1,)), listener)
    assert listener.ran == [
        "cnn: mtp, pretraining seed 1", "cnn: mtp, chips with 0.5 of the labels, seed 1",
    ]  # fmt: skip


def test_a_run_that_fails_does_not_lose_the_others(quick, data, tmp_path, monkeypatch):
    original = work.finetune

    def breaks(config, say):
        if config.seed == 1 and config.weights is None:
            raise RuntimeError("out of\nmemory")
        return original(config, say)

    monkeypatch.setattr(work, "finetune", breaks)
    study, listener = small_study(data, tmp_path / "study"), Listener()
    result = study_stages(study, listener)
    statuses = {(row.rung, row.seed): row.status for row in result.rows[1:]}
    assert statuses == {
        ("nothing", 1): "failed", ("mtp", 1): "done", ("nothing", 2): "done", ("mtp", 2): "done",
    }  # fmt: skip
    failed = next(row for row in result.rows if row.status == "failed")
    assert failed.reason == "RuntimeError: out of memory"
    assert result.failed == 1
    assert "1 runs failed" in story_of(result, "x")
    assert "1 failed" in story_of(result, "x")
    assert "RuntimeError: out of memory" in result.report.read_text()
    assert "Traceback" in (study.out / "cells" / failed.cell / "traceback.txt").read_text()
    monkeypatch.setattr(work, "finetune", original)
    again = Listener()
    assert "failed" in {row.status for row in study_stages(study, again).rows}
    assert again.ran == []  # not without being asked
    mended = study_stages(dataclasses.replace(study, retry_failed=True), again)
    assert {row.status for row in mended.rows} == {"done"}
    assert again.ran == ["cnn: nothing, chips with 0.5 of the labels, seed 1"]


def test_runs_after_a_pretraining_that_failed_say_so(quick, data, tmp_path, monkeypatch):
    def breaks(config, say):
        raise ValueError("no gradient")

    monkeypatch.setattr(work, "pretrain_mtp", breaks)
    result = study_stages(small_study(data, tmp_path / "study", seeds=(1,)), Listener())
    reasons = {row.rung: row.reason for row in result.rows if row.status == "failed"}
    assert reasons["mtp"] == "cnn: mtp, pretraining seed 1: ValueError: no gradient"
    assert [row.status for row in result.rows if row.rung == "nothing"] == ["done"]


def test_a_run_that_ends_its_process_again_and_again_is_given_up(data, tmp_path, monkeypatch):
    study = small_study(data, tmp_path / "study", use_rungs=("nothing",), seeds=(1,))

    class KilledError(BaseException):
        pass

    def dies(config, say):
        raise KilledError

    monkeypatch.setattr(work, "finetune", dies)
    monkeypatch.setattr(work.Claim, "give_up", lambda self: os.utime(self.path, (0, 0)))
    for _ in range(work.MOST_CRASHES):
        with pytest.raises(KilledError):
            study_stages(study, Listener())
    (row,) = study_stages(study, Listener()).rows
    assert (row.status, row.reason) == (
        "failed", "ValueError: begun 3 times, it never came to an end",
    )  # fmt: skip


def test_a_stopped_study_goes_on_where_it_was(data, tmp_path, monkeypatch):
    every_run = {**TINY, "steps": 4}
    whole = small_study(data, tmp_path / "whole", every_run=every_run, seeds=(1,))
    expected = study_stages(whole, Listener())
    original, asked = StopBetweenSteps.on_train_batch_end, []

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == 2 and len(asked) < 2:  # in pretraining, then in fine-tuning
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)
    study = dataclasses.replace(whole, out=tmp_path / "parts", use_rungs=("mtp",))
    stopped = study_stages(study, Listener())
    assert stopped.stopped
    assert "nothing is lost. Go on with: again" in story_of(stopped, "again")
    assert [row.status for row in stopped.rows] == ["open", "open"]
    again = study_stages(study, Listener())
    assert again.stopped
    assert [row.status for row in again.rows] == ["done", "open"]
    listener = Listener()
    ended = study_stages(study, listener)
    assert not ended.stopped
    assert listener.ran == ["cnn: mtp, chips with 0.5 of the labels, seed 1"]
    same = {(row.rung, row.cell): row.value for row in expected.rows if row.rung == "mtp"}
    # the same weights, so the same cell after them; the same score
    assert {(row.rung, row.cell): row.value for row in ended.rows} == same
    said = (study.out / "cells" / ended.rows[0].cell / "said.txt").read_text()
    assert said.count("step 4/4") == 1
    stage = study.out / "cells" / ended.rows[0].cell
    spent = json.loads((stage / "spent.json").read_text())
    assert ended.rows[0].seconds > spent["seconds"] > 0


def test_pretraining_must_not_see_what_is_scored_on(data, tmp_path):
    town = {"town": Transfer("semantic", settings={"validation_split": "train"})}
    stages = {"mtp": Stage("mtp", {"sources": {"town": {}}})}
    study = small_study(data, tmp_path / "a", transfers=town, stages=stages)
    with pytest.raises(ValueError, match=r"town: train-00000\.png is an image that fine-tuning is"):
        study_stages(study, Listener())
    images = {"data": ["town/images"], "epochs": 1, "warmup_epochs": 0}
    ladders = {"vit": Ladder("vit_t_rvsa", {"mae": ("mae",)})}
    study = small_study(
        data,
        tmp_path / "b",
        ladders=ladders,
        stages={"mae": Stage("mae", images)},
        transfers={"town": Transfer("semantic")},
    )
    with pytest.raises(ValueError, match="2 of the images of masked autoencoding are: leave them"):
        study_stages(study, Listener())
    assert not (tmp_path / "b" / "cells").exists()
    assert not list((tmp_path / "b" / "stores").glob(".index*"))


def test_missing_data_is_one_sentence(data, tmp_path, capsys):
    study = small_study(data, tmp_path / "a", transfers={"cities": Transfer("scene")})
    with pytest.raises(FileNotFoundError, match="needs the folder 'cities' below --data"):
        study_stages(study, Listener())
    assert main(["study", "stages", "--config", "study_small", "--out", str(tmp_path / "b")]) == 1
    said = capsys.readouterr()
    assert "no --data was given" in said.err
    assert said.err.count("\n") == 1


def test_a_launcher_is_left(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "3")
    monkeypatch.setenv("RANKING", "kept")
    leave_launcher()
    assert "SLURM_NTASKS" not in os.environ
    assert "RANK" not in os.environ
    assert os.environ["RANKING"] == "kept"


RECIPE = """# A study for tests
every_run: {every_run}
ladders:
  vit:
    encoder: vit_t_rvsa
    rungs: {{nothing: [], mae: [mae], mtp: [mtp], mae_mtp: [mae, mtp], mae_weighed: [mae, weighed]}}
  cnn:
    encoder: test_resnet
    rungs: {{nothing: [], mtp: [mtp]}}
stages:
  mae:
    kind: mae
    settings:
      {{data: [harbour/images], epochs: 1, warmup_epochs: 0, decoder_width: 16, decoder_depth: 1,
       decoder_heads: 2}}
  mtp:
    kind: mtp
    settings:
      {{sources: {{harbour: , town: }}, conflicts_every: 1, conflict_batches: 1,
       resize_relative_to: image}}
  weighed: {{kind: mtp, like: mtp, settings: {{balance: uncertainty}}}}
transfers:
  town: {{task: rotated, settings: {{resize_relative_to: image}}}}
  chips: {{task: scene, settings: {{image_size: 32}}}}
fractions: [0.5, 1.0]
seeds: [1, 2]
"""


@pytest.mark.slow
def test_the_command_as_it_is_typed_by_two_processes_at_once(data, tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(every_run=json.dumps(TINY)))
    out = tmp_path / "study"
    words = ["study", "stages", "--config", str(recipe), "--data", str(data), "--out", str(out)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "geomtp.cli", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # as torchrun would start them
            env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=600) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    done = [[line for line in text.splitlines() if line.startswith("[")] for text, _ in said]
    titles = [line.split("] ")[1].rsplit(":", 1)[0] for lines in done for line in lines]
    # 4 stages of pretraining of the one ladder, 1 of the other; 7 rungs, 2 tasks, 2 × 2
    assert len(titles) == len(set(titles)) == 5 + 7 * 2 * 4
    assert all(done), "one process did everything"
    for text, _ in said:
        assert "vit, town: rotated/ap50, 2 test images" in text
        assert "vit: mtp without the first stage falls below the base model, mae" in text
        assert "weighed is better than mtp" in text
    with (out / "study.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 61
    assert {row["status"] for row in rows} == {"done"}
    assert len({row["cell"] for row in rows}) == 61
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 2 + 4  # gains of two ladders, four conflicts
