"""Low-rank adapters: what is trained, and that nothing of them is left in what is written."""

import sys

import pytest
import torch

from geomtp.encoders.presets import create_encoder
from geomtp.model import ModelConfig, SourceConfig, build_model, load
from geomtp.training.adapters import add_adapters, merged
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune
from geomtp.types import ClassMap
from tests.data.folders import layouts

LAND = SourceConfig(ClassMap(("field", "water")), tasks=("scene",))
IMAGES = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def small_model(encoder="vit_t_rvsa"):
    torch.manual_seed(0)
    options = {"pyramid": False, "drop_path": 0.0} if encoder == "vit_t_rvsa" else {}
    return build_model(ModelConfig(encoder, 64, {"land": LAND}, encoder_options=options))


def scene_logits(model):
    return model.eval().predict(IMAGES, [(64, 64)], "land")[0].scene_logits


def test_adapters_start_at_nothing_and_are_all_that_is_trained():
    pytest.importorskip("peft")
    model, plain = small_model(), small_model()
    count = add_adapters(model.encoder, 2)
    trained = {n: p for n, p in model.encoder.named_parameters() if p.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    linear = [m for m in plain.encoder.modules() if isinstance(m, torch.nn.Linear)]
    assert count == sum(2 * (m.in_features + m.out_features) for m in linear)
    torch.testing.assert_close(scene_logits(model), scene_logits(plain))
    assert merged(plain) is plain


def assert_merged_says_the_same(model, plain):
    """With adapters that change something, merging gives a model of the same keys and scores."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B" in name:
                parameter.normal_(std=0.05)
    whole = merged(model)
    assert list(whole.state_dict()) == list(plain.state_dict())
    want = scene_logits(model)
    torch.testing.assert_close(scene_logits(whole), want, rtol=1e-3, atol=1e-5)
    assert (want - scene_logits(plain)).abs().max() > 1e-4


def test_merged_models_are_plain_and_say_the_same():
    pytest.importorskip("peft")
    model, plain = small_model(), small_model()
    add_adapters(model.encoder, 2)
    assert_merged_says_the_same(model, plain)
    assert any(".lora_" in key for key in model.state_dict())  # the one in training keeps its own


def test_a_run_writes_a_usual_model(tmp_path):
    pytest.importorskip("peft")
    data = layouts.class_folders(tmp_path / "land", 4)
    said = []
    config = FineTune(
        task="scene", data=data, out=tmp_path / "run", encoder="vit_t_rvsa", image_size=64,
        lora_rank=2, batch_size=2, steps=2, workers=0, log_every=1, pictures=0, accelerator="cpu",
        learning_rate=0.01, warmup_steps=0,
    )  # fmt: skip
    result = finetune(config, said.append)
    assert any(text.startswith("low-rank adapters: ") for text in said)
    after = load(result.folder.model).encoder
    torch.manual_seed(config.seed)
    before = create_encoder("vit_t_rvsa", image_size=64, pyramid=False).state_dict()
    changed = {key for key, value in after.state_dict().items() if not value.equal(before[key])}
    linear = {f"{n}.weight" for n, m in after.named_modules() if isinstance(m, torch.nn.Linear)}
    assert changed
    assert changed <= linear


def test_mistakes_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(ValueError, match=r"need the package peft: pip install 'geomtp\[lora\]'"):
        add_adapters(small_model().encoder, 2)
    with pytest.raises(ValueError, match="without freeze_encoder or probe"):
        FineTune(task="scene", lora_rank=2, freeze_encoder=True)


def test_in_encoders_of_convolutions_those_of_one_pixel_are_adapted():
    pytest.importorskip("peft")
    model, plain = small_model("tf_efficientnet_lite0"), small_model("tf_efficientnet_lite0")
    count = add_adapters(model.encoder, 2)
    pointwise = [
        m
        for m in plain.encoder.modules()
        if isinstance(m, torch.nn.Conv2d) and m.kernel_size == (1, 1)
    ]
    assert len(pointwise) > 20
    assert count == sum(2 * (m.in_channels + m.out_channels) for m in pointwise)
    torch.testing.assert_close(scene_logits(model), scene_logits(plain))
    assert_merged_says_the_same(model, plain)


def test_encoders_without_either_are_refused():
    pytest.importorskip("peft")
    with pytest.raises(ValueError, match="this encoder has neither"):
        add_adapters(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU()), 2)
