"""Box coders against the reference, and their round trips."""

import math

import pytest
import torch

from geomtp.decoders.detection.coders import HorizontalCoder, MidpointOffsetCoder, RotatedCoder
from geomtp.geometry import quads_from_rboxes, regularise
from tests.golden_cases import GoldenCase


def assert_same_rboxes(have, want, atol):
    """Equal as boxes: squares may be described by either pair of sides."""
    corners = quads_from_rboxes(have)[:, :, None] - quads_from_rboxes(want)[:, None, :]
    nearest = corners.norm(dim=-1).min(dim=-1).values
    scale = want[:, 2:4].max(dim=-1).values.clamp(min=1) + want[:, :2].abs().max(dim=-1).values
    assert (nearest <= atol * scale[:, None]).all(), float((nearest / scale[:, None]).max())


@pytest.mark.parametrize(
    ("name", "stds"), [("std1", (1.0, 1.0, 1.0, 1.0)), ("std0.1_0.2", (0.1, 0.1, 0.2, 0.2))]
)
def test_horizontal_coder_equals_the_reference(name, stds):
    case = GoldenCase.read("coder_delta_xywh")
    coder = HorizontalCoder(stds)
    encoded = coder.encode(case.tensor("proposals"), case.tensor("gt"))
    torch.testing.assert_close(encoded, case.tensor(f"encoded_{name}"), rtol=0, atol=1e-4)
    decoded = coder.decode(case.tensor("proposals"), case.tensor("deltas"), (170, 190))
    want = case.tensor(f"decoded_{name}")
    torch.testing.assert_close(decoded, want, rtol=1e-5, atol=1e-4)
    free = coder.decode(case.tensor("proposals"), case.tensor("deltas"), (10**9, 10**9))
    unclipped = case.tensor(f"decoded_noclip_{name}").clamp(min=0)
    torch.testing.assert_close(free, unclipped, rtol=1e-5, atol=1e-4)


def test_midpoint_offset_coder_equals_the_reference():
    case = GoldenCase.read("coder_midpoint_offset")
    coder = MidpointOffsetCoder()
    anchors = case.tensor("proposals")
    encoded = coder.encode(anchors, case.tensor("gt"))
    torch.testing.assert_close(encoded, case.tensor("encoded"), rtol=0, atol=1e-4)
    decoded = coder.decode(anchors, case.tensor("deltas"), (1, 1))
    assert_same_rboxes(decoded, case.tensor("decoded"), 1e-3)
    torch.testing.assert_close(
        coder.enclosing(decoded), case.tensor("decoded_hbox"), rtol=1e-3, atol=1e-2
    )
    again = coder.decode(anchors, encoded, (1, 1))
    assert_same_rboxes(again, case.tensor("decoded_of_encoded"), 1e-3)


def test_rotated_coder_equals_the_reference():
    case = GoldenCase.read("coder_delta_xywht")
    coder = RotatedCoder()
    proposals, boxes = case.tensor("proposals"), case.tensor("gt")
    encoded = coder.encode(proposals, boxes)
    torch.testing.assert_close(encoded, case.tensor("encoded"), rtol=1e-4, atol=1e-3)
    deltas = case.tensor("deltas")
    for size_hw, name in [
        ((200, 180), "decoded_max_shape_200x180"),
        (None, "decoded_no_max_shape"),
    ]:
        decoded = coder.decode(proposals, deltas, size_hw)
        torch.testing.assert_close(decoded, case.tensor(name), rtol=1e-4, atol=1e-3)
    assert_same_rboxes(
        coder.decode(proposals, encoded, None), case.tensor("decoded_of_encoded"), 1e-4
    )


def random_rboxes(count):
    generator = torch.Generator().manual_seed(3)
    rand = torch.rand(count, 5, generator=generator)
    size = rand[:, 2:4] * 60 + 4
    return regularise(torch.cat([rand[:, :2] * 200, size, (rand[:, 4:] - 0.5) * math.pi], dim=-1))


def test_what_is_encoded_decodes_to_itself():
    boxes = random_rboxes(500)
    moved = boxes + torch.randn(500, 5, generator=torch.Generator().manual_seed(1)) * 0.3
    again = RotatedCoder().decode(moved, RotatedCoder().encode(moved, boxes), None)
    assert_same_rboxes(again, boxes, 1e-4)
    coder = MidpointOffsetCoder()
    anchors = coder.enclosing(moved)
    again = coder.decode(anchors, coder.encode(anchors, boxes), (1, 1))
    # a vertex within 0.1 px of the top or right side counts as touching it, so almost upright
    # boxes come back turned by as much
    assert_same_rboxes(again, boxes, 1e-3)


def test_an_upright_box_touches_the_top_at_its_right_corner():
    anchor = torch.tensor([[0.0, 0.0, 20.0, 10.0]])
    box = torch.tensor([[10.0, 5.0, 20.0, 10.0, 0.0]])
    # dx dy dw dh are 0; contact at the top right corner is half a width, the right at half a height
    expected = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 1.0]])
    torch.testing.assert_close(MidpointOffsetCoder().encode(anchor, box), expected)
