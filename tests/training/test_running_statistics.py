"""Statistics measured anew, against the batches that the norms really saw."""

import copy

import pytest
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from geomtp.labels import LabelStore
from geomtp.model import build_model, load
from geomtp.training.mtp import _data, _model_config, pretrain_mtp
from geomtp.training.run_data import further_steps
from geomtp.training.running_statistics import measure_statistics
from tests.training.runs import draw_data, small_config
from tests.training.test_mtp import silent


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


def norms_of(model):
    return {name: part for name, part in model.named_modules() if isinstance(part, _BatchNorm)}


def model_and_steps(drawn, count=3):
    config = small_config(drawn, drawn / "none", drop_path=0.0, tasks=("semantic",), batch_size=4)
    stores = {name: LabelStore(drawn / name) for name in config.sources}
    torch.manual_seed(0)
    model = build_model(_model_config(config, stores))
    data = _data(config, stores)
    return model, list(further_steps(config, data.training, data.shares, count))


def inputs_of(norm, model, steps):
    """What ``norm`` is given in each step, by source where it is of a decoder."""
    seen = []
    handle = norm.register_forward_pre_hook(lambda _, args: seen.append(args[0].double()))
    with torch.no_grad():
        for batches in steps:
            model.train().total_loss(batches)
    handle.remove()
    return seen


def statistics(parts):
    """Mean over the batches of their means, and of their variances without bias."""
    means = torch.stack([part.mean(dim=(0, 2, 3)) for part in parts]).mean(0)
    variances = torch.stack([part.var(dim=(0, 2, 3)) for part in parts]).mean(0)
    return means.float(), variances.float()


def test_the_mean_over_all_batches_by_source(drawn):
    model, steps = model_and_steps(drawn)
    names = list(norms_of(model))
    encoder_norm = next(name for name in names if name.startswith("encoder."))
    decoder = model.decoders["semantic"]
    decoder_norm = next(name for name in names if name.startswith("decoders.semantic.trunk."))
    copied = copy.deepcopy(model)
    expected = statistics(inputs_of(norms_of(copied)[encoder_norm], copied, steps))
    of_sources = inputs_of(norms_of(copied)[decoder_norm], copied, steps)
    momenta = [norm.momentum for norm in norms_of(model).values()]

    measure_statistics(model, steps, names)

    norm = norms_of(model)[encoder_norm]
    torch.testing.assert_close(norm.running_mean, expected[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, expected[1], rtol=1e-4, atol=1e-5)
    assert [norm.momentum for norm in norms_of(model).values()] == momenta
    sources = decoder.statistics.sources
    assert len(of_sources) == len(steps) * len(sources) == 6
    count = norms_of(model)[decoder_norm].num_features
    for row, source in enumerate(sources):
        first = list(steps[0]).index(source)
        mean, variance = statistics(of_sources[first :: len(sources)])
        torch.testing.assert_close(
            decoder.statistics.means[row, :count], mean, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            decoder.statistics.variances[row, :count], variance, rtol=1e-4, atol=1e-5
        )


def test_other_norms_and_all_weights_stay(drawn):
    model, steps = model_and_steps(drawn, 1)
    before = copy.deepcopy(model.state_dict())
    names = [name for name in norms_of(model) if name.startswith("decoders.")]
    measure_statistics(model, steps, names)
    changed = {name for name, value in model.state_dict().items() if (value != before[name]).any()}
    assert changed
    assert not {name for name in changed if name.startswith("encoder.")}
    assert not changed & {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize("changes", [{}, {"ema_decay": 0.5}, {"batch_norm": "frozen_encoder"}])
def test_a_run_that_measures_at_its_end(drawn, tmp_path, changes):
    runs = {}
    for count in (0, 2):
        config = small_config(drawn, tmp_path / str(count), statistics_batches=count, **changes)
        runs[count] = load(pretrain_mtp(config, silent).folder.model)
    without, anew = runs[0].state_dict(), runs[2].state_dict()
    # the same training: weights are equal to the last bit
    assert all(torch.equal(without[name], anew[name]) for name, _ in runs[0].named_parameters())
    differ = {name for name in without if not torch.equal(without[name], anew[name])}
    of_encoder = any(name.startswith("encoder.") for name in differ)
    assert of_encoder == (changes.get("batch_norm") is None)
    assert "decoders.semantic.statistics.means" in differ


def test_less_than_none_is_refused(drawn):
    with pytest.raises(ValueError, match="statistics_batches must be at least 0, found -1"):
        small_config(drawn, drawn / "none", statistics_batches=-1)
