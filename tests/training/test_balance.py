"""Learned weights of losses: their numbers by hand, and in runs."""

import math
import os
import signal

import pytest
import torch

from geomtp.model import ModelConfig, MultiTaskModel, SourceConfig, build_model
from geomtp.training.balance import UncertaintyBalance
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run_folder import RunFolder
from geomtp.types import ClassMap, FeaturePyramid
from tests.training.runs import draw_data, small_config
from tests.training.test_mtp import rows_of, silent, weights_of


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


class Fixed(MultiTaskModel):
    """Losses that are given, times one parameter of the encoder."""

    def __init__(self, losses):
        encoder = torch.nn.Conv2d(3, 1, 1)
        super().__init__(encoder, {"semantic": torch.nn.Identity(), "rotated": torch.nn.Identity()})
        self.losses = losses

    def _concatenated(self, batches):
        return torch.ones(1, 3, 32, 32), dict.fromkeys(batches, 0)

    def _span(self, task, start, batch):
        return 0, 1

    def tasks_of(self, source):
        return [name.split("/")[0] for name in self.losses if name.endswith(f"/{source}")]

    def _decoder_losses(self, task, pyramid, batch):
        scale = pyramid.levels[0].mean()
        found = {n: v for n, v in self.losses.items() if n.startswith(task) and n.endswith(batch)}
        return {n: v * scale for n, v in found.items()}


class OneLevel(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, images):
        return FeaturePyramid((self.weight * torch.ones(1, 1, 2, 2),), (4,))


def fixed_model():
    model = Fixed({"semantic/pixel/a": 3.0, "rotated/box/a": 0.5, "rotated/box/b": 4.0})
    model.encoder = OneLevel()
    return model


def test_the_sum_by_hand():
    model = fixed_model()
    names = ("semantic/a", "rotated/a", "rotated/b")
    balance = UncertaintyBalance(names)
    start, _ = model.total_loss({"a": "a", "b": "b"}, None, balance.log_variances)
    assert start.item() == pytest.approx(2 * (3 + 0.5 + 4))  # exp(0) L + 0: the plain sum
    plain, _ = model.total_loss({"a": "a", "b": "b"})
    assert start.item() == plain.item()
    values = {"semantic/a": math.log(6), "rotated/a": 0.0, "rotated/b": math.log(2)}
    with torch.no_grad():
        for name, value in values.items():
            balance.log_variances[name].fill_(value)
    total, losses = model.total_loss({"a": "a", "b": "b"}, {"rotated": 2.0}, balance.log_variances)
    # weighed L are 6, 2·1 and 2·8; exp(−s) are 1/6, 1, 1/2
    assert total.item() == pytest.approx(6 / 6 + math.log(6) + 2 + 16 / 2 + math.log(2))
    assert losses["rotated/box/b"].item() == pytest.approx(8)  # as it came
    total.backward()
    gradients = {name: s.grad.item() for name, s in balance.log_variances.items()}
    # 1 − exp(−s)·L
    assert gradients["semantic/a"] == pytest.approx(0, abs=1e-6)
    assert gradients["rotated/a"] == pytest.approx(1 - 2)
    assert gradients["rotated/b"] == pytest.approx(1 - 8)
    # d/dw of w·(3/6 + 2·0.5 + 2·4/2)
    assert model.encoder.weight.grad.item() == pytest.approx(0.5 + 1 + 4)
    assert balance.factors() == pytest.approx(
        {"semantic/a": 1 / 6, "rotated/a": 1, "rotated/b": 0.5}
    )


def test_each_weight_finds_the_value_at_which_its_loss_counts_one():
    model = fixed_model().requires_grad_(False)
    balance = UncertaintyBalance(("semantic/a", "rotated/a", "rotated/b"))
    optimiser = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        model.total_loss({"a": "a", "b": "b"}, None, balance.log_variances)[0].backward()
        optimiser.step()
    factors = balance.factors()
    assert factors == pytest.approx(
        {"semantic/a": 1 / 6, "rotated/a": 1, "rotated/b": 1 / 8}, rel=1e-2
    )


def test_one_weight_for_each_task_of_each_source(data, tmp_path):
    config = small_config(data, tmp_path / "run", balance="uncertainty", steps=3)
    folder = pretrain_mtp(config, silent).folder
    saved = weights_of(folder)
    names = [key.removeprefix("balance._of_name.") for key in saved if key.startswith("balance")]
    assert sorted(names) == [
        "instance/town", "rotated/harbour", "rotated/town", "semantic/harbour", "semantic/town",
    ]  # fmt: skip
    assert all(saved[f"balance._of_name.{name}"] != 0 for name in names)
    logged = {name: value for _, name, value in rows_of(folder) if name.startswith("balance/")}
    assert logged.keys() == {f"balance/{name}" for name in names}
    assert all(0.9 < value < 1.1 for value in logged.values())


def test_the_plain_sum_trains_as_if_there_was_no_choice(data, tmp_path):
    folder = pretrain_mtp(small_config(data, tmp_path / "run", steps=1), silent).folder
    assert not [key for key in weights_of(folder) if key.startswith("balance")]


def test_a_stopped_run_resumes_to_the_same_weights(data, tmp_path, monkeypatch):
    changes = {"balance": "uncertainty", "conflicts_every": 2, "conflict_batches": 1, "steps": 4}
    whole = pretrain_mtp(small_config(data, tmp_path / "whole", **changes), silent)
    asked = []

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == 3 and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    original = StopBetweenSteps.on_train_batch_end
    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)
    parts = small_config(data, tmp_path / "parts", **changes)
    assert pretrain_mtp(parts, silent).stopped
    resumed = pretrain_mtp(small_config(data, tmp_path / "parts", resume=True, **changes), silent)
    assert (resumed.steps, resumed.stopped) == (4, False)
    first, second = weights_of(whole.folder), weights_of(RunFolder(parts.out))
    assert any(key.startswith("balance") for key in first)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.equal(second[key]), key


def test_measuring_conflicts_changes_no_weight(data, tmp_path):
    with_log = small_config(data, tmp_path / "a", conflicts_every=1, conflict_batches=1, steps=2)
    without = small_config(data, tmp_path / "b", steps=2)
    first = weights_of(pretrain_mtp(with_log, silent).folder)
    second = weights_of(pretrain_mtp(without, silent).folder)
    for key, value in first.items():
        assert value.equal(second[key]), key


def test_all_pairs_are_known():
    sources = {
        "a": SourceConfig(ClassMap(("x",)), ("semantic",), (1.0,) * 3, (1.0,) * 3),
        "b": SourceConfig(ClassMap(("x",)), ("semantic", "rotated"), (1.0,) * 3, (1.0,) * 3),
    }
    model = build_model(
        ModelConfig("resnet10t", 64, sources, semantic_channels=8, detector_channels=8)
    )
    names = set(UncertaintyBalance.of(model).log_variances)
    assert names == {"semantic/a", "semantic/b", "rotated/b"}
