"""The deformable sum against the reference, its slow twins and numeric gradients."""

import pytest
import torch

from geomtp.encoders import dcnv3
from geomtp.encoders.dcnv3 import (
    DCNv3,
    bag_weight_gradient,
    deformable_sum,
    row_products,
    sampled_products,
)
from geomtp.encoders.dcnv3_sampled import sampled_sum
from tests.encoders.dcnv3_twins import grid_sample_sum, loop_sum
from tests.golden_cases import GoldenCase


def inputs(batch, height, width, groups, per_group, *, spread=0.7, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(channels):
        return torch.randn(batch, height, width, channels, generator=generator, dtype=dtype)

    mask = draw(groups * 9).unflatten(-1, (groups, 9)).softmax(-1).flatten(-2)
    return draw(groups * per_group), spread * draw(groups * 18), mask


def gradients(function, tensors, cotangent, **settings):
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    out = function(*leaves, **settings)
    out.backward(cotangent)
    return out.detach(), [leaf.grad for leaf in leaves]


@pytest.mark.parametrize("name", ["dcnv3_core_8x8", "dcnv3_core_9x13"])
def test_value_and_gradients_equal_the_reference(name):
    case = GoldenCase.read(name)
    groups = case.info["config"]["groups"]
    logits = case.tensor("mask_logits")
    mask = logits.unflatten(-1, (groups, 9)).softmax(-1).flatten(-2)
    out, (to_value, to_offset, to_mask) = gradients(
        deformable_sum,
        (case.tensor("input"), case.tensor("offset"), mask),
        case.tensor("cotangent"),
        groups=groups,
        offset_scale=case.info["config"]["offset_scale"],
    )
    case.compare("output", out)
    case.compare_gradient("grad:input", to_value)
    case.compare_gradient("grad:offset", to_offset)
    case.compare_gradient("grad:mask", to_mask)


@pytest.mark.parametrize("offset_scale", [1.0, 2.0, 0.3])
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 4), (5, 3)])
def test_values_equal_a_loop_over_points(size_hw, offset_scale):
    tensors = inputs(2, *size_hw, groups=2, per_group=3, spread=2.0, dtype=torch.float64)
    settings = {"groups": 2, "offset_scale": offset_scale}
    torch.testing.assert_close(deformable_sum(*tensors, **settings), loop_sum(*tensors, **settings))


@pytest.mark.parametrize("offset_scale", [1.0, 2.0])
@pytest.mark.parametrize("size_hw", [(1, 4), (5, 3)])
def test_the_form_of_graphs_equals_a_loop_over_points(size_hw, offset_scale, monkeypatch):
    tensors = inputs(2, *size_hw, groups=2, per_group=3, spread=2.0, dtype=torch.float64)
    settings = {"groups": 2, "offset_scale": offset_scale}
    wanted = loop_sum(*tensors, **settings)
    torch.testing.assert_close(sampled_sum(*tensors, **settings), wanted)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(dcnv3._DeformableSum, "apply", None)
    torch.testing.assert_close(deformable_sum(*tensors, **settings), wanted)


@pytest.mark.parametrize(
    ("size_hw", "groups", "per_group", "spread"),
    [
        ((1, 1), 1, 2, 0.3),
        ((7, 11), 3, 1, 0.7),
        ((13, 6), 1, 5, 5.0),
        ((9, 9), 4, 16, 40.0),
        ((2, 17), 2, 4, 1.0),
    ],
)
def test_gradients_equal_those_of_grid_sampling(size_hw, groups, per_group, spread):
    tensors = inputs(2, *size_hw, groups, per_group, spread=spread, dtype=torch.float64)
    cotangent = torch.randn(tensors[0].shape, dtype=torch.float64)
    settings = {"groups": groups, "offset_scale": 1.5}
    ours = gradients(deformable_sum, tensors, cotangent, **settings)
    twin = gradients(grid_sample_sum, tensors, cotangent, **settings)
    torch.testing.assert_close(ours, twin)


def test_gradients_equal_differences_of_values():
    # points away from whole pixels, where the slope jumps
    generator = torch.Generator().manual_seed(1)
    value, offset, mask = inputs(1, 4, 5, groups=2, per_group=2, dtype=torch.float64)
    whole = torch.randint(-2, 3, offset.shape, generator=generator)
    offset = whole + 0.1 + 0.8 * torch.rand(offset.shape, generator=generator, dtype=torch.float64)
    leaves = [tensor.requires_grad_() for tensor in (value, offset, mask)]
    assert torch.autograd.gradcheck(
        lambda v, o, m: deformable_sum(v, o, m, groups=2, offset_scale=1.0), leaves
    )


def test_points_on_whole_pixels_take_the_slope_to_the_right():
    """Untrained offsets are zero: every point lies on a pixel, some just outside of the map."""
    value, _, mask = inputs(1, 6, 6, groups=2, per_group=4, dtype=torch.float64)
    offset = torch.zeros(1, 6, 6, 36, dtype=torch.float64)
    cotangent = torch.randn(value.shape, dtype=torch.float64)
    settings = {"groups": 2, "offset_scale": 2.0}
    out, (_, to_offset, _) = gradients(deformable_sum, (value, offset, mask), cotangent, **settings)
    torch.testing.assert_close(out, loop_sum(value, offset, mask, **settings))
    # grid sampling rounds its places: beside the kink both take the same slope
    twin = gradients(grid_sample_sum, (value, offset + 1e-9, mask), cotangent, **settings)
    torch.testing.assert_close(to_offset, twin[1][1], atol=1e-6, rtol=1e-6)


