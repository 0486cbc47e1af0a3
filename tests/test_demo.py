"""The demo: what it compares and writes; the whole of it, as quick as it gets."""

import pytest

from geomtp.demo import FIGURES, compared, free_folder, run_demo
from geomtp.training.run_folder import RunFolder


def test_the_next_free_name_is_taken(tmp_path):
    assert free_folder(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert free_folder(tmp_path / "run") == tmp_path / "run-3"


def test_figures_are_compared_at_both_ends_and_in_the_mean(tmp_path):
    folder = RunFolder(tmp_path)
    folder.metrics.write_text(
        "step,name,value\n"
        "0,val/a/semantic/miou,0.1\n0,val/b/semantic/miou,0.3\n0,val/mean,0.2\n"
        "5,val/a/semantic/miou,0.4\n9,val/a/semantic/miou,0.6\n9,val/b/semantic/miou,0.8\n"
        "0,val/a/rotated/ap50,0.0\n9,val/a/rotated/ap50,0.5\n"
    )
    rows = compared(folder)
    assert rows[:2] == [("a", "semantic mIoU", 0.1, 0.6), ("b", "semantic mIoU", 0.3, 0.8)]
    assert rows[2][:2] == ("mean", "semantic mIoU")
    assert rows[2][2:] == pytest.approx((0.2, 0.7))
    assert rows[3][:2] == ("a", "rotated AP50")


@pytest.mark.slow
def test_the_quick_demo_learns_and_reports(tmp_path):
    rows = run_demo(tmp_path / "run", quick=True)
    means = {title: (before, after) for source, title, before, after in rows if source == "mean"}
    assert set(means) == set(FIGURES.values())
    for before, after in means.values():
        assert after > before
    page = (tmp_path / "run" / "report.html").read_text()
    assert page.count("data:image/png;base64") == 4  # curves, and a picture of each source
    assert "rotated AP50" in page
