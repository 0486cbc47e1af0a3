"""The feature pyramid network against the reference."""

import pytest
import torch

from geomtp.decoders.fpn import FeaturePyramidNetwork
from geomtp.types import FeaturePyramid
from tests.golden_cases import GoldenCase


def reference_network(case, **options):
    config = case.info["config"]
    network = FeaturePyramidNetwork(tuple(config["in_channels"]), config["out_channels"], **options)
    first = options.get("first_level", 0)
    weights = {}
    for key, value in case.weights().items():
        kind, number, _, name = key.removeprefix("neck.").split(".")
        weights[f"{kind}.{int(number) + first}.{name}"] = value
    network.load_state_dict(weights)
    levels = tuple(case.tensor(f"feat{i}").requires_grad_() for i in range(4))
    return network, FeaturePyramid(levels, (4, 8, 16, 32))


@pytest.mark.parametrize("name", ["fpn_maxpool_extra", "fpn_256", "fpn_retina"])
def test_fpn_equals_the_reference(name):
    case = GoldenCase.read(name)
    options = {"first_level": 1, "extra_convs": 2} if name == "fpn_retina" else {}
    network, pyramid = reference_network(case, **options)
    out = network(pyramid)
    assert out.strides == ((8, 16, 32, 64, 128) if options else (4, 8, 16, 32, 64))
    for index, level in enumerate(out.levels):
        case.compare(f"out{index}", level)
    loss = sum(level.square().sum() for level in out.levels)
    assert float(loss.detach()) == pytest.approx(case.scalar("loss_sum_of_squares"), rel=1e-5)
    loss.backward()
    for index, level in enumerate(pyramid.levels):
        if index >= options.get("first_level", 0):
            case.compare_gradient(f"grad_feat{index}", level.grad)
        else:
            assert level.grad is None


def test_levels_of_odd_sizes_are_added_at_the_finer_size():
    network = FeaturePyramidNetwork((4, 4), 8)
    levels = (torch.randn(1, 4, 7, 5), torch.randn(1, 4, 3, 2))
    shapes = [tuple(level.shape) for level in network(FeaturePyramid(levels, (4, 8))).levels]
    assert shapes == [(1, 8, 7, 5), (1, 8, 3, 2), (1, 8, 2, 1)]


def test_levels_start_as_large_as_their_inputs_or_six_times_as_the_reference():
    generator = torch.Generator().manual_seed(0)
    levels = tuple(torch.randn(4, 320, 64 >> i, 64 >> i, generator=generator) for i in range(4))
    network = FeaturePyramidNetwork((320,) * 4, 64)
    with torch.no_grad():
        coarsest = network(FeaturePyramid(levels, (4, 8, 16, 32))).levels[3]
        network.start_as_reference()
        reference = network(FeaturePyramid(levels, (4, 8, 16, 32))).levels[3]
    # Zero padding takes a seventh of what an 8 x 8 map sums up.
    assert float(coarsest.std()) == pytest.approx(0.92, abs=0.1)
    # Laterals: variance 2 / 64 x 320 = 10; the next convolution doubles it.
    assert float(reference.std()) == pytest.approx(0.92 * 20**0.5, rel=0.15)
