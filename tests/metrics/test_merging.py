"""Two processes with unequal shares and a repeated image give the scores of one process."""

import pytest
import torch

from geomtp.metrics import CocoScore, RotatedScore, SemanticScore
from geomtp.parallel import rank
from geomtp.types import Predictions, Targets
from tests.processes import results_of_processes

SHARES = ([0, 2, 3, 4], [1, 4])  # image 4 is seen by both


def summaries(images: list[int]) -> dict[str, float]:
    semantic, coco, rotated = SemanticScore(3), CocoScore("ab"), RotatedScore("ab")
    for image in images:
        generator = torch.Generator().manual_seed(image)
        maps = torch.randint(0, 3, (2, 8, 8), generator=generator)
        semantic.update(*maps, image_id=image)
        true = torch.rand(5, 2, generator=generator) * 80
        found = true + torch.randn(5, 2, generator=generator) * 2
        labels = torch.arange(5) % 2
        scores = torch.randint(1, 4, (5,), generator=generator) / 4  # ties across images
        sides = torch.tensor([20.0, 10.0]).expand(5, 2)
        angle = torch.full((5, 1), 0.4)
        predictions = Predictions(
            boxes=torch.cat([found, found + sides], dim=1),
            box_scores=scores,
            box_labels=labels,
            rboxes=torch.cat([found, sides, angle], dim=1),
            rbox_scores=scores,
            rbox_labels=labels,
        )
        targets = Targets(
            boxes=torch.cat([true, true + sides], dim=1),
            box_labels=labels,
            rboxes=torch.cat([true, sides, angle], dim=1),
            rbox_labels=labels,
        )
        coco.update(image, predictions, targets)
        rotated.update(image, predictions, targets)
    return {
        name: value
        for score in (semantic, coco, rotated)
        for name, value in score.compute().summary().items()
    }


def summaries_of_own_share() -> dict[str, float]:
    return summaries(SHARES[rank()])


def test_two_processes_score_like_one(tmp_path):
    alone = summaries([0, 1, 2, 3, 4])
    assert 0 < alone["rotated/ap50"] < 1
    assert 0 < alone["box/ap50"] < 1
    for together in results_of_processes(summaries_of_own_share, tmp_path):
        assert together == pytest.approx(alone, abs=0)
