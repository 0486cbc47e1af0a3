"""What a stage came to: kept, and set in columns."""

import math

import pytest

from geomtp.demo.chapters import Chapter

CHAPTER = Chapter(
    text=("First.", "Second."),
    command="geomtp labels",
    heads=("class", "objects", "gain"),
    rows=(("ship", 1200, 0.25), ("storage-tank", 7, -0.5), ("court", 0, math.nan)),
    pictures={"labels/a.png": "A picture"},
    seconds=1.5,
    cpu_seconds=2.5,
)


def test_a_chapter_comes_back_as_it_was_kept(tmp_path):
    assert Chapter.read(tmp_path / "a") is None
    whole = Chapter(**{**vars(CHAPTER), "rows": CHAPTER.rows[:2]})
    whole.save(tmp_path / "a")
    assert Chapter.read(tmp_path / "a") == whole


def test_figures_are_set_in_columns():
    assert CHAPTER.lines() == [
        "class         objects    gain",
        "ship            1,200  +0.250",
        "storage-tank        7  -0.500",
        "court               0       –",
    ]
    assert Chapter((), "").lines() == []


def test_a_damaged_chapter_is_named(tmp_path):
    (tmp_path / "chapter.json").write_text("{")
    with pytest.raises(OSError, match=r"chapter.json is damaged .* to do its stage anew"):
        Chapter.read(tmp_path)
