"""Assignment of boxes to objects against the reference, and by hand."""

import pytest
import torch

from geomtp.decoders.detection.assignment import BACKGROUND, BETWEEN, assign, box_overlaps
from geomtp.decoders.oriented_rcnn import _overlaps
from geomtp.geometry import enclosing_boxes
from tests.golden_cases import GoldenCase

RULES = {
    "rpn": (0.7, 0.3, 0.3),
    "roi_is": (0.5, 0.5, 0.5),
    "roi_plain": (0.5, 0.5, None),
    "retina": (0.5, 0.4, 0.0),
    "rotated_roi": (0.5, 0.5, None),
    "rotated_rpn": (0.7, 0.3, 0.3),
}


def golden_overlaps(case, name):
    if name == "rotated_roi":
        return _overlaps(case.tensor("rgts"), case.tensor("rboxes"))
    if name == "rotated_rpn":
        return box_overlaps(enclosing_boxes(case.tensor("rgts")), case.tensor("boxes"))
    return box_overlaps(case.tensor("gts"), case.tensor("boxes"))


@pytest.mark.parametrize("name", RULES)
def test_assignment_equals_the_reference(name):
    case = GoldenCase.read("max_iou_assigner")
    overlaps = golden_overlaps(case, name)
    best = overlaps.max(dim=0).values
    torch.testing.assert_close(best, case.tensor(f"{name}/max_overlaps"), rtol=1e-4, atol=1e-4)
    positive, negative, low_quality = RULES[name]
    assigned = assign(overlaps, positive=positive, negative=negative, low_quality=low_quality)
    # The reference counts objects from 1, background 0, in between -1.
    theirs = case.tensor(f"{name}/gt_inds")
    ours = torch.where(
        assigned == BACKGROUND, 0, torch.where(assigned == BETWEEN, -1, assigned + 1)
    )
    assert ours.equal(theirs)


def test_low_quality_ties_go_to_the_last_object():
    overlaps = torch.tensor([[0.4, 0.4, 0.1], [0.4, 0.2, 0.1]])
    assigned = assign(overlaps, positive=0.7, negative=0.3, low_quality=0.3)
    assert assigned.tolist() == [1, 0, BACKGROUND]
    without = assign(overlaps, positive=0.7, negative=0.3, low_quality=None)
    assert without.tolist() == [BETWEEN, BETWEEN, BACKGROUND]


def test_without_objects_everything_is_background():
    assigned = assign(torch.zeros(0, 4), positive=0.7, negative=0.3, low_quality=0.3)
    assert assigned.tolist() == [BACKGROUND] * 4
    assert assign(torch.zeros(2, 0), positive=0.7, negative=0.3, low_quality=0.3).tolist() == []


def test_overlap_of_boxes_by_hand():
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0], [5.0, 5.0, 5.0, 9.0]])
    expected = torch.tensor([[1.0, 1 / 7, 0.0], [1 / 7, 1.0, 0.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(box_overlaps(boxes, boxes), expected)
