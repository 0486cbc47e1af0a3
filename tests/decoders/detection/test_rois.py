"""Regions: levels, sampling and pooling."""

import pytest
import torch

from geomtp.decoders.detection.assignment import box_overlaps
from geomtp.decoders.detection.rois import (
    match_and_sample,
    objects_of,
    pool_horizontal,
    pool_rotated,
    roi_levels,
)
from geomtp.decoders.detection.sampling import Sampler
from geomtp.types import FeaturePyramid
from tests.golden_cases import GoldenCase


def test_levels_equal_the_reference():
    case = GoldenCase.read("roi_levels")
    horizontal, rotated = case.tensor("hrois"), case.tensor("rrois")
    sides = ((horizontal[:, 3] - horizontal[:, 1]) * (horizontal[:, 4] - horizontal[:, 2])).sqrt()
    assert roi_levels(sides).equal(case.tensor("hlevels"))
    assert roi_levels((rotated[:, 3] * rotated[:, 4]).sqrt()).equal(case.tensor("rlevels"))


def pyramid_of_numbers():
    """Each level is filled with its own number."""
    levels = tuple(torch.full((2, 3, 64 >> i, 64 >> i), float(i)) for i in range(5))
    return FeaturePyramid(levels, (4, 8, 16, 32, 64))


def test_each_region_is_pooled_from_its_level_in_order():
    side = torch.tensor([200.0, 20.0, 120.0, 60.0])  # levels 1, 0, 1, 0
    zero = torch.zeros(4)
    horizontal = torch.stack([zero, zero, zero, side, side], dim=-1)
    pooled = pool_horizontal(pyramid_of_numbers(), horizontal, 2)
    assert pooled[:, 0, 0, 0].tolist() == pytest.approx([1, 0, 1, 0])
    rotated = torch.stack([zero, side / 2, side / 2, side, side, zero], dim=-1)
    pooled = pool_rotated(pyramid_of_numbers(), rotated, 2)
    assert pooled[:, 0, 0, 0].tolist() == pytest.approx([1, 0, 1, 0])


def test_no_region_keeps_the_graph():
    levels = tuple(torch.randn(1, 3, 8 >> i, 8 >> i, requires_grad=True) for i in range(4))
    pyramid = FeaturePyramid(levels, (4, 8, 16, 32))
    pooled = pool_horizontal(pyramid, torch.zeros(0, 5), 7)
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert float(levels[0].grad.abs().sum()) == 0


def test_objects_come_first_and_join_the_proposals():
    boxes = [torch.tensor([[0.0, 0.0, 10.0, 10.0]]), torch.zeros(0, 4)]
    labels = [torch.tensor([4]), torch.zeros(0, dtype=torch.long)]
    proposals = [
        torch.tensor([[20.0, 20.0, 30.0, 30.0], [0.0, 0.0, 10.0, 9.0]]),
        torch.tensor([[1.0, 1.0, 2.0, 2.0]]),
    ]
    rois = match_and_sample(
        proposals,
        boxes,
        labels,
        num_classes=7,
        overlaps=box_overlaps,
        low_quality=None,
        sampler=Sampler(512, 1.0),
        like=torch.zeros(0, 4),
    )
    assert rois.image.tolist() == [0, 0, 0, 1]
    assert rois.labels.tolist() == [4, 4, 7, 7]
    assert rois.boxes[0].tolist() == [0, 0, 10, 10]
    assert rois.positives.tolist() == [0, 1]
    assert objects_of(rois, boxes).tolist() == [[0, 0, 10, 10], [0, 0, 10, 10]]


@pytest.mark.parametrize(("count", "fraction", "wanted"), [(512, 0.25, (3, 4)), (4, 0.5, (2, 2))])
def test_sampler_limits(count, fraction, wanted):
    assigned = torch.tensor([0, -1, 1, -2, -1, 1, -1, -1])
    positives, negatives = Sampler(count, fraction).sample(assigned)
    assert (len(positives), len(negatives)) == wanted
    assert (assigned[positives] >= 0).all()
    assert (assigned[negatives] == -1).all()
