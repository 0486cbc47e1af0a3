"""The sweep finds exactly the pairs that comparing all boxes finds."""

import pytest
import torch
from torch import Tensor

from geomtp.geometry import box_pairs
from geomtp.geometry.box_pairs import pairs_between, pairs_within


def random_boxes(count: int, scene: float, low: float, high: float, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * scene
    size = low + torch.rand(count, 2, generator=generator, dtype=torch.float64) * (high - low)
    return torch.cat([corner, corner + size], dim=1)


SETS = {
    "sparse": random_boxes(400, 2000, 5, 60, 0),
    "dense": random_boxes(200, 60, 5, 60, 1),
    "very different sizes": torch.cat(
        [random_boxes(200, 3000, 1, 4, 2), random_boxes(20, 3000, 500, 2000, 3)]
    ),
    "whole pixels": random_boxes(400, 40, 1, 9, 4).round(),
    "one row": random_boxes(300, 500, 1, 30, 5) * torch.tensor([1.0, 0, 1, 0]).double()
    + torch.tensor([0.0, 7, 0, 8]).double(),
    "far away": random_boxes(300, 500, 1, 60, 6) - 1e6,
    "one box": random_boxes(1, 10, 1, 2, 7),
}


def compared(a: Tensor, b: Tensor) -> Tensor:
    """Which boxes overlap: (N, M) bool."""
    return ((a[:, None, :2] < b[None, :, 2:]) & (b[None, :, :2] < a[:, None, 2:])).all(dim=2)


def touching(a: Tensor, b: Tensor) -> Tensor:
    """Which boxes overlap, or share an upright line but nothing more: (N, M) bool."""
    in_x = (a[:, None, 0] <= b[None, :, 2]) & (b[None, :, 0] <= a[:, None, 2])
    in_y = (a[:, None, 1] < b[None, :, 3]) & (b[None, :, 1] < a[:, None, 3])
    return in_x & in_y


def assert_lists(have: list[tuple[int, int]], overlapping: Tensor, allowed: Tensor) -> None:
    """Each overlapping pair once, and besides those only allowed ones."""
    assert len(have) == len(set(have))
    assert {tuple(pair) for pair in overlapping.nonzero().tolist()} <= set(have)
    assert set(have) <= {tuple(pair) for pair in allowed.nonzero().tolist()}


def upper(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [(min(pair), max(pair)) for pair in pairs]


def listed(pairs: box_pairs.BoxPairs) -> list[tuple[int, int]]:
    return sorted((i, j) for p, q in pairs for i, j in zip(p.tolist(), q.tolist(), strict=True))


@pytest.fixture(params=[1 << 18, 3000], ids=["one piece", "many pieces"])
def _pieces(request, monkeypatch):
    monkeypatch.setattr(box_pairs, "CANDIDATES_AT_ONCE", request.param)


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("name", SETS)
def test_pairs_within(name):
    boxes = SETS[name]
    want, allowed = (test(boxes, boxes).triu(diagonal=1) for test in (compared, touching))
    assert_lists(upper(listed(pairs_within(boxes))), want, allowed)
    assert pairs_within(boxes).candidates >= want.sum()


@pytest.mark.usefixtures("_pieces")
@pytest.mark.parametrize("name", SETS)
def test_pairs_between(name):
    boxes = SETS[name]
    a, b = boxes[::2], torch.cat([boxes[1::2], boxes[:3]])
    assert_lists(listed(pairs_between(a, b)), compared(a, b), touching(a, b))


@pytest.mark.parametrize("name", SETS)
def test_labels_keep_boxes_apart(name):
    boxes = SETS[name]
    labels = torch.arange(len(boxes)) % 5 * 1_000_000_007 - 3
    same = labels[:, None] == labels[None]
    want, allowed = (test(boxes, boxes) & same for test in (compared, touching))
    have = upper(listed(pairs_within(boxes, labels)))
    assert_lists(have, want.triu(diagonal=1), allowed.triu(diagonal=1))
    half = len(boxes) // 2
    have = listed(pairs_between(boxes[:half], boxes[half:], labels[:half], labels[half:]))
    assert_lists(have, want[:half, half:], allowed[:half, half:])


def test_no_boxes():
    some = SETS["sparse"]
    assert listed(pairs_within(some[:0])) == []
    assert listed(pairs_between(some[:0], some)) == []
    assert listed(pairs_between(some, some[:0])) == []
    assert pairs_within(some[:0]).candidates == 0


def test_boxes_without_height():
    boxes = torch.tensor([[0.0, 1, 5, 1], [1.0, 0, 2, 3], [1.0, 1, 3, 1]]).double()
    assert upper(listed(pairs_within(boxes))) == [(0, 1), (1, 2)]
    lines = torch.tensor([[0.0, 1, 5, 1], [1.0, 1, 2, 1]]).double()
    assert listed(pairs_within(lines)) == []
