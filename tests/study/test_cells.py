"""Keys of cells: what is part of them, and what is not."""

import dataclasses
from pathlib import Path

import pytest

from geomtp.study import cells
from geomtp.study.cells import Cell, Result, cell_of
from geomtp.training import mae, run
from geomtp.training.configs import FineTune, PretrainMTP, SourceRun
from geomtp.training.mae_config import PretrainMAE

CONFIG = FineTune(task="scene")
DATA = {"data": "f" * 64}


def key(config=CONFIG, data=DATA, weights=None):
    return cell_of(Path("cells"), config, data, weights).key


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 3}, {"seed": 1}, {"train_fraction": 0.5}, {"encoder": "resnet18"},
        {"learning_rate": 1e-3}, {"loss_weights": {"scene": 2.0}}, {"mean": (1.0,)},
        {"batch_norm": "frozen"}, {"validation_split": "test"}, {"precision": "bf16"},
    ],
)  # fmt: skip
def test_what_decides_the_result_is_part_of_the_key(changes):
    assert key(dataclasses.replace(CONFIG, **changes)) != key()


@pytest.mark.parametrize(
    "changes",
    [
        {"out": Path("x")}, {"data": Path("x")}, {"weights": "x"}, {"workers": 7},
        {"log_every": 3}, {"pictures": 9}, {"resume": True}, {"accelerator": "cpu"},
    ],
)  # fmt: skip
def test_where_things_lie_is_not(changes):
    assert key(dataclasses.replace(CONFIG, **changes)) == key()


@pytest.mark.parametrize("kind", [PretrainMAE, PretrainMTP, FineTune])
def test_a_stopped_run_goes_on_after_every_change_that_keeps_its_key(kind):
    """It would otherwise be refused, and its cell counted as failed."""
    names = {field.name for field in dataclasses.fields(kind)}
    may_differ = mae.MAY_DIFFER if kind is PretrainMAE else run.MAY_DIFFER
    assert names & cells.NO_RESULT_CHANGES <= {*may_differ, "weights"}


def test_the_content_of_data_and_weights_and_the_version_are(monkeypatch):
    assert key(data={"data": "e" * 64}) != key()
    assert key(weights="a" * 64) != key()
    assert key(weights="a" * 64) != key(weights="b" * 64)
    other = PretrainMTP(sources={"a": SourceRun(weight=2.0)})
    assert key(other) != key(PretrainMTP(sources={"a": SourceRun()}))
    before = key()
    monkeypatch.setattr(cells, "__version__", "99")
    assert key() != before


def test_keys_are_the_same_tomorrow():
    """A key of settings that are all given: a change of the hash would rerun every study."""
    about = cells.key_content(CONFIG, DATA, None)
    assert set(about) == {"kind", "settings", "data", "weights", "geomtp"}
    assert not {"out", "weights", "data", "resume"} & set(about["settings"])
    assert about["settings"]["steps"] == 1000


def test_results_and_failures_come_back(tmp_path):
    cell = Cell(tmp_path, "k")
    cell.path.mkdir()
    assert (cell.result(), cell.failure(), cell.spent()) == (None, None, (0.0, 0.0))
    cell.note_spent(1.5, 2.5)
    cell.fail("broken")
    assert (cell.failure(), cell.spent()) == ("broken", (1.5, 2.5))
    result = Result({"scene/accuracy": 0.5}, 3, 1.0, 2.0, {"train": 4}, "ab", [{"step": 1}])
    cell.finish(result, {"title": "t"})
    assert (cell.result(), cell.failure()) == (result, None)
