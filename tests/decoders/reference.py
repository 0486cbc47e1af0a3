"""Loading the reference's small detectors into ours."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from geomtp.decoders.detection.sampling import Sampler
from geomtp.types import FeaturePyramid, Predictions, Targets
from tests.golden_cases import GoldenCase

TAKE_ALL = Sampler(count=10**6, positive_fraction=1.0)
SIZES_HW = ((128, 128), (112, 120))


def load_official(decoder, weights):
    official = decoder.official_keys(
        {source: i + 1 for i, source in enumerate(decoder.classifiers)}
    )
    assert set(official.values()) == set(weights)
    decoder.load_state_dict({ours: weights[theirs] for ours, theirs in official.items()})
    return decoder


def pyramid_of(case: GoldenCase) -> FeaturePyramid:
    levels = tuple(case.tensor(f"feat{i}").requires_grad_() for i in range(4))
    return FeaturePyramid(levels, (4, 8, 16, 32))


def targets_of(case: GoldenCase) -> list[Targets]:
    targets = []
    for index in range(2):
        labels = case.tensor(f"gt{index}/labels")
        targets.append(
            Targets(
                boxes=case.tensor(f"gt{index}/hboxes"),
                box_labels=labels,
                masks=case.tensor(f"gt{index}/masks_packed").bool(),
                rboxes=case.tensor(f"gt{index}/rboxes"),
                rbox_labels=labels,
            )
        )
    return targets


def compare_boxes(case: GoldenCase, predictions: Sequence[Predictions]) -> None:
    """Assert that number, scores, labels and places of the boxes are the reference's."""
    assert len(predictions) == len(SIZES_HW)
    for index, found in enumerate(predictions):
        prefix = f"test/img{index}/"
        assert len(found.boxes) == case.scalar(prefix + "num")
        want = case.scalar(prefix + "score_sum")
        assert float(found.box_scores.sum()) == pytest.approx(want, rel=1e-4)
        close = {"rtol": 0, "atol": 1e-2}
        torch.testing.assert_close(found.boxes[:20], case.tensor(prefix + "boxes"), **close)
        scores = case.tensor(prefix + "scores")
        torch.testing.assert_close(found.box_scores[:20], scores, rtol=0, atol=1e-4)
        assert found.box_labels[:20].equal(case.tensor(prefix + "labels"))


def gradient_norm(parameters) -> float:
    squares = [p.grad.double().square().sum() for p in parameters if p.grad is not None]
    return float(torch.stack(squares).sum().sqrt())
