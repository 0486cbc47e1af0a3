"""InternImage against the reference, its published weights' names and counts, and at any size."""

from functools import partial

import pytest
import torch

from geomtp.checkpoints import export_official, import_official, read_foreign
from geomtp.encoders.internimage import HEAD_KEYS, InternImage
from geomtp.encoders.presets import PRESETS, create_encoder, internimage_xl
from geomtp.encoders.weights import load_encoder_weights
from geomtp.inference.weight_files import export, import_weights
from geomtp.model import ModelConfig, SourceConfig, build_model
from geomtp.training.optimiser import parameter_groups
from geomtp.types import ClassMap
from tests.golden_cases import GoldenCase


def tiny(**options):
    settings = {"width": 16, "depths": (1, 1, 2, 1), "groups": (1, 2, 4, 8), "offset_scale": 2.0}
    return InternImage(**(settings | options))


def without_size(*, image_size, **options):
    return tiny(**options)


def filled(case):
    factor = case.info["config"]["gamma_multiplier"]
    return {
        key: tensor * factor if key.endswith(("gamma1", "gamma2")) else tensor
        for key, tensor in case.weights().items()
    }


@pytest.mark.parametrize("name", ["internimage_tiny_64", "internimage_tiny_96_gamma50"])
def test_tiny_encoder_and_gradients_equal_the_reference(name):
    case = GoldenCase.read(name)
    encoder = tiny().eval()
    report = import_official(filled(case), encoder)
    assert (report.missing, report.unexpected) == ((), ())
    x = case.tensor("x").requires_grad_()
    pyramid = encoder(x)
    assert pyramid.strides == (4, 8, 16, 32)
    for index, level in enumerate(pyramid.levels):
        case.compare(f"out{index}", level)
    loss = sum(level.square().sum() for level in pyramid.levels)
    assert float(loss.detach()) == pytest.approx(case.scalar("loss_sum_of_squares"), rel=1e-4)
    loss.backward()
    case.compare_gradient("grad:x", x.grad)
    norm = torch.stack([p.grad.norm() for p in encoder.parameters()]).norm()
    assert float(norm) == pytest.approx(case.scalar("grad_norm_all_parameters"), rel=1e-4)
    ours = {official: key for key, official in encoder.official_keys().items()}
    stored = [n for n in case.info["tensors"] if n.startswith("grad:") and n != "grad:x"]
    assert len(stored) == 12
    for name in stored:
        case.compare_gradient(name, encoder.get_parameter(ours[name[5:]]).grad)


@pytest.mark.slow
def test_xl_equals_the_reference():
    case = GoldenCase.read("internimage_xl_96")
    encoder = internimage_xl(image_size=96).eval()
    import_official(filled(case), encoder)
    with torch.no_grad():
        pyramid = encoder(case.tensor("x"))
    for index, level in enumerate(pyramid.levels):
        case.compare(f"out{index}", level)


def test_xl_has_the_official_tensors():
    case = GoldenCase.read("internimage_xl_96")
    with torch.device("meta"):
        encoder = internimage_xl(image_size=224)
    state, official = encoder.state_dict(), encoder.official_keys()
    assert {official[key]: list(state[key].shape) for key in state} == case.info["keys"]
    assert len(state) == 875
    assert sum(tensor.numel() for tensor in state.values()) == 328_971_228


def test_whole_model_has_as_many_tensors_as_the_official_one():
    sources = {
        name: SourceConfig(ClassMap(tuple(f"class {i}" for i in range(count))))
        for name, count in {"sota": 18, "sior": 20, "fast": 37}.items()
    }
    config = ModelConfig(encoder="internimage_xl", image_size=448, sources=sources)
    with torch.device("meta"):
        model = build_model(config)
    assert len(set(model.official_keys().values())) == 1047


@pytest.mark.parametrize(
    ("name", "millions"), [("t", 29.9), ("s", 50.1), ("b", 97.5), ("l", 223), ("xl", 335)]
)
def test_presets_have_the_published_sizes(name, millions):
    """Published counts hold the classification head: 1.5 times as wide as the last level."""
    with torch.device("meta"):
        encoder = PRESETS[f"internimage_{name}"](image_size=224, in_channels=3)
    width = encoder.out_channels[-1]
    hidden = int(1.5 * width)
    head = width * hidden + 2 * hidden + 1000 * hidden + 1000
    count = (sum(p.numel() for p in encoder.parameters()) + head) / 1e6
    assert round(count, 1 if millions < 100 else None) == millions


def test_layers_of_the_reference_in_pretraining():
    case = GoldenCase.read("layer_decay_internimage_xl_pretrain")
    with torch.device("meta"):
        encoder = internimage_xl(image_size=224)
    groups = parameter_groups(
        encoder, encoder, learning_rate=2e-5, weight_decay=0.05, layer_decay=0.94
    )
    ours = {name: group for group in groups for name in group["names"]}
    official = encoder.official_keys()
    golden = {k: v for k, v in case.info["params"].items() if k.startswith("encoder.")}
    assert {"encoder." + official[name] for name in ours} == set(golden)
    for name, group in ours.items():
        want = golden["encoder." + official[name]]
        assert group["scale"] == pytest.approx(want["lr_scale"], rel=1e-9)
        assert group["lr"] == pytest.approx(want["lr"], rel=1e-9)
        assert group["weight_decay"] == want["weight_decay"]


