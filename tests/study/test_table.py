"""Means, deviations and costs, against numbers made by hand."""

import csv
import math

import pytest

from geomtp.study.table import Row, Summary, costs_of, grids_of, table_text, write_csv


def row(rung, seed, value, *, ladder="cnn", transfer="chips", fraction=0.5, **changes):
    settings = {
        "pretraining_seed": None, "transfer": transfer, "figure": "scene/accuracy",
        "fraction": fraction, "seed": seed, "status": "done", "value": value, "train_images": 8,
        "test_images": 4, "steps": 10, "seconds": 30.0, "cpu_seconds": 60.0,
        "pretraining_steps": 0, "pretraining_seconds": 0.0, "pretraining_cpu_seconds": 0.0,
    }  # fmt: skip
    return Row("transfer", ladder, rung, **{**settings, **changes})


ROWS = [
    row("nothing", 1, 0.2), row("nothing", 2, 0.4), row("nothing", 3, 0.6),
    row("mtp", 1, 0.5, pretraining_steps=100, pretraining_seconds=120.0,
        pretraining_cpu_seconds=240.0),
    row("mtp", 2, None, status="failed", reason="broken", train_images=None, steps=None,
        seconds=None, cpu_seconds=None, pretraining_steps=None),
    row("nothing", 1, 0.9, fraction=1.0, train_images=16),
    row("mtp", 1, None, fraction=1.0, status="open", train_images=None),
]  # fmt: skip


def test_summaries_by_hand():
    summary = Summary.of([0.2, 0.4, 0.6])
    assert (summary.mean, summary.deviation, summary.count) == (
        pytest.approx(0.4),
        pytest.approx(0.2),  # sample deviation: sqrt((0.04 + 0 + 0.04) / 2)
        3,
    )
    assert str(summary) == "0.400 ± 0.200 (3)"
    assert str(Summary.of([0.25])) == "0.250 (1)"
    assert str(Summary.of([])) == "–"
    assert math.isnan(Summary.of([0.25]).deviation)


def test_the_grid_of_a_transfer():
    (grid,) = grids_of(ROWS)
    assert (grid.rungs, grid.fractions, grid.test_images) == (("nothing", "mtp"), (0.5, 1.0), 4)
    assert grid.text("nothing", 0.5) == "0.400 ± 0.200 (3)"
    assert grid.text("mtp", 0.5) == "0.500 (1), 1 failed"
    assert grid.text("mtp", 1.0) == "–"
    assert grid.heading(1.0) == "1 (16 images)"


def test_costs_are_means_over_what_was_done():
    nothing, mtp = costs_of(ROWS)
    assert (nothing.rung, nothing.pretraining_seconds, nothing.seconds) == ("nothing", 0, 30)
    assert (mtp.pretraining_steps, mtp.pretraining_seconds, mtp.cpu_seconds) == (100, 120, 60)


def test_the_table_on_a_terminal():
    text = table_text(ROWS)
    assert "cnn, chips: scene/accuracy, 4 test images" in text
    lines = {
        line.split()[0]: line.split() for line in text.splitlines() if line.startswith(("n", "m"))
    }
    assert lines["nothing"] == ["nothing", "0.400", "±", "0.200", "(3)", "0.900", "(1)"]
    assert "cnn, mtp" in text
    assert "2.0 (4.0)" in text  # minutes of pretraining, and of the processor


def test_csv_has_a_row_for_each_run(tmp_path):
    path = write_csv(ROWS, tmp_path / "deep" / "study.csv")
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(ROWS)
    assert (rows[0]["value"], rows[0]["seed"], rows[0]["fraction"]) == ("0.2", "1", "0.5")
    assert (rows[4]["status"], rows[4]["value"], rows[4]["reason"]) == ("failed", "", "broken")
