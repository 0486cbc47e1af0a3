"""Layers equal torch's, also in the form that exported graphs take."""

import pytest
import torch
from torch import nn

from geomtp.layers import Linear, mean_of_cells


@pytest.mark.parametrize("shape", [(3, 5), (2, 4, 6, 5), (0, 5), (5,)])
def test_values_and_gradients_equal_those_of_torch(shape):
    torch.manual_seed(0)
    ours, theirs = Linear(5, 7), nn.Linear(5, 7)
    theirs.load_state_dict(ours.state_dict())
    features = torch.randn(*shape, requires_grad=True)
    twin = features.detach().clone().requires_grad_()
    out, want = ours(features), theirs(twin)
    torch.testing.assert_close(out, want)
    out.square().sum().backward()
    want.square().sum().backward()
    torch.testing.assert_close(features.grad, twin.grad)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_types_are_left_to_torch(dtype):
    layer = Linear(4, 3).to(dtype)
    features = torch.randn(2, 4, dtype=dtype)
    assert layer(features).equal(nn.functional.linear(features, layer.weight, layer.bias))


def test_autocast_gives_half_precision():
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(4, 3)(torch.randn(2, 4)).dtype == torch.bfloat16


@pytest.fixture
def exporting(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)


def test_a_graph_gets_the_linear_layer_itself(exporting):
    layer, features = Linear(4, 3), torch.randn(2, 5, 4)
    assert layer(features).equal(nn.functional.linear(features, layer.weight, layer.bias))


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("size_hw", [(1, 1), (2, 7), (5, 4), (6, 6), (13, 9)])
def test_means_of_cells_in_a_graph_equal_adaptive_pooling(exporting, size, size_hw):
    maps = torch.randn(2, 3, *size_hw, dtype=torch.float64)
    wanted = nn.functional.adaptive_avg_pool2d(maps, size)
    torch.testing.assert_close(mean_of_cells(maps, size), wanted)
