"""The feature pyramid network against the reference."""

import pytest
import torch

from geomtp.decoders.fpn import FeaturePyramidNetwork
from geomtp.types import FeaturePyramid
from tests.golden_cases import GoldenCase


@pytest.mark.parametrize("name", ["fpn_maxpool_extra", "fpn_256"])
def test_fpn_equals_the_reference(name):
    case = GoldenCase.read(name)
    config = case.info["config"]
    network = FeaturePyramidNetwork(tuple(config["in_channels"]), config["out_channels"])
    weights = {
        key.removeprefix("neck.").replace(".conv.", "."): value
        for key, value in case.weights().items()
    }
    network.load_state_dict(weights)
    levels = tuple(case.tensor(f"feat{i}").requires_grad_() for i in range(4))
    out = network(FeaturePyramid(levels, (4, 8, 16, 32)))
    assert out.strides == (4, 8, 16, 32, 64)
    for index, level in enumerate(out.levels):
        case.compare(f"out{index}", level)
    loss = sum(level.square().sum() for level in out.levels)
    assert float(loss.detach()) == pytest.approx(case.scalar("loss_sum_of_squares"), rel=1e-5)
    loss.backward()
    for index, level in enumerate(levels):
        case.compare_gradient(f"grad_feat{index}", level.grad)


def test_levels_of_odd_sizes_are_added_at_the_finer_size():
    network = FeaturePyramidNetwork((4, 4), 8)
    levels = (torch.randn(1, 4, 7, 5), torch.randn(1, 4, 3, 2))
    shapes = [tuple(level.shape) for level in network(FeaturePyramid(levels, (4, 8))).levels]
    assert shapes == [(1, 8, 7, 5), (1, 8, 3, 2), (1, 8, 2, 1)]
