"""The page of a study: it says what was found, also where something is missing."""

import dataclasses
from pathlib import Path

from geomtp.study.report import write_report
from geomtp.study.settings import Ladder
from tests.study.small import small_study
from tests.study.test_table import ROWS, row
from tests.study.test_verdicts import rows_with
from tests.study.test_verdicts import study as verdict_study

AGREEMENT = {"names": ["a<b", "c"], "cosines": [[1.0, -0.5], [-0.5, 1.0]],
             "opposed": [[0.0, 1.0], [1.0, 0.0]]}  # fmt: skip
CONFLICTS = {"tasks": AGREEMENT, "sources": AGREEMENT, "norms": {"a/c": 2.0},
             "losses": {"a/c": 1.0}, "steps": 3}  # fmt: skip


def test_a_page_with_all_that_can_be_in_it(tmp_path):
    study = small_study(Path("data"), tmp_path)
    conflicts = [("cnn: <mtp>", [{"step": 0, **CONFLICTS}, {"step": 5, **CONFLICTS}])]
    page = write_report(study, ROWS, conflicts, tmp_path).read_text(encoding="utf-8")
    assert "<td>nothing</td><td class='n'>0.400 ± 0.200 (3)</td>" in page
    assert "0.500 (1), 1 failed" in page
    assert "1 (16 images)" in page
    assert "cnn: &lt;mtp&gt;" in page
    assert "<b>cnn, mtp, chips with 0.5, seed 2</b> broken" in page
    assert "<b>5</b><span>runs done</span>" in page
    assert page.count("data:image/png;base64,") == 2
    assert sorted(p.name for p in (tmp_path / "plots").iterdir()) == [
        "conflicts_0.png", "gains_cnn.png",
    ]  # fmt: skip
    assert "http" not in page.replace("http-equiv", "")  # needs no other file


def test_claims_stand_first_with_what_the_numbers_say(tmp_path):
    rows = rows_with({seed: (0.2 + seed / 100,) * 4 for seed in (1, 2, 3)})
    page = write_report(verdict_study(), rows, [], tmp_path).read_text(encoding="utf-8")
    assert page.index("<h2>Claims</h2>") < page.index("<h2>vit")
    assert "+0.220 ± 0.006 (n = 3)</td><td><b>support it</b>" in page
    assert "+0.220 ± 0.006 (n = 3)</td><td><b>contradict it</b>" in page  # of large sets
    assert "–</td><td><b>cannot decide</b>" in page  # MTP alone was not run
    assert "both − first" in page


def test_a_study_without_results_has_a_page_too(tmp_path):
    study = small_study(Path("data"), tmp_path, ladders={"cnn": Ladder("resnet10t", {"a": ()})})
    rows = [dataclasses.replace(row("a", 1, None), status="open", train_images=None)]
    page = write_report(study, rows, [], tmp_path).read_text(encoding="utf-8")
    assert "<b>1</b><span>not done yet</span>" in page
    study = dataclasses.replace(study, pretraining_seeds=(1, 2))
    assert "2 runs of each pretraining" in write_report(study, rows, [], tmp_path).read_text(
        "utf-8"
    )