def test_layer_numbers():
    encoder = tiny(post_norm=False)
    assert encoder.layer_of("patch_embed.conv1.weight") == 0
    assert encoder.layer_of("levels.0.blocks.0.gamma1") == 1
    assert encoder.layer_of("levels.0.norm.weight") == 2
    assert encoder.layer_of("levels.0.downsample.conv.weight") == 2
    assert encoder.layer_of("levels.2.blocks.1.dcn.offset.bias") == 4
    assert encoder.layer_of("levels.3.blocks.0.mlp.fc2.weight") == 5
    assert encoder.layer_of("levels.3.norm.weight") == encoder.num_layers + 1 == 6


@pytest.mark.parametrize("options", [{}, {"post_norm": False, "layer_scale": None}])
@pytest.mark.parametrize("size_hw", [(32, 32), (1, 1), (47, 96), (101, 75)])
@pytest.mark.parametrize("in_channels", [1, 4, 10])
def test_any_size_and_channel_count(size_hw, in_channels, options):
    encoder = tiny(in_channels=in_channels, width=8, groups=(1, 2, 4, 8), **options).train()
    images = torch.randn(2, in_channels, *size_hw, requires_grad=True)
    pyramid = encoder(images)
    expected = [
        (2, channels, -(-size_hw[0] // stride), -(-size_hw[1] // stride))
        for channels, stride in zip(encoder.out_channels, encoder.strides, strict=True)
    ]
    assert [tuple(level.shape) for level in pyramid.levels] == expected
    sum(level.square().mean() for level in pyramid.levels).backward()
    assert images.grad.isfinite().all()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_activation_checkpointing_changes_no_number():
    torch.manual_seed(0)
    plain = tiny(layer_scale=0.5, drop_path=0.5).train()
    saving = tiny(layer_scale=0.5, drop_path=0.5, activation_checkpointing=True).train()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(3, 3, 64, 64)
    for encoder in (plain, saving):
        torch.manual_seed(1)
        sum(level.square().mean() for level in encoder(images).levels).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_paths_are_dropped_more_often_in_later_blocks():
    encoder = tiny(depths=(2, 1, 1, 1), drop_path=0.4)
    rates = [block.drop_path.p for stage in encoder.levels for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("options", [{}, {"post_norm": False, "layer_scale": None}])
def test_official_files_in_and_out(tmp_path, options):
    """A file as published: weights and a classification head under "model"."""
    torch.manual_seed(0)
    source = tiny(**options)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    file = export_official(source)
    assert "levels.1.blocks.0.dcn.dw_conv.1.1.bias" in file
    assert ("levels.3.norm.0.weight" in file) == ("post_norm" in options)
    head = {key: torch.zeros(2) for key in HEAD_KEYS}
    torch.save({"model": file | head}, tmp_path / "published.pth")

    target = tiny(**options)
    report = load_encoder_weights(target, tmp_path / "published.pth")
    assert (report.missing, report.unexpected, report.interpolated) == ((), (), ())
    assert dict(report.ignored) == dict.fromkeys(HEAD_KEYS, "of the classification head")
    back = export_official(target)
    assert back.keys() == file.keys()
    assert all(torch.equal(back[key], file[key]) for key in file)


def test_published_file_to_ours_and_back(tmp_path, monkeypatch):
    torch.manual_seed(0)
    small = partial(without_size, post_norm=False, layer_scale=None)
    monkeypatch.setitem(PRESETS, "internimage_t", small)
    file = export_official(create_encoder("internimage_t", image_size=64))
    head = {key: torch.zeros(2) for key in HEAD_KEYS}
    torch.save({"model": file | head}, tmp_path / "published.pth")
    report = import_weights(
        tmp_path / "published.pth", tmp_path / "ours.safetensors", encoder="internimage_t"
    )
    assert "8 × of the classification head" in report
    export(tmp_path / "ours.safetensors", tmp_path / "back.safetensors")
    back = read_foreign(tmp_path / "back.safetensors")
    assert back.keys() == file.keys()
    assert all(torch.equal(back[key], file[key]) for key in file)


def test_rgb_weights_for_ten_channels():
    source, target = tiny(), tiny(in_channels=10)
    report = import_official(export_official(source), target)
    assert [row[0] for row in report.interpolated] == ["patch_embed.conv1.weight"]
    old, new = source.patch_embed.conv1.weight, target.patch_embed.conv1.weight
    torch.testing.assert_close(new[:, 4], 0.3 * old[:, 1])


def test_weights_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"do not fit into InternImage .*the file has \(8, 3, 3"):
        import_official(export_official(tiny()), tiny(width=32))


def test_by_name():
    encoder = create_encoder("internimage_t", image_size=64, in_channels=4, drop_path=0.1)
    assert encoder.out_channels == (64, 128, 256, 512)
    assert encoder.patch_embed.conv1.weight.shape == (32, 4, 3, 3)


def test_images_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"built for images of 3 channels.*found \(1, 4, 32, 32\)"):
        tiny()(torch.zeros(1, 4, 32, 32))


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="InternImage has 4 stages, got depths"):
        tiny(depths=(1, 1, 1))
    with pytest.raises(ValueError, match="width 16 must be a multiple of groups 3"):
        tiny(groups=(3, 3, 3, 3))
