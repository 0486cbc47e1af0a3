"""The angle rule: worked numbers, the reference's conversions, and round trips."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert

from geomtp.geometry import rotated_boxes
from geomtp.geometry.rotated_boxes import (
    enclosing_boxes,
    flip,
    from_opencv,
    from_torchvision,
    points_inside,
    quads_from_rboxes,
    rboxes_from_boxes,
    regularise,
    rescale,
    rotate,
    to_opencv,
    to_torchvision,
    translate,
    wrap_half_turn,
)
from tests.geometry.rbox_families import random_rboxes
from tests.golden_cases import GoldenCase

EXAMPLE = torch.tensor([[50.0, 40.0, 40.0, 20.0, math.pi / 6]])


def many(count: int = 300) -> Tensor:
    return random_rboxes(count, 200, 1, 90, torch.Generator().manual_seed(0))


def corner_distance(a: Tensor, b: Tensor) -> float:
    """The largest distance of a corner of a box in ``a`` to the nearest corner of its twin."""
    return float(torch.cdist(quads_from_rboxes(a), quads_from_rboxes(b)).amin(dim=2).max())


def assert_le90(rboxes: Tensor) -> None:
    assert (rboxes[:, 2] >= rboxes[:, 3]).all()
    assert (rboxes[:, 4] >= -math.pi / 2).all()
    assert (rboxes[:, 4] < math.pi / 2).all()


def golden() -> GoldenCase:
    return GoldenCase.read("box_conversions")


def test_corners_of_the_documented_example():
    want = [[62.3205, 58.6603], [72.3205, 41.3397], [37.6795, 21.3397], [27.6795, 38.6603]]
    have = quads_from_rboxes(EXAMPLE)[0]
    torch.testing.assert_close(have, torch.tensor(want), atol=1e-4, rtol=0.0)
    assert all(f"({x}, {y})" in rotated_boxes.__doc__ for x, y in want)
    enclosing = torch.tensor([[27.6795, 21.3397, 72.3205, 58.6603]])
    torch.testing.assert_close(enclosing_boxes(EXAMPLE), enclosing, atol=1e-4, rtol=0.0)


def test_positive_angles_turn_clockwise_as_seen():
    flat, turned = quads_from_rboxes(torch.tensor([[0.0, 0, 4, 2, 0], [0, 0, 4, 2, 0.1]]))
    right_lower = 0  # ++
    assert flat[right_lower].tolist() == [2, 1]
    assert turned[right_lower, 1] > 1  # y grows downwards: the right end falls


def test_reference_conversions():
    case = golden()
    rboxes = case.tensor("rboxes")
    pixels = {"atol": 1e-3, "rtol": 0.0}
    quads = case.tensor("rbox2qbox").reshape(-1, 4, 2)
    torch.testing.assert_close(quads_from_rboxes(rboxes), quads, **pixels)
    torch.testing.assert_close(enclosing_boxes(rboxes), case.tensor("rbox2hbox"), **pixels)
    torch.testing.assert_close(
        regularise(rboxes), case.tensor("regularize_le90"), atol=1e-5, rtol=0.0
    )
    upright = rboxes_from_boxes(case.tensor("rbox2hbox"))
    assert corner_distance(upright, case.tensor("hbox2rbox")) < 1e-3
    assert corner_distance(from_opencv(_in_degrees(case)), rboxes) < 1e-3


def _in_degrees(case: GoldenCase) -> Tensor:
    """What OpenCV's minAreaRect said of the boxes."""
    rects = case.tensor("qbox2rbox_of_rbox2qbox").clone()
    rects[:, 4] = torch.rad2deg(rects[:, 4])
    return rects


