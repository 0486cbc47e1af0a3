import math

import numpy as np
import pytest
import torch

from geomtp.geometry import rotated_iou
from geomtp.metrics import RotatedScore
from geomtp.metrics.averages import average_precision
from geomtp.metrics.rotated import IMAGES_AT_ONCE
from geomtp.types import Predictions, Targets
from tests.golden_cases import GoldenCase

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def golden():
    return GoldenCase.read("metric_rotated_map")


@pytest.fixture(scope="module")
def result(golden):
    score = RotatedScore(NAMES)
    for image in range(golden.info["config"]["num_images"]):
        found, true = golden.tensor("det_img") == image, golden.tensor("gt_img") == image
        predictions = Predictions(
            rboxes=golden.tensor("det_box")[found],
            rbox_scores=golden.tensor("det_score")[found],
            rbox_labels=golden.tensor("det_cls")[found],
        )
        targets = Targets(
            rboxes=golden.tensor("gt_box")[true], rbox_labels=golden.tensor("gt_cls")[true]
        )
        score.update(image, predictions, targets, ignored=golden.tensor("gt_ignore")[true].bool())
    return score.compute()


@pytest.mark.parametrize("iou", [0.5, 0.75])
@pytest.mark.parametrize("rule, key", [("area", "area"), ("11point", "voc07")])
def test_average_precision_equals_the_reference(golden, result, iou, rule, key):
    matches = result.matches.values()
    scalars = golden.info["scalars"]
    have = [m.average_precision(iou, rule) for m in matches]
    assert [m.num_truth for m in matches] == scalars[f"iou{iou}_{key}/num_gts"]
    assert [len(m.scores) for m in matches] == scalars[f"iou{iou}_{key}/num_dets"]
    # the reference writes 0 for a class without truth and leaves it out of the mean, as we do
    np.testing.assert_allclose(have[:4], scalars[f"iou{iou}_{key}/AP"][:4], atol=1e-6)
    assert math.isnan(have[4])
    assert np.mean(have[:4]) == pytest.approx(scalars[f"iou{iou}_{key}/mAP"], abs=1e-6)


@pytest.mark.parametrize("name, number", [("a", 0), ("b", 1)])
def test_curves_equal_the_reference(golden, result, name, number):
    recall, precision = result.matches[name].curve(0.5)
    np.testing.assert_allclose(recall, golden.tensor(f"recall_cls{number}"), atol=1e-6)
    np.testing.assert_allclose(precision, golden.tensor(f"precision_cls{number}"), atol=1e-6)


def test_summary(golden, result):
    scalars = golden.info["scalars"]
    summary = result.summary()
    assert set(summary) == {
        "rotated/ap50_11point",
        "rotated/ap50",
        "rotated/ap75",
        "rotated/ap",
    }
    assert summary["rotated/ap50_11point"] == pytest.approx(scalars["iou0.5_voc07/mAP"], abs=1e-6)
    assert summary["rotated/ap50"] == pytest.approx(scalars["iou0.5_area/mAP"], abs=1e-6)
    assert summary["rotated/ap75"] == pytest.approx(scalars["iou0.75_area/mAP"], abs=1e-6)


def random_image(generator, num_found, num_true):
    true = torch.rand(num_true, 5, generator=generator) * torch.tensor([90.0, 90, 30, 14, 3]) + 3
    noise = torch.randn(num_found, 5, generator=generator) * torch.tensor([2.0, 2, 2, 1, 0.1])
    found = true[torch.randint(num_true, (num_found,), generator=generator)] + noise
    return (
        Predictions(
            rboxes=found,
            rbox_scores=torch.rand(num_found, generator=generator),
            rbox_labels=torch.randint(2, (num_found,), generator=generator),
        ),
        Targets(rboxes=true, rbox_labels=torch.randint(2, (num_true,), generator=generator)),
        torch.rand(num_true, generator=generator) < 0.3,
    )


def plain_average_precision(images, label, iou):
    """One detection after the other, in plain loops."""
    found, num_true, claimed = [], 0, set()
    for number, (predictions, targets, ignored) in enumerate(images):
        num_true += int(((targets.rbox_labels == label) & ~ignored).sum())
        overlaps = rotated_iou(predictions.rboxes.double(), targets.rboxes.double())
        for i, score in enumerate(predictions.rbox_scores.tolist()):
            if predictions.rbox_labels[i] == label:
                own = [j for j, other in enumerate(targets.rbox_labels) if other == label]
                best = max(own, key=lambda j: overlaps[i, j], default=None)
                found.append((score, number, best, best is not None and overlaps[i, best] >= iou))
    recalls, precisions, right, wrong = [], [], 0, 0
    for _, number, best, touches in sorted(found, key=lambda entry: -entry[0]):
        if touches and images[number][2][best]:
            continue
        if touches and (number, best) not in claimed:
            claimed.add((number, best))
            right += 1
        else:
            wrong += 1
        recalls.append(right / num_true)
        precisions.append(right / (right + wrong))
    area = 0.0
    for i, recall in enumerate(recalls):
        area += (recall - (recalls[i - 1] if i else 0)) * max(precisions[i:])
    return area


def test_equals_plain_loops():
    generator = torch.Generator().manual_seed(3)
    images = [random_image(generator, 14, 6) for _ in range(8)]
    score = RotatedScore(("a", "b"))
    for number, (predictions, targets, ignored) in enumerate(images):
        score.update(number, predictions, targets, ignored)
    result = score.compute()
    for label in range(2):
        assert result.ap50[label] == pytest.approx(plain_average_precision(images, label, 0.5))
        assert result.ap75[label] == pytest.approx(plain_average_precision(images, label, 0.75))
        levels = [plain_average_precision(images, label, t / 100) for t in range(50, 100, 5)]
        assert result.ap[label] == pytest.approx(np.mean(levels))
    assert 0 < result.ap75[0] < result.ap50[0] < 1


