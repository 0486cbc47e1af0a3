"""Parameter groups, schedule and steps against the reference."""

import pytest
import torch

from geomtp.encoders.presets import vit_b_rvsa
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.training.optimiser import (
    adamw,
    clip_gradients,
    learning_rate_factor,
    parameter_groups,
)
from tests.encoders.test_vit_rvsa import load, tiny
from tests.golden_cases import GoldenCase


@pytest.mark.parametrize(
    ("name", "prefix", "layer_decay"),
    [
        ("layer_decay_vit_b_finetune", "backbone.", 0.9),
        # In the reference's pretraining the decay has no effect (quirk 32).
        ("layer_decay_vit_b_pretrain", "encoder.", None),
    ],
)
def test_groups_equal_the_reference(name, prefix, layer_decay):
    case = GoldenCase.read(name)
    with torch.device("meta"):
        encoder = vit_b_rvsa(image_size=224)
    groups = parameter_groups(
        encoder, encoder, learning_rate=6e-5, weight_decay=0.05, layer_decay=layer_decay
    )
    ours = {n: group for group in groups for n in group["names"]}
    official = encoder.official_keys()
    golden = {k: v for k, v in case.info["params"].items() if k.startswith(prefix)}
    unused = {prefix + "norm.weight", prefix + "norm.bias"}
    assert {prefix + official[n] for n in ours} == set(golden) - unused
    for n, group in ours.items():
        want = golden[prefix + official[n]]
        assert group["scale"] == pytest.approx(want["lr_scale"], rel=1e-9)
        assert group["lr"] == pytest.approx(want["lr"], rel=1e-9)
        assert group["weight_decay"] == want["weight_decay"]


def test_pretraining_schedule_equals_the_reference():
    case = GoldenCase.read("schedule_pretrain_cosine")
    rates = [6e-5 * learning_rate_factor(step, steps=500) for step in range(500)]
    assert rates == pytest.approx(case.info["lr"], rel=1e-6)


def test_schedule_with_warm_up_equals_the_reference():
    case = GoldenCase.read("schedule_seg_cosine")
    steps = case.tensor("step").tolist()
    rates = [6e-5 * learning_rate_factor(s, steps=935, warmup_steps=150) for s in steps]
    assert rates == pytest.approx(case.info["lr"], rel=1e-6, abs=1e-16)


def test_a_learning_rate_that_drops():
    def rate(step):
        return learning_rate_factor(step, steps=100, warmup_steps=5, drops_at=(60, 80))

    assert rate(0) == pytest.approx(1e-6)
    assert rate(2) == pytest.approx(0.5, rel=1e-5)  # warm after step 4
    assert [rate(step) for step in (4, 59, 60, 79, 80, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    early = [learning_rate_factor(s, steps=9, warmup_steps=4, drops_at=(2,)) for s in (1, 2, 3, 4)]
    assert early == pytest.approx([1 / 3, 2 / 30, 0.1, 0.1], rel=1e-5)


def test_optimiser_steps_equal_the_reference():
    case = GoldenCase.read("optim_steps")
    encoder: ViTRVSA = tiny(112).eval()
    shapes = {
        theirs: encoder.state_dict()[k].shape for k, theirs in encoder.official_keys().items()
    }
    load(encoder, case.weights(shapes))
    groups = parameter_groups(
        encoder, encoder, learning_rate=6e-4, weight_decay=0.05, layer_decay=0.9
    )
    optimiser = adamw(groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step, steps=4)
    )
    losses, norms = [], []
    for step in range(4):
        levels = encoder(case.tensor(f"x{step}")).levels
        loss = sum((level - 1).square().mean() for level in levels)
        optimiser.zero_grad()
        loss.backward()
        norms.append(float(clip_gradients(encoder.parameters(), 5.0)))
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    assert losses == pytest.approx(case.info["scalars"]["losses"], rel=1e-4)
    assert norms == pytest.approx(case.info["scalars"]["grad_norms_before_clip"], rel=1e-3)
    official = {theirs: ours for ours, theirs in encoder.official_keys().items()}
    state = encoder.state_dict()
    for name in [n.removeprefix("after:") for n in case.info["tensors"] if n.startswith("after:")]:
        case.compare_gradient(f"after:{name}", state[official[name]], 1e-3)


def test_parts_outside_the_encoder_learn_at_the_full_rate():
    encoder = tiny(64)
    model = torch.nn.ModuleDict({"encoder": encoder, "head": torch.nn.Linear(4, 4)})
    groups = parameter_groups(model, encoder, learning_rate=1.0, weight_decay=0.1, layer_decay=0.5)
    rates = {n: group["lr"] for group in groups for n in group["names"]}
    assert rates["head.weight"] == 1.0
    assert rates["encoder.blocks.5.mlp.fc1.weight"] == 0.5
    assert rates["encoder.pos_embed"] == 0.5**7