def test_reference_movements():
    case = golden()
    rboxes = case.tensor("rboxes")
    moved = {
        "flip_horizontal": flip(rboxes, "horizontal", (180, 230)),
        "flip_vertical": flip(rboxes, "vertical", (180, 230)),
        "flip_diagonal": flip(rboxes, "diagonal", (180, 230)),
        "rescale_1.5": rescale(rboxes, (1.5, 1.5)),
        "rescale_1.5_0.8": rescale(rboxes, (1.5, 0.8)),
        "translate_-7_12": translate(rboxes, (-7.0, 12.0)),
        "rotate_30deg_about_90_115": rotate(rboxes, (90.0, 115.0), math.radians(30)),
    }
    for name, have in moved.items():
        want = case.tensor(name)
        assert corner_distance(have, want) < 1e-3, name
        if not name.startswith("translate"):
            assert_le90(have)
        wide = (want[:, 2] - want[:, 3]).abs() > 1e-3  # the angle of squares is free
        turn = wrap_half_turn(regularise(have)[wide, 4] - regularise(want)[wide, 4])
        assert turn.abs().max() < 1e-5, name


@pytest.mark.parametrize("degrees", [30, -75, 90])
def test_reference_rotation_of_an_image(degrees):
    case = GoldenCase.read("rotate_transform")
    kept = case.tensor(f"{degrees}/kept_index")
    # the reference counts its angle like ours: positive is clockwise as seen
    have = rotate(case.tensor("rboxes"), (60.0, 45.0), math.radians(degrees))
    assert corner_distance(have[kept], case.tensor(f"{degrees}/rboxes")) < 1e-2
    inside = (have[:, 0] >= 0) & (have[:, 0] <= 120) & (have[:, 1] >= 0) & (have[:, 1] <= 90)
    assert inside.nonzero()[:, 0].tolist() == kept.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_regularise_keeps_the_rectangle(dtype):
    boxes = many().to(dtype)
    have = regularise(boxes)
    assert have.dtype == dtype
    assert_le90(have)
    assert corner_distance(have, boxes) < (1e-3 if dtype == torch.float32 else 1e-9)
    torch.testing.assert_close(regularise(have), have)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_at_the_ends_of_the_range(dtype):
    tiny = torch.finfo(dtype).eps
    quarter = math.pi / 2
    angles = [k * quarter + step for k in range(-6, 7) for step in (-4 * tiny, -tiny, 0, tiny)]
    wrapped = wrap_half_turn(torch.tensor(angles, dtype=dtype))
    assert (wrapped >= -quarter).all()
    assert (wrapped < quarter).all()
    assert wrap_half_turn(torch.tensor(-1e-30, dtype=dtype)).abs() < 1e-6


def test_squares_are_turned_as_in_the_reference():
    square = torch.tensor([[0.0, 0.0, 3.0, 3.0, 0.25]])
    assert regularise(square)[0, 4] == pytest.approx(0.25 - math.pi / 2)


def test_flips_and_turns_are_undone():
    boxes = regularise(many())
    for direction in ("horizontal", "vertical", "diagonal"):
        twice = flip(flip(boxes, direction, (70, 90)), direction, (70, 90))
        torch.testing.assert_close(twice, boxes)
    both = flip(flip(boxes, "horizontal", (70, 90)), "vertical", (70, 90))
    torch.testing.assert_close(both, flip(boxes, "diagonal", (70, 90)))
    back = rotate(rotate(boxes, (3.0, 4.0), 1.1), (3.0, 4.0), -1.1)
    torch.testing.assert_close(back, boxes)
    assert flip(EXAMPLE, "horizontal", (100, 200))[0].tolist() == pytest.approx(
        [150, 40, 40, 20, -math.pi / 6]
    )


def test_movements_move_the_corners():
    boxes = many(40)
    corners = quads_from_rboxes(boxes)
    mirrored = corners * torch.tensor([-1.0, 1.0]) + torch.tensor([90.0, 0.0])
    cases = [
        (flip(boxes, "horizontal", (70, 90)), mirrored),
        (translate(boxes, (5.0, -2.0)), corners + torch.tensor([5.0, -2.0])),
        (rescale(boxes, (3.0, 3.0)), corners * 3),
    ]
    for moved, want in cases:
        distance = torch.cdist(quads_from_rboxes(moved), want.double()).amin(dim=2)
        assert distance.max() < 1e-9


