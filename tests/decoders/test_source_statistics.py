"""Batch norms with the statistics of each source."""

import torch
from torch import nn

from geomtp.decoders.source_statistics import SourceStatistics
from geomtp.decoders.upernet import UperNet
from geomtp.types import FeaturePyramid


def two_norms():
    trunk = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2))
    return trunk, SourceStatistics(trunk, ["a", "b"])


def test_each_source_moves_its_own_statistics_and_the_norms_hold_the_mixture():
    trunk, statistics = two_norms()
    shift = torch.tensor([3.0, -1.0]).view(1, 2, 1, 1)
    images = torch.randn(8, 2, 6, 6) + shift
    with statistics.of("a", trunk):
        trunk(images)
    mean = images.mean(dim=(0, 2, 3))
    torch.testing.assert_close(statistics.means[0, :2], 0.1 * mean)
    assert statistics.means[1].eq(0).all()
    assert statistics.variances[1].eq(1).all()
    torch.testing.assert_close(trunk[0].running_mean, 0.05 * mean)
    # law of total variance over the two sources
    between = (0.05 * mean).square()
    expected = statistics.variances[:, :2].mean(dim=0) + between
    torch.testing.assert_close(trunk[0].running_var, expected)


def test_in_evaluation_nothing_moves_and_the_source_decides():
    trunk, statistics = two_norms()
    statistics.means[1, :2] = torch.tensor([2.0, 4.0])
    trunk.eval()
    before = {key: value.clone() for key, value in trunk.state_dict().items()}
    images = torch.zeros(1, 2, 1, 1)
    with statistics.of("a", trunk):
        of_a = trunk[0](images)
    with statistics.of("b", trunk):
        of_b = trunk[0](images)
    torch.testing.assert_close(of_a, images)
    torch.testing.assert_close(of_b.flatten(), torch.tensor([-2.0, -4.0]), rtol=1e-4, atol=0)
    assert all(torch.equal(before[key], value) for key, value in trunk.state_dict().items())


def decoder(**options):
    return UperNet(in_channels=(4, 4, 4, 4), num_classes={"a": 2, "b": 1}, channels=4, **options)


def pyramid(shift):
    levels = [torch.randn(2, 4, 32 // s, 32 // s) + shift for s in (1, 2, 4, 8)]
    return FeaturePyramid(tuple(levels), (4, 8, 16, 32))


def test_two_unlike_sources_are_predicted_as_they_were_trained():
    torch.manual_seed(0)
    model = decoder(dropout=0.0)
    inputs = {"a": pyramid(5.0), "b": pyramid(-5.0)}
    trained = {}
    for _ in range(80):
        for source, levels in inputs.items():
            trained[source] = model.logits(levels, source).detach()
    model.eval()
    for source, levels in inputs.items():
        error = (model.logits(levels, source) - trained[source]).abs().mean().detach()
        assert float(error) < 0.1 * float(trained[source].std())
    shared = decoder(dropout=0.0, reference_statistics=True)
    shared.load_state_dict(model.state_dict(), strict=False)
    shared.eval()
    error = (shared.logits(inputs["a"], "a") - trained["a"]).abs().mean().detach()
    assert float(error) > 0.3 * float(trained["a"].std())


def test_files_without_statistics_by_source_give_theirs_to_every_source():
    torch.manual_seed(0)
    old = decoder(reference_statistics=True)
    for name, buffer in old.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
    model = decoder()
    found = model.load_state_dict(old.state_dict())
    assert found.missing_keys == []
    old.eval()
    model.eval()
    levels = pyramid(1.0)
    for source in ("a", "b"):
        torch.testing.assert_close(model.logits(levels, source), old.logits(levels, source))


def test_loading_other_parts_leaves_the_statistics_alone():
    model = decoder()
    model.statistics.means.fill_(7.0)
    model.load_state_dict({"classifiers.a.bias": torch.ones(3)}, strict=False)
    assert model.statistics.means.eq(7).all()
