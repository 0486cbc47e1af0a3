"""Accuracy of classes of whole images, with hand-made numbers."""

import math

import pytest

from geomtp.metrics import SceneScore


def test_hand_made_numbers():
    score = SceneScore(("field", "forest", "water"))
    for i, (true, predicted) in enumerate([(0, 0), (0, 0), (0, 1), (0, 0), (1, 1), (1, 0)]):
        score.update(f"{i}.png", predicted, true)
    score.update("0.png", 2, 0)  # seen before
    result = score.compute()
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.class_accuracy[:2] == (0.75, 0.5)
    assert math.isnan(result.class_accuracy[2])
    assert result.confusion == ((3, 1, 0), (1, 1, 0), (0, 0, 0))
    assert result.summary() == {
        "scene/accuracy": pytest.approx(4 / 6),
        "scene/mean_class_accuracy": 0.625,
    }


def test_nothing_and_unknown_classes():
    score = SceneScore(("a", "b"))
    assert math.isnan(score.compute().accuracy)
    with pytest.raises(ValueError, match=r"the true class of image 'x' is 2, expected 0…1"):
        score.update("x", 0, 2)
    with pytest.raises(ValueError, match=r"the predicted class of image 'x' is -1"):
        score.update("x", -1, 0)
