"""Instances that are left out because they are doubted."""

import numpy as np
import pytest

from geomtp.geometry import encode_rle
from geomtp.labels import DoubtRule, ImageLabels, semantic_map


def three_squares():
    masks = np.zeros((3, 8, 12), dtype=bool)
    for i in range(3):
        masks[i, 2:6, 4 * i : 4 * i + 5] = True  # each shares a column with the next
    return ImageLabels(
        "a.png",
        (8, 12),
        boxes=np.array([[0, 2, 5, 6], [4, 2, 9, 6], [8, 2, 12, 6]], dtype=np.float32),
        box_labels=np.array([0, 1, 2]),
        rles=tuple(encode_rle(masks)),
        rboxes=np.zeros((3, 5), dtype=np.float32),
        rbox_labels=np.array([0, 1, 2]),
        scores=np.array([0.9, 0.4, 0.0], dtype=np.float32),
        flags=((), ("holes",), ("empty", "box_instead")),
        prompts=("rh",) * 3,
    )


def test_low_scores_and_flags_are_left_out_and_rotated_boxes_stay():
    labels = three_squares()
    by_score = DoubtRule(least_score=0.5).apply(labels)
    assert by_score.box_labels.tolist() == [0]
    assert (by_score.flags, by_score.prompts) == (((),), ("rh",))
    assert len(by_score.rboxes) == 3
    by_flag = DoubtRule(flags=("box_instead", "large_spill")).apply(labels)
    assert by_flag.box_labels.tolist() == [0, 1]
    assert by_flag.scores.tolist() == labels.scores[:2].tolist()
    assert DoubtRule().apply(labels) is labels


def test_their_pixels_are_ignored_where_nothing_else_is():
    left = DoubtRule(flags=("holes",)).apply(three_squares())
    row = semantic_map(left, None)[3]
    assert row.tolist() == [1] * 5 + [255] * 3 + [3] * 4
    window = semantic_map(left, None, (4, 3, 9, 5))
    assert window.tolist() == [[1, 255, 255, 255, 3]] * 2


def test_stores_without_scores_keep_everything():
    labels = ImageLabels("a.png", (4, 4), boxes=np.zeros((1, 4), np.float32), box_labels=[0])
    rule = DoubtRule(0.5, ("holes",))
    assert rule.apply(labels) is labels
    assert rule.apply(ImageLabels("a.png", (4, 4))).boxes is None


def test_flags_that_there_are_not_are_refused():
    with pytest.raises(ValueError, match=r"unknown flag 'hole'; known: .*holes"):
        DoubtRule(flags=("holes", "hole"))
