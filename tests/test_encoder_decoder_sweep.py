"""Every encoder with every decoder: one training step, whatever the images' shape and channels.

By default a covering design, in which every pair of settings of two factors occurs; the full
product is marked slow.
"""

import itertools

import pytest
import torch

from geomtp.encoders.internimage import InternImage
from geomtp.encoders.presets import PRESETS
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.model import ModelConfig, SourceConfig, build_model, load, save
from geomtp.training.finetune import RAW_LEVELS
from geomtp.training.optimiser import adamw, parameter_groups
from geomtp.types import Batch, ClassMap, Targets

ENCODERS = ("vit_rvsa", "internimage", "test_efficientnet", "test_vit", "test_maxvit")
DECODERS = ("semantic", "instance", "rotated", "horizontal", "retinanet", "scene", "change")
SIZES_HW = ((64, 64), (64, 96), (71, 45))
CHANNELS = (1, 3, 4, 10)
FACTORS = (ENCODERS, DECODERS, SIZES_HW, CHANNELS, (False, True))


def small_vit_rvsa(**options):
    return ViTRVSA(
        width=48, depth=4, num_heads=2, global_every=2, out_blocks=(0, 1, 2, 3), **options
    )


def small_internimage(*, image_size, **options):
    return InternImage(
        width=16, depths=(1, 1, 2, 1), groups=(2, 4, 8, 16), offset_scale=1.0, **options
    )


@pytest.fixture(autouse=True)
def _small_presets(monkeypatch):
    monkeypatch.setitem(PRESETS, "vit_rvsa", small_vit_rvsa)
    monkeypatch.setitem(PRESETS, "internimage", small_internimage)


def covering_design():
    """Two cases for each encoder and number of channels, with decoders of pretraining and others.

    Decoder, size and recomputation go round.
    """
    return [
        (
            encoder,
            decoders[(i + j) % len(decoders)],
            SIZES_HW[(i + 2 * j) % 3],
            channels,
            bool((i + j + j // 2) % 2),
        )
        for decoders in (DECODERS[:3], DECODERS[3:])
        for (i, encoder), (j, channels) in itertools.product(
            enumerate(ENCODERS), enumerate(CHANNELS)
        )
    ]


FULL = [case for case in itertools.product(*FACTORS) if case not in covering_design()]


def test_the_design_covers_every_pair_of_settings():
    for a, b in itertools.combinations(range(len(FACTORS)), 2):
        met = {(case[a], case[b]) for case in covering_design()}
        assert met == set(itertools.product(FACTORS[a], FACTORS[b])), (a, b)


def task_of(decoder):
    return "horizontal" if decoder == "retinanet" else decoder


def model_of(encoder, decoder, channels, recompute):
    torch.manual_seed(0)
    task = task_of(decoder)
    raw = {"pyramid": False} if task in RAW_LEVELS and encoder == "vit_rvsa" else {}
    source = SourceConfig(
        ClassMap(("car", "house")), (task,), mean=(0.0,) * channels, std=(1.0,) * channels
    )
    config = ModelConfig(
        encoder=encoder,
        image_size=64,
        sources={"town": source},
        in_channels=channels,
        encoder_options={"drop_path": 0.0, "activation_checkpointing": recompute, **raw},
        detector="retinanet" if decoder == "retinanet" else "faster_rcnn",
        semantic_channels=8,
        change_channels=(16, 8, 8, 4),
        detector_channels=8,
        fc_channels=16,
        proposals=50,
        rois=32,
    )
    return build_model(config)


def batch_of(size_hw, channels):
    torch.manual_seed(1)
    height, width = size_hw
    box = torch.tensor([[8.0, 10.0, 40.0, 42.0]])
    mask = torch.zeros(1, height, width, dtype=torch.bool)
    mask[:, 10:42, 8:40] = True
    label = torch.tensor([1])
    targets = Targets(
        boxes=box,
        box_labels=label,
        masks=mask,
        rboxes=torch.tensor([[24.0, 26.0, 32.0, 20.0, 0.4]]),
        rbox_labels=label,
        semantic=mask[0].to(torch.uint8) * 2,
        scene_class=1,
        change=mask[0].to(torch.uint8),
    )
    images, after = torch.randn(2, 2, channels, height, width)
    return {"town": Batch(images, (targets,) * 2, (size_hw,) * 2, "town", images_after=after)}


@pytest.mark.parametrize(
    "encoder, decoder, size_hw, channels, recompute",
    [*covering_design(), *(pytest.param(*case, marks=pytest.mark.slow) for case in FULL)],
)
def test_a_step_is_finite_and_reaches_every_parameter(
    encoder, decoder, size_hw, channels, recompute, tmp_path
):
    model = model_of(encoder, decoder, channels, recompute).train()
    total, losses = model.total_loss(batch_of(size_hw, channels))
    assert all(name.startswith(f"{task_of(decoder)}/") for name in losses)
    for name, value in losses.items():
        assert value.isfinite(), name
    total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    stem = next(p for p in model.encoder.parameters() if p.ndim == 4 and p.shape[1] == channels)
    assert float(stem.grad.abs().max()) > 0
    before = stem.detach().clone()
    groups = parameter_groups(
        model, model.encoder, learning_rate=1e-3, weight_decay=0.05, layer_decay=0.75
    )
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    adamw(groups).step()
    assert not torch.equal(stem, before)

    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.config == model.config
    expected = model.state_dict()
    assert set(again.state_dict()) == set(expected)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


@pytest.mark.parametrize("encoder", ENCODERS)
def test_recomputation_changes_no_number(encoder):
    batches = batch_of((71, 45), 3)
    found = []
    for recompute in (False, True):
        model = model_of(encoder, "semantic", 3, recompute).train()
        torch.manual_seed(2)  # dropout
        sum(model.loss(batches).values()).backward()
        found.append((model.state_dict(), {n: p.grad for n, p in model.named_parameters()}))
    (state, gradients), (state_again, gradients_again) = found
    for name, tensor in state.items():  # running statistics too
        torch.testing.assert_close(state_again[name], tensor, msg=name)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradients_again[name], gradient, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_images_of_another_number_of_channels_are_refused_in_a_sentence(encoder):
    model = model_of(encoder, "semantic", 4, recompute=False)
    message = r"built for images of 4 channels, \(B, 4, H, W\); found \(2, 3, 64, 64\); build it"
    with pytest.raises(ValueError, match=message):
        model.loss(batch_of((64, 64), 3))
