import math

import numpy as np
import pytest
import torch

from geomtp.metrics import CocoScore
from geomtp.types import Predictions, Targets
from tests.golden_cases import GoldenCase

NAMES = tuple("abcde")


@pytest.fixture(scope="module")
def golden():
    return GoldenCase.read("metric_coco")


@pytest.fixture(scope="module")
def result(golden):
    score = CocoScore(NAMES)
    for image in range(golden.info["config"]["num_images"]):
        found, true = golden.tensor("det_img") == image, golden.tensor("gt_img") == image
        predictions = Predictions(
            boxes=golden.tensor("det_box")[found],
            box_scores=golden.tensor("det_score")[found],
            box_labels=golden.tensor("det_cls")[found],
            masks=golden.tensor("det_masks_packed")[found].bool(),
        )
        targets = Targets(
            boxes=golden.tensor("gt_box")[true],
            box_labels=golden.tensor("gt_cls")[true],
            masks=golden.tensor("gt_masks_packed")[true].bool(),
        )
        score.update(image, predictions, targets, crowd=golden.tensor("gt_crowd")[true].bool())
    return score.compute()


@pytest.mark.parametrize("kind, name", [("box", "bbox"), ("mask", "segm")])
def test_scores_equal_the_reference(golden, result, kind, name):
    scores = getattr(result, kind)
    have = [
        scores.ap,
        scores.ap50,
        scores.ap75,
        scores.ap_small,
        scores.ap_medium,
        scores.ap_large,
        *(scores.ar[most] for most in (100, 300, 1000)),
        scores.ar_small,
        scores.ar_medium,
        scores.ar_large,
    ]
    wanted = np.array(golden.info["scalars"][f"{name}/stats"])
    np.testing.assert_allclose(have, np.where(wanted < 0, np.nan, wanted), atol=1e-9)
    for field, key in (("class_ap", "AP_per_class"), ("class_ap50", "AP50_per_class")):
        classes = golden.info["scalars"][f"{name}/{key}"]
        wanted = [math.nan if v is None else v for v in classes]
        np.testing.assert_allclose(getattr(scores, field), wanted, atol=1e-9)


def test_summary_names_and_values(result):
    assert set(result.summary()) == {
        f"{k}/{n}" for k in ("box", "mask") for n in ("ap", "ap50", "ap75")
    }
    assert result.summary()["mask/ap50"] == result.mask.ap50
    assert result.summary()["box/ap"] == result.box.ap


def boxes_of(*rows, scores=None, labels=None):
    """Detections where there are scores, else true objects."""
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    classes = torch.tensor(labels or [0] * len(boxes), dtype=torch.long)
    if scores is None:
        return Targets(boxes=boxes, box_labels=classes)
    return Predictions(boxes=boxes, box_scores=torch.tensor(scores), box_labels=classes)


BOX, FAR = (10, 10, 30, 30), (60, 60, 80, 80)


def test_boxes_by_hand():
    score = CocoScore(("a",))
    # precision 1 up to recall ½, then a false box before the second true one
    score.update(
        "x", boxes_of(BOX, (200, 0, 210, 9), FAR, scores=[0.9, 0.8, 0.7]), boxes_of(BOX, FAR)
    )
    box = score.compute().box
    assert box.ap == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)
    assert box.ap50 == pytest.approx(box.ap)
    assert box.ar == {100: 1.0, 300: 1.0, 1000: 1.0}
    assert math.isnan(box.ap_large)


def test_a_detection_of_score_one_is_no_crowd():
    score = CocoScore(("a",))
    score.update(0, boxes_of(BOX, scores=[1.0]), boxes_of(BOX))
    assert score.compute().box.ap == pytest.approx(1.0)


def test_masks_decide_the_score_of_masks():
    left, right = torch.zeros(2, 1, 40, 40, dtype=torch.bool)
    left[:, 10:30, 10:20], right[:, 10:30, 20:30] = True, True
    score = CocoScore(("a",))
    predictions, targets = boxes_of(BOX, scores=[0.5]), boxes_of(BOX)
    score.update(
        0,
        Predictions(predictions.boxes, predictions.box_scores, predictions.box_labels, masks=left),
        Targets(targets.boxes, targets.box_labels, masks=right),
    )
    result = score.compute()
    assert (result.box.ap, result.mask.ap) == (pytest.approx(1.0), 0.0)


def test_an_image_seen_twice_counts_once():
    score = CocoScore(("a",))
    for _ in range(2):
        score.update("x", boxes_of(BOX, scores=[0.9]), boxes_of(BOX))
        score.update("y", boxes_of(scores=[]), boxes_of(BOX))
    assert score.compute().box.ar[100] == 0.5


def test_empty_sets():
    assert all(math.isnan(v) for v in CocoScore(("a", "b")).compute().summary().values())
    nothing_true = CocoScore(("a",))
    nothing_true.update(0, boxes_of(BOX, scores=[0.9]), boxes_of())
    assert math.isnan(nothing_true.compute().box.ap50)
    nothing_found = CocoScore(("a",))
    nothing_found.update(0, boxes_of(scores=[]), boxes_of(BOX))
    assert nothing_found.compute().summary() == {"box/ap": 0.0, "box/ap50": 0.0, "box/ap75": 0.0}
    no_masks = torch.zeros(0, 8, 8, dtype=torch.bool)
    masked = CocoScore(("a",))
    masked.update(
        0,
        Predictions(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), masks=no_masks),
        Targets(torch.zeros(0, 4), torch.zeros(0).long(), masks=no_masks),
    )
    assert math.isnan(masked.compute().mask.ap)


def test_mistakes_are_named():
    score = CocoScore(("a",))
    with pytest.raises(ValueError, match="the predictions of image 3 hold no boxes"):
        score.update(3, Predictions(), boxes_of(BOX))
    with pytest.raises(ValueError, match="the targets of image 3 hold no boxes"):
        score.update(3, boxes_of(BOX, scores=[0.5]), Targets())
    with pytest.raises(ValueError, match="holds class ids 1…1, expected 0…0"):
        score.update(3, boxes_of(BOX, scores=[0.5], labels=[1]), boxes_of(BOX))
    with pytest.raises(ValueError, match=r"one flag per true box: 1 boxes, flags of shape \(2,\)"):
        score.update(3, boxes_of(BOX, scores=[0.5]), boxes_of(BOX), crowd=torch.zeros(2))
    small, large = torch.zeros(1, 4, 4).bool(), torch.zeros(1, 8, 8).bool()
    one = torch.zeros(1, 4), torch.zeros(1), torch.zeros(1).long()
    with pytest.raises(ValueError, match=r"differ in size: predicted \(4, 4\), true \(8, 8\)"):
        score.update(3, Predictions(*one, masks=small), Targets(one[0], one[2], masks=large))
    score.update(0, Predictions(*one, masks=small), Targets(one[0], one[2], masks=small))
    score.update(1, boxes_of(BOX, scores=[0.5]), boxes_of(BOX))
    with pytest.raises(ValueError, match="1 of 2 images came with masks"):
        score.compute()