def test_points_inside_by_hand():
    points = torch.tensor([[50.0, 40.0], [62.0, 58.0], [62.0, 59.0], [67.32, 50.0], [67.4, 50.0]])
    assert points_inside(points, EXAMPLE)[:, 0].tolist() == [True, True, False, True, False]
    boxes, corners = many(50), quads_from_rboxes(many(50))
    centre = boxes[:, None, :2]
    for factor, want in ((0.999, True), (1.001, False)):
        shrunk = centre + (corners - centre) * factor
        inside = torch.stack([points_inside(shrunk[k], boxes[k : k + 1]) for k in range(50)])
        assert (inside == want).all()


def test_opencv_rule():
    boxes = many()
    rects = to_opencv(boxes)
    assert (rects[:, 4] > 0).all()
    assert (rects[:, 4] <= 90).all()
    torch.testing.assert_close(from_opencv(rects), regularise(boxes))
    upright = to_opencv(torch.tensor([[5.0, 6.0, 4.0, 2.0, 0.0]]))
    assert upright[0].tolist() == [5, 6, 2, 4, 90]  # what minAreaRect says of a flat box
    old_style = torch.tensor([[5.0, 6.0, 4.0, 2.0, -30.0]])  # before 4.5: [-90, 0)
    assert from_opencv(old_style)[0, 4] == pytest.approx(-math.pi / 6)


def test_torchvision_rule():
    boxes = many()
    theirs = to_torchvision(boxes)
    quads = box_convert(theirs, "cxcywhr", "xyxyxyxy").reshape(-1, 4, 2)
    assert torch.cdist(quads, quads_from_rboxes(boxes)).amin(dim=2).max() < 1e-9
    torch.testing.assert_close(from_torchvision(theirs), regularise(boxes))
    from_quads = box_convert(quads.reshape(-1, 8), "xyxyxyxy", "cxcywhr")
    torch.testing.assert_close(from_torchvision(from_quads), regularise(boxes))


def test_boxes_to_rotated_boxes():
    boxes = torch.tensor([[1.0, 2.0, 7.0, 4.0], [1.0, 2.0, 3.0, 9.0]])
    want = torch.tensor([[4.0, 3.0, 6.0, 2.0, 0.0], [2.0, 5.5, 7.0, 2.0, -math.pi / 2]])
    torch.testing.assert_close(rboxes_from_boxes(boxes), want)
    torch.testing.assert_close(enclosing_boxes(want), boxes)


def test_no_boxes():
    none = torch.zeros(0, 5)
    for result in (
        regularise(none),
        flip(none, "diagonal", (4, 4)),
        rotate(none, (0.0, 0.0), 1.0),
        translate(none, (1.0, 1.0)),
        rescale(none, (2.0, 1.0)),
        to_opencv(none),
        from_opencv(none),
        to_torchvision(none),
        rboxes_from_boxes(none[:, :4]),
    ):
        assert result.shape == (0, 5)
    assert quads_from_rboxes(none).shape == (0, 4, 2)
    assert enclosing_boxes(none).shape == (0, 4)
    assert points_inside(torch.zeros(3, 2), none).shape == (3, 0)


def test_arguments_stay_as_they_are():
    boxes = many(10)
    before = boxes.clone()
    regularise(boxes), flip(boxes, "vertical", (9, 9)), rescale(boxes, (2.0, 1.0))
    translate(boxes, (1.0, 1.0)), to_opencv(boxes), rotate(boxes, (1.0, 1.0), 1.0)
    np.testing.assert_array_equal(boxes, before)


def test_what_does_not_fit_is_named():
    with pytest.raises(ValueError, match=r"rboxes must be a float tensor of shape \(N, 5\)"):
        regularise(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="int64"):
        enclosing_boxes(torch.zeros(3, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="horizontal, vertical or diagonal, got 'left'"):
        flip(torch.zeros(1, 5), "left", (3, 3))
