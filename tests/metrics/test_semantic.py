import math

import numpy as np
import pytest
import torch

from geomtp.metrics import SemanticScore
from tests.golden_cases import GoldenCase


@pytest.fixture(scope="module")
def golden():
    return GoldenCase.read("metric_miou")


@pytest.fixture(scope="module")
def result(golden):
    score = SemanticScore(num_classes=6)
    for prediction, truth in zip(golden.tensor("preds"), golden.tensor("labels"), strict=True):
        score.update(prediction, truth)
    return score.compute()


@pytest.mark.parametrize(
    "field, name",
    [
        ("iou", "IoU"),
        ("accuracy", "Acc"),
        ("recall", "Recall"),
        ("precision", "Precision"),
        ("f1", "Fscore"),
        ("dice", "Dice"),
    ],
)
def test_classes_equal_the_reference(golden, result, field, name):
    wanted = [math.nan if v is None else v for v in golden.info["scalars"][f"fraction/{name}"]]
    np.testing.assert_allclose(getattr(result, field), wanted, atol=1e-6)


def test_means_equal_the_reference(golden, result):
    for name, value in (
        ("IoU", result.mean_iou),
        ("Acc", result.mean_accuracy),
        ("Fscore", result.mean_f1),
        ("aAcc", result.pixel_accuracy),
    ):
        assert 100 * value == pytest.approx(
            golden.scalar(f"reported_mean_percent/{name}"), abs=0.0051
        )
    assert result.summary() == {
        "semantic/miou": result.mean_iou,
        "semantic/macc": result.mean_accuracy,
        "semantic/mf1": result.mean_f1,
        "semantic/pixel_accuracy": result.pixel_accuracy,
    }


def test_confusion_equals_the_reference(golden, result):
    confusion = np.array(result.confusion)
    assert confusion.diagonal().tolist() == golden.info["scalars"]["area_intersect"]
    assert confusion.sum(axis=0).tolist() == golden.info["scalars"]["area_pred"]
    assert confusion.sum(axis=1).tolist() == golden.info["scalars"]["area_label"]


def test_a_map_by_hand():
    score = SemanticScore(3)
    truth = torch.tensor([[0, 0, 1], [1, 255, 255]], dtype=torch.uint8)
    prediction = torch.tensor([[0, 1, 1], [1, 0, 2]], dtype=torch.uint8)
    score.update(prediction, truth)
    result = score.compute()
    assert result.confusion == ((1, 1, 0), (0, 2, 0), (0, 0, 0))
    assert result.iou[:2] == (1 / 2, 2 / 3)
    assert math.isnan(result.iou[2])
    assert result.pixel_accuracy == 3 / 4
    assert result.mean_iou == pytest.approx(7 / 12)


def test_a_class_that_is_missed_altogether_has_f1_nan_and_dice_zero():
    score = SemanticScore(2)
    score.update(torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))
    result = score.compute()
    assert result.iou == (0.0, 0.0)
    assert np.isnan(result.f1).all()
    assert result.dice == (0.0, 0.0)
    assert math.isnan(result.mean_f1)


def test_an_image_seen_twice_counts_once():
    once, twice, nameless = SemanticScore(4), SemanticScore(4), SemanticScore(4)
    generator = torch.Generator().manual_seed(0)
    maps = torch.randint(0, 4, (3, 2, 8, 8), generator=generator)
    for i, (prediction, truth) in enumerate(maps):
        once.update(prediction, truth, image_id=i)
        nameless.update(prediction, truth)
    for i in (0, 1, 2, 0, 2):
        twice.update(*maps[i], image_id=i)
    assert once.compute() == twice.compute() == nameless.compute()


def test_nothing_and_only_ignored_pixels_give_nan():
    score = SemanticScore(2)
    score.update(torch.zeros(2, 2, dtype=torch.long), torch.full((2, 2), 255))
    result = score.compute()
    assert all(math.isnan(value) for value in result.summary().values())
    assert result.confusion == ((0, 0), (0, 0))


def test_mistakes_are_named():
    score = SemanticScore(2)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2\) and \(2, 3\)"):
        score.update(torch.zeros(2, 2), torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"truth holds values 0…2, expected 0…1"):
        score.update(torch.zeros(1, 2).long(), torch.tensor([[0, 2]]))
    with pytest.raises(ValueError, match=r"prediction holds values 1…7"):
        score.update(torch.tensor([[1, 7]]), torch.zeros(1, 2).long())