def test_images_are_independent(monkeypatch):
    """However many are worked on at once."""
    tensors = inputs(5, 4, 6, groups=2, per_group=3)
    cotangent = torch.randn(tensors[0].shape)
    settings = {"groups": 2, "offset_scale": 2.0}
    together = gradients(deformable_sum, tensors, cotangent, **settings)
    for images in (1, 2):
        monkeypatch.setattr(dcnv3, "BAGS_AT_ONCE", images * 4 * 6 * 2 + 1)
        apart = gradients(deformable_sum, tensors, cotangent, **settings)
        torch.testing.assert_close(apart, together)


def test_only_wanted_gradients_are_computed():
    tensors = inputs(1, 5, 5, groups=1, per_group=4)
    cotangent = torch.ones(1, 5, 5, 4)
    _, (to_value, to_offset, to_mask) = gradients(
        deformable_sum, tensors, cotangent, groups=1, offset_scale=1.0
    )
    value = tensors[0].clone().requires_grad_()
    deformable_sum(value, *tensors[1:], groups=1, offset_scale=1.0).backward(cotangent)
    assert torch.equal(value.grad, to_value)
    offset, mask = (tensor.clone().requires_grad_() for tensor in tensors[1:])
    deformable_sum(tensors[0], offset, mask, groups=1, offset_scale=1.0).backward(cotangent)
    assert torch.equal(offset.grad, to_offset)
    assert torch.equal(mask.grad, to_mask)


def test_products_of_cpus_and_of_other_devices_agree():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 40, (15, 36), generator=generator, dtype=torch.int32)
    table = torch.randn(40, 8, generator=generator)
    gradient = torch.randn(15, 8, generator=generator)
    expected = (table[rows.long()] * gradient[:, None]).sum(-1)
    torch.testing.assert_close(sampled_products(rows, table, gradient), expected)
    torch.testing.assert_close(bag_weight_gradient(rows, table, gradient), expected)
    assert torch.equal(row_products(rows, table, gradient), sampled_products(rows, table, gradient))


def test_values_that_are_no_numbers_show_where_they_are_used():
    value, offset, mask = inputs(1, 4, 4, groups=2, per_group=2)
    offset[0, 1, 2, 0] = torch.nan
    offset[0, 3, 3, 19] = torch.inf
    out, grads = gradients(
        deformable_sum, (value, offset, mask), torch.ones_like(value), groups=2, offset_scale=1.0
    )
    assert out[0, 1, 2, :2].isnan().all()
    assert int(out.isnan().sum()) == 2
    assert grads[2][0, 1, 2, 0].isnan()  # the weight of the point that lies nowhere


def test_half_precision_samples_in_single_precision():
    value, offset, mask = inputs(1, 8, 8, groups=2, per_group=4)
    halves = [tensor.bfloat16() for tensor in (value, offset, mask)]
    settings = {"groups": 2, "offset_scale": 1.0}
    out = deformable_sum(*halves, **settings)
    assert out.dtype == torch.bfloat16
    expected = deformable_sum(*(half.float() for half in halves), **settings)
    assert torch.equal(out, expected.bfloat16())


def test_layer_under_autocast():
    torch.manual_seed(0)
    layer = DCNv3(width=16, groups=2, offset_scale=2.0)
    with torch.no_grad():
        layer.offset.weight.normal_(std=0.2)
        layer.mask.weight.normal_(std=0.2)
    features = torch.randn(1, 9, 7, 16)
    whole = layer(features)
    with torch.autocast("cpu", torch.bfloat16):
        half = layer(features)
    half.float().square().sum().backward()
    assert float((half - whole).detach().norm() / whole.detach().norm()) < 0.02
    assert all(p.grad is not None and p.grad.isfinite().all() for p in layer.parameters())


def test_untrained_layer_averages_nine_points():
    layer = DCNv3(width=4, groups=2, offset_scale=1.0)
    with torch.no_grad():
        for projection in (layer.input_proj, layer.output_proj):
            projection.weight.copy_(torch.eye(4))
    features = torch.randn(1, 5, 5, 4)
    expected = torch.nn.functional.avg_pool2d(features.permute(0, 3, 1, 2), 3, 1, 1)
    torch.testing.assert_close(layer(features), expected.permute(0, 2, 3, 1))


def test_shapes_that_do_not_fit_are_refused():
    value, offset, mask = inputs(1, 4, 4, groups=2, per_group=2)
    with pytest.raises(ValueError, match=r"needs offsets \(1, 4, 4, 36\) and masks \(1, 4, 4, 18"):
        deformable_sum(value, offset[..., :18], mask, groups=2, offset_scale=1.0)
    with pytest.raises(ValueError, match="width 10 must be a multiple of groups 4"):
        DCNv3(width=10, groups=4, offset_scale=1.0)


@pytest.mark.slow
def test_compiled_layer_gives_the_same_numbers():
    torch.manual_seed(0)
    layer = DCNv3(width=16, groups=2, offset_scale=2.0)
    with torch.no_grad():
        layer.offset.weight.normal_(std=0.2)
    features = torch.randn(1, 9, 7, 16)
    compiled = torch.compile(layer)
    results = []
    for run in (layer, compiled):
        layer.zero_grad()
        out = run(features)
        out.square().sum().backward()
        results.append((out.detach(), [p.grad.clone() for p in layer.parameters()]))
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)