def test_overlaps_of_many_images_are_those_of_each():
    generator = torch.Generator().manual_seed(5)
    images = [random_image(generator, 12, 7) for _ in range(IMAGES_AT_ONCE + 6)]
    score = RotatedScore(("a", "b"))
    for number, (predictions, targets, _) in enumerate(images):
        score.update(number, predictions, targets)
    matches = score.compute().matches
    for label, name in enumerate(("a", "b")):
        rows, before = [], 0
        for number in sorted(range(len(images)), key=repr):  # the order of images in a result
            predictions, targets, _ = images[number]
            mine, own = predictions.rbox_labels == label, targets.rbox_labels == label
            overlaps = rotated_iou(predictions.rboxes[mine].double(), targets.rboxes[own].double())
            for value, row in zip(predictions.rbox_scores[mine].tolist(), overlaps, strict=True):
                best = int(row.argmax()) if len(row) else -1
                rows.append((value, float(row[best]) if len(row) else 0.0, before + best))
            before += int(own.sum())
        scores, ious, truth = map(np.array, zip(*sorted(rows, key=lambda r: -r[0]), strict=True))
        np.testing.assert_allclose(matches[name].scores, scores, atol=0)
        np.testing.assert_allclose(matches[name].best_iou.clip(0), ious, atol=1e-12)
        near = ious > 0
        assert near.sum() > 200
        assert (matches[name].best_truth[near] == truth[near]).all()


def test_of_equal_overlaps_the_first_box_counts():
    score = RotatedScore(("a",))
    score.update(0, found_of(BOX, scores=[0.9]), true_of(FAR, BOX, BOX))
    assert score.compute().matches["a"].best_truth.tolist() == [1]
    ignored = torch.tensor([False, True, False])
    score = RotatedScore(("a",))
    score.update(0, found_of(BOX, scores=[0.9]), true_of(FAR, BOX, BOX), ignored)
    assert score.compute().ap50[0] == 0.5  # the one that is not ignored was found


def found_of(*rows, scores, labels=None):
    return Predictions(
        rboxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 5),
        rbox_scores=torch.tensor(scores),
        rbox_labels=torch.tensor(labels or [0] * len(rows), dtype=torch.long),
    )


def true_of(*rows, labels=None):
    return Targets(
        rboxes=torch.tensor(rows, dtype=torch.float32).reshape(-1, 5),
        rbox_labels=torch.tensor(labels or [0] * len(rows), dtype=torch.long),
    )


BOX, FAR = (50, 50, 40, 20, 0.3), (150, 50, 40, 20, 0.3)


def test_a_box_is_claimed_once_by_the_highest_score():
    score = RotatedScore(("a",))
    score.update(0, found_of(BOX, BOX, scores=[0.6, 0.9]), true_of(BOX, FAR))
    recall, precision = score.compute().matches["a"].curve(0.5)
    assert recall.tolist() == [0.5, 0.5]
    assert precision.tolist() == [1.0, 0.5]


def test_ignored_boxes_are_neither_found_nor_missed():
    score = RotatedScore(("a",))
    score.update(
        0, found_of(FAR, BOX, scores=[0.9, 0.6]), true_of(BOX, FAR), torch.tensor([False, True])
    )
    matches = score.compute().matches["a"]
    assert matches.num_truth == 1
    assert matches.average_precision(0.5) == 1.0


def test_classes_do_not_match_each_other():
    score = RotatedScore(("a", "b"))
    score.update(0, found_of(BOX, scores=[0.9], labels=[1]), true_of(BOX, labels=[0]))
    result = score.compute()
    assert result.ap50[0] == 0.0
    assert math.isnan(result.ap50[1])
    assert result.summary()["rotated/ap50"] == 0.0


def test_an_image_seen_twice_counts_once():
    score = RotatedScore(("a",))
    for _ in range(2):
        score.update("x", found_of(BOX, scores=[0.9]), true_of(BOX))
        score.update("y", found_of(scores=[]), true_of(BOX))
    assert score.compute().matches["a"].curve(0.5)[0].tolist() == [0.5]


def test_empty_sets():
    assert all(math.isnan(v) for v in RotatedScore(("a", "b")).compute().summary().values())
    score = RotatedScore(("a",))
    score.update(0, found_of(BOX, scores=[0.9]), true_of())
    assert math.isnan(score.compute().ap50[0])
    score.update(1, found_of(scores=[]), true_of(BOX))
    assert score.compute().ap50 == (0.0,)


def test_average_precision_by_hand():
    recall, precision = np.array([0.25, 0.25, 0.5]), np.array([1.0, 0.5, 2 / 3])
    assert average_precision(recall, precision) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    # recall 0, .1, .2 have 1; .3, .4, .5 have 2/3
    assert average_precision(recall, precision, "11point") == pytest.approx(5 / 11)
    assert average_precision(np.empty(0), np.empty(0)) == 0.0
    assert average_precision(np.empty(0), np.empty(0), "11point") == 0.0


def test_mistakes_are_named():
    score = RotatedScore(("a",))
    with pytest.raises(ValueError, match="the predictions of image 3 hold no rotated boxes"):
        score.update(3, Predictions(), true_of(BOX))
    with pytest.raises(ValueError, match="holds class ids 1…1, expected 0…0"):
        score.update(3, found_of(BOX, scores=[0.5]), true_of(BOX, labels=[1]))
    with pytest.raises(ValueError, match="ignored must hold one flag per true box: 1 boxes"):
        score.update(3, found_of(BOX, scores=[0.5]), true_of(BOX), torch.zeros(2))
