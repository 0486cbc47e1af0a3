"""Which objects a view keeps, by hand and beside exact polygons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import shapely
import torch

import geomtp.data.objects as objects
from geomtp.data.filtering import same_objects, visible_boxes, visible_rboxes
from geomtp.data.objects import KeepRule, objects_in_view
from geomtp.data.views import ViewParameters
from geomtp.geometry import encode_rle, masks_from_rboxes, quads_from_rboxes, regularise
from geomtp.labels import ImageLabels
from tests.data.stores import random_labels

BOTH = ("instance", "rotated")
SIZE = (100, 100)
LEFT_HALF = ViewParameters(SIZE, None, SIZE, (0, 0, 50, 100))


def squares(*corners_xyxy, labels=None, **fields) -> ImageLabels:
    """Upright boxes as all three: boxes, masks, rotated boxes."""
    boxes = np.array(corners_xyxy, dtype=np.float32).reshape(-1, 4)
    masks = np.zeros((len(boxes), *SIZE), dtype=bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.astype(int), strict=True):
        mask[y1:y2, x1:x2] = True
    centre, side = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    rboxes = np.concatenate([centre, side, np.zeros((len(boxes), 1), np.float32)], axis=1)
    ids = np.arange(len(boxes)) if labels is None else np.array(labels)
    known = {
        "boxes": boxes,
        "box_labels": ids,
        "rles": tuple(encode_rle(masks)),
        "rboxes": regularise(torch.from_numpy(rboxes)).numpy(),
        "rbox_labels": ids,
    }
    return ImageLabels("a.png", SIZE, **(known | fields))


# Of 20 columns the view shows 20, 10, 8, 5, 0.
FIVE = squares(
    (20, 10, 40, 20), (40, 30, 60, 40), (42, 50, 62, 60), (45, 70, 65, 80), (60, 85, 80, 95)
)


def test_both_lists_keep_the_same_objects():
    targets, lost = objects_in_view(FIVE, LEFT_HALF, BOTH, KeepRule(0.3))
    assert not lost
    assert targets.box_labels.tolist() == targets.rbox_labels.tolist() == [0, 1, 2]
    assert targets.boxes.tolist() == [[20, 10, 40, 20], [40, 30, 50, 40], [42, 50, 50, 60]]
    assert targets.masks.sum(dim=(1, 2)).tolist() == [200, 100, 80]
    assert targets.rboxes[:, :4].tolist() == [[30, 15, 20, 10], [50, 35, 20, 10], [52, 55, 20, 10]]


@pytest.mark.parametrize(
    "fraction, kept", [(0.0, [0, 1, 2, 3]), (0.2, [0, 1, 2, 3]), (0.39, [0, 1, 2]), (0.41, [0, 1])]
)
def test_the_visible_fraction_decides(fraction, kept):
    targets, _ = objects_in_view(FIVE, LEFT_HALF, BOTH, KeepRule(fraction))
    assert targets.rbox_labels.tolist() == targets.box_labels.tolist() == kept


def test_the_reference_keeps_other_objects_in_each_list():
    targets, lost = objects_in_view(FIVE, LEFT_HALF, BOTH, KeepRule(reference=True))
    assert not lost
    assert targets.box_labels.tolist() == [0, 1, 2, 3]
    assert targets.boxes[3].tolist() == [45, 70, 50, 80]
    assert targets.rbox_labels.tolist() == [0, 1]  # centred inside or on the border


def test_an_object_without_a_visible_mask_pixel_leaves_both_lists():
    empty = np.zeros((1, *SIZE), dtype=bool)
    rles = (*FIVE.rles[:1], *encode_rle(empty), *FIVE.rles[2:])
    targets, _ = objects_in_view(
        dataclasses.replace(FIVE, rles=rles), LEFT_HALF, BOTH, KeepRule(0.3)
    )
    assert targets.box_labels.tolist() == targets.rbox_labels.tolist() == [0, 2]


def test_independent_lists_are_kept_each_by_its_own_boxes():
    fewer = dataclasses.replace(FIVE, rboxes=FIVE.rboxes[1:], rbox_labels=FIVE.rbox_labels[1:])
    targets, _ = objects_in_view(fewer, LEFT_HALF, BOTH, KeepRule(0.3))
    assert targets.box_labels.tolist() == [0, 1, 2]
    assert targets.rbox_labels.tolist() == [1, 2]


def test_lists_in_another_order_are_not_taken_for_the_same():
    ids = np.zeros(5, dtype=np.int64)
    one = dataclasses.replace(FIVE, box_labels=ids, rbox_labels=ids)
    tensors = [torch.from_numpy(a) for a in (one.boxes, ids, one.rboxes, ids)]
    assert same_objects(*tensors)
    tensors[2] = tensors[2].flip(0)
    assert not same_objects(*tensors)
    reverse = dataclasses.replace(one, rboxes=one.rboxes[::-1].copy())
    targets, _ = objects_in_view(reverse, LEFT_HALF, BOTH, KeepRule(0.3))
    assert targets.boxes[:, 1].tolist() == [10, 30, 50]
    assert targets.rboxes[:, 1].tolist() == [55, 35, 15]


@pytest.mark.parametrize("seed", range(8))
def test_visible_parts_beside_exact_polygons(seed):
    rng = np.random.default_rng(seed)
    rboxes = torch.from_numpy(rng.uniform((-30, -30, 2, 2, -1.5), (90, 70, 80, 40, 1.5), (300, 5)))
    view = shapely.box(0, 0, 60, 40)
    quads = shapely.polygons(quads_from_rboxes(rboxes).numpy())
    seen = shapely.area(shapely.intersection(quads, view)) / shapely.area(quads)
    x, y = rboxes[:, 0].numpy(), rboxes[:, 1].numpy()
    centred = (x >= 0) & (x <= 60) & (y >= 0) & (y <= 40)
    assert visible_rboxes(rboxes, (40, 60), 0.3).tolist() == (centred | (seen >= 0.3)).tolist()
    hulls = shapely.bounds(quads)
    area = (hulls[:, 2] - hulls[:, 0]) * (hulls[:, 3] - hulls[:, 1])
    upright = shapely.box(*hulls.T)
    seen = shapely.area(shapely.intersection(upright, view)) / area
    have = visible_boxes(torch.from_numpy(hulls), (40, 60), 0.3)
    assert have.tolist() == (centred | (seen >= 0.3)).tolist()


def test_only_masks_of_kept_objects_are_decoded(monkeypatch):
    decoded = []
    decode = objects.mask_views
    monkeypatch.setattr(
        objects, "mask_views", lambda rles, view: decoded.extend(rles) or decode(rles, view)
    )
    objects_in_view(FIVE, LEFT_HALF, BOTH, KeepRule(0.3))
    assert decoded == list(FIVE.rles[:3])
    decoded.clear()
    targets, _ = objects_in_view(FIVE, LEFT_HALF, ("rotated",), KeepRule(0.3))
    assert decoded == []
    assert targets.boxes is None
    assert targets.rbox_labels.tolist() == [0, 1, 2]


def test_without_masks_boxes_are_cut_at_the_border():
    targets, _ = objects_in_view(
        dataclasses.replace(FIVE, rles=None), LEFT_HALF, BOTH, KeepRule(0.3)
    )
    assert targets.masks is None
    assert targets.boxes.tolist() == [[20, 10, 40, 20], [40, 30, 50, 40], [42, 50, 50, 60]]


def test_without_boxes_they_come_from_the_masks():
    targets, _ = objects_in_view(
        dataclasses.replace(FIVE, boxes=None), LEFT_HALF, BOTH, KeepRule(0.3)
    )
    assert targets.boxes[1].tolist() == [40, 30, 50, 40]


@pytest.mark.parametrize("reference", [False, True])
def test_nothing_there_is_not_lost_and_not_unlabelled(reference):
    rule = KeepRule(reference=reference)
    targets, lost = objects_in_view(squares(), LEFT_HALF, BOTH, rule)
    assert not lost
    assert targets.boxes.shape == (0, 4)
    assert targets.masks.shape == (0, 100, 50)
    assert targets.rboxes.shape == (0, 5)
    assert targets.box_labels.dtype == targets.rbox_labels.dtype == torch.int64
    none, lost = objects_in_view(ImageLabels("a.png", SIZE), LEFT_HALF, BOTH, rule)
    assert not lost
    assert none.boxes is none.masks is none.rboxes is none.rbox_labels is None


def test_what_counts_as_lost():
    right = squares((60, 10, 80, 20), (70, 30, 90, 40))
    only_rboxes = dataclasses.replace(right, boxes=None, box_labels=None, rles=None)
    assert objects_in_view(right, LEFT_HALF, BOTH, KeepRule())[1]
    assert objects_in_view(only_rboxes, LEFT_HALF, BOTH, KeepRule())[1]
    # The paper's code only asks for boxes, and only where there were some.
    assert objects_in_view(right, LEFT_HALF, BOTH, KeepRule(reference=True))[1]
    assert not objects_in_view(only_rboxes, LEFT_HALF, BOTH, KeepRule(reference=True))[1]


@pytest.mark.parametrize("seed", range(10))
def test_every_mask_lies_in_its_box_and_in_its_rotated_box(seed):
    rng = np.random.default_rng(seed)
    labels = random_labels("a.png", (90, 120), 12, rng)
    view = ViewParameters((90, 120), "diagonal", (135, 180), (30, 20, 130, 110))
    targets, _ = objects_in_view(labels, view, BOTH, KeepRule(0.3))
    assert len(targets.boxes) == len(targets.rboxes) > 0
    # Pixels of a resized mask lie within a pixel of the file of the rotated box.
    grown = targets.rboxes + torch.tensor([0, 0, 3.0, 3.0, 0])
    inside = masks_from_rboxes(regularise(grown), view.size_hw)
    assert not (targets.masks & ~inside).any()


def test_cut_rotated_boxes_become_upright_where_the_rule_says_so():
    # A diamond of half-diagonal 10 round (45, 50) shows its left part, x 35…50; the other is whole.
    side = 200**0.5
    rboxes = np.array([[45, 50, side, side, np.pi / 4], [20, 20, 10, 4, 0.3]], np.float32)
    diamonds = dataclasses.replace(
        squares((0, 0, 1, 1), (0, 0, 1, 1)), boxes=None, rles=None, rboxes=rboxes
    )
    whole, _ = objects_in_view(diamonds, LEFT_HALF, BOTH, KeepRule())
    assert torch.equal(whole.rboxes, torch.from_numpy(rboxes))
    cut, _ = objects_in_view(diamonds, LEFT_HALF, BOTH, KeepRule(upright_if_cut=True))
    want = regularise(torch.tensor([[42.5, 50, 15, 20, 0]]))
    torch.testing.assert_close(cut.rboxes[:1], want, rtol=0, atol=1e-5)
    assert torch.equal(cut.rboxes[1], whole.rboxes[1])


def test_horizontal_boxes_are_cut_at_the_border_and_bring_no_masks():
    corner = np.zeros((1, *SIZE), dtype=bool)
    corner[0, 10:20, 40:45] = True  # the mask ends before its box does
    row = squares((40, 10, 60, 20), rles=tuple(encode_rle(corner)))
    targets, lost = objects_in_view(row, LEFT_HALF, ("horizontal",), KeepRule(0.3))
    assert not lost
    assert targets.masks is None
    assert targets.boxes.tolist() == [[40, 10, 50, 20]]
    of_masks, _ = objects_in_view(row, LEFT_HALF, ("instance",), KeepRule(0.3))
    assert of_masks.boxes.tolist() == [[40, 10, 45, 20]]
    without_boxes = dataclasses.replace(row, boxes=None, rboxes=None, rbox_labels=None)
    targets, _ = objects_in_view(without_boxes, LEFT_HALF, ("horizontal",), KeepRule(0.3))
    assert targets.boxes.tolist() == [[40, 10, 45, 20]]
