"""Pretrained weights into encoders: files of ours and of others, misfits told in a sentence."""

import logging
import re

import pytest
import timm
import torch
from torch import nn

from geomtp.checkpoints import import_official, read_foreign, read_weights, save_weights
from geomtp.encoders.encoder import Encoder
from geomtp.encoders.presets import create_encoder
from geomtp.encoders.timm_encoder import TimmEncoder, normalised
from geomtp.encoders.vit_rvsa import ViTRVSA
from geomtp.encoders.weights import load_encoder_weights


def tiny(image_size=64, width=32, **options):
    return ViTRVSA(
        image_size=image_size,
        width=width,
        depth=4,
        num_heads=2,
        global_every=2,
        out_blocks=(0, 1, 2, 3),
        **options,
    )


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.values(), b.values(), strict=True))


@pytest.mark.parametrize("build", [tiny, lambda: TimmEncoder(model="test_vit", image_size=64)])
def test_our_own_encoder_files(tmp_path, build):
    torch.manual_seed(0)
    source, target = build(), build()
    save_weights(source.state_dict(), tmp_path / "e.safetensors", {"kind": "encoder"})
    report = load_encoder_weights(target, tmp_path / "e.safetensors")
    assert same(source.state_dict(), target.state_dict())
    assert (report.missing, report.unexpected, report.interpolated) == ((), (), ())
    assert set(report.used) == set(target.state_dict())


def test_the_encoder_of_a_whole_model_file(tmp_path):
    torch.manual_seed(0)
    source = TimmEncoder(model="test_vit", image_size=64)
    weights = {f"encoder.{key}": tensor for key, tensor in source.state_dict().items()}
    weights["decoders.semantic.conv.weight"] = torch.zeros(2)
    save_weights(weights, tmp_path / "m.safetensors", {"kind": "model"})
    target = create_encoder("test_vit", image_size=64, weights=tmp_path / "m.safetensors")
    assert same(source.state_dict(), target.state_dict())
    report = load_encoder_weights(target, tmp_path / "m.safetensors")
    assert report.prefix == "encoder."
    assert list(report.ignored) == ["decoders.semantic.conv.weight"]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_timm(tmp_path, suffix, caplog):
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet").eval()
    path = tmp_path / f"timm{suffix}"
    if suffix == ".pth":
        torch.save(model.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(model.state_dict(), path)
    with caplog.at_level(logging.INFO, logger="geomtp"):
        encoder = create_encoder("test_efficientnet", image_size=64, weights=str(path)).eval()
    assert "used" in caplog.text
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        _, maps = model.forward_intermediates(images)
        for level, expected in zip(encoder(images).levels, maps[1:], strict=True):
            torch.testing.assert_close(level, normalised(expected))
    report = load_encoder_weights(encoder, path)
    assert (report.missing, report.unexpected) == ((), ())
    assert {"classifier.weight", "conv_head.weight"} <= set(report.ignored)


def test_rgb_weights_for_four_channels(tmp_path):
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet")
    torch.save(model.state_dict(), tmp_path / "rgb.pth")
    encoder = TimmEncoder(model="test_efficientnet", image_size=64, in_channels=4)
    report = load_encoder_weights(encoder, tmp_path / "rgb.pth")
    old, new = model.conv_stem.weight, encoder.model.conv_stem.weight
    torch.testing.assert_close(new, 0.75 * old[:, [0, 1, 2, 0]])
    assert report.interpolated == (
        ("model.conv_stem.weight", tuple(old.shape), (old.shape[0], 4, 3, 3)),
    )


@pytest.mark.parametrize("have, wanted", [(3, 1), (3, 4), (3, 10), (4, 3), (1, 3)])
def test_stems_of_other_numbers_of_channels(tmp_path, have, wanted):
    torch.manual_seed(0)
    source = TimmEncoder(model="test_vit", image_size=64, in_channels=have)
    torch.save(source.model.state_dict(), tmp_path / "w.pth")
    encoder = TimmEncoder(model="test_vit", image_size=64, in_channels=wanted)
    report = load_encoder_weights(encoder, tmp_path / "w.pth")
    assert [row[0] for row in report.interpolated] == ["model.patch_embed.proj.weight"]
    old, new = source.model.patch_embed.proj.weight, encoder.model.patch_embed.proj.weight
    expected = old.sum(1, keepdim=True)
    if wanted > 1:
        expected = torch.stack([old[:, i % have] for i in range(wanted)], 1) * have / wanted
    torch.testing.assert_close(new, expected)


@pytest.mark.parametrize(
    "name, channels",
    [
        ("repvgg_a0", 10),  # branches
        ("tresnet_m", 1),  # 4 × 4 pixels folded into channels
        ("pvt_v2_b0", 4),
        *(
            pytest.param(name, 10, marks=pytest.mark.slow)
            for name in (
                "resnet10t",
                "levit_128s",
                "fastvit_t8",
                "convnext_atto",
                "swin_tiny_patch4_window7_224",
                "swinv2_tiny_window8_256",
                "hiera_tiny_224",
                "xcit_nano_12_p8_224",
                "vit_small_patch14_reg4_dinov2",
                "eva02_tiny_patch14_224",
                "beit_base_patch16_224",
                "cait_xxs24_224",
                "davit_tiny",
                "edgenext_xx_small",
                "gcvit_xxtiny",
                "hrnet_w18_small",
                "maxvit_rmlp_pico_rw_256",
                "mobilevit_xxs",
                "poolformerv2_s12",
                "regnetx_002",
                "twins_svt_small",
                "volo_d1_224",
                "densenet121",
            )
        ),
    ],
)
def test_rgb_files_of_every_family_fit_other_numbers_of_channels(name, channels):
    with torch.device("meta"):
        rgb = timm.create_model(name).state_dict()
        encoder = TimmEncoder(model=name, image_size=224, in_channels=channels)
        report = import_official(rgb, encoder)
    stems = [key for key, _, _ in report.interpolated if "pos" not in key]
    assert 1 <= len(stems) <= 4
    assert all(encoder.layer_of(key) == 0 for key in stems)
    assert all(key.startswith("pyramid.") for key in report.missing)
    assert report.unexpected == ()


def test_pixels_folded_into_channels_keep_their_places(tmp_path):
    torch.manual_seed(0)
    rgb = torch.randn(64, 48, 3, 3)
    with torch.device("meta"):
        encoder = TimmEncoder(model="tresnet_m", image_size=64, in_channels=4)
    key = next(k for k, p in encoder.named_parameters() if p.ndim == 4)
    adapted = encoder.fit_official(key, rgb).unflatten(1, (16, 4))
    expected = rgb.unflatten(1, (16, 3))[:, :, [0, 1, 2, 0]] * 0.75
    torch.testing.assert_close(adapted, expected)


def test_files_of_a_models_authors_under_names_that_timm_translates(tmp_path):
    torch.manual_seed(0)
    name = "swin_tiny_patch4_window7_224"
    weights = timm.create_model(name).state_dict()
    # Swin's authors count a downsampling to the stage before it
    authors = {
        re.sub(r"layers\.(\d)\.down", lambda m: f"layers.{int(m[1]) - 1}.down", key).replace(
            "head.fc.", "head."
        ): tensor
        for key, tensor in weights.items()
    }
    authors["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    torch.save({"model": authors}, tmp_path / "swin.pth")
    encoder = TimmEncoder(model=name, image_size=64)
    report = load_encoder_weights(encoder, tmp_path / "swin.pth")
    assert report.missing == report.unexpected == ()
    for key, tensor in encoder.model.state_dict().items():
        if not key.endswith("bias_table"):  # windows of 64 px images are smaller
            assert torch.equal(tensor, weights[key]), key


def test_positions_of_a_plain_vit_for_another_image_size(tmp_path):
    torch.manual_seed(0)
    source = TimmEncoder(model="test_vit", image_size=64)
    with torch.no_grad():  # a slope downwards is a slope in any size
        rows = torch.arange(4.0).repeat_interleave(4)[:, None]
        source.model.pos_embed[0, 1:] = rows
        source.model.pos_embed[0, 0] = 7.0
    save_weights(source.state_dict(), tmp_path / "e.safetensors", {"kind": "encoder"})
    target = TimmEncoder(model="test_vit", image_size=(128, 64))
    report = load_encoder_weights(target, tmp_path / "e.safetensors")
    width = target.out_channels[0]
    assert report.interpolated == (("model.pos_embed", (1, 17, width), (1, 33, width)),)
    table = target.model.pos_embed[0, 1:].detach().unflatten(0, (8, 4))
    assert torch.equal(target.model.pos_embed[0, 0], torch.full((width,), 7.0))
    torch.testing.assert_close(table[3:5, :, 0], torch.tensor([[1.25] * 4, [1.75] * 4]))
    assert float((table[1:] - table[:-1]).min()) > 0


def test_relative_positions_of_windows_for_another_image_size(tmp_path):
    torch.manual_seed(0)
    source = TimmEncoder(model="test_coatnet", image_size=64)
    name = next(k for k in source.state_dict() if k.endswith("relative_position_bias_table"))
    heads = source.get_parameter(name).shape[1]
    with torch.no_grad():  # window 4 × 4: 7 × 7 positions, a slope along the rows
        source.get_parameter(name)[:] = torch.arange(7.0).repeat_interleave(7)[:, None]
    save_weights(source.state_dict(), tmp_path / "e.safetensors", {"kind": "encoder"})
    target = TimmEncoder(model="test_coatnet", image_size=(64, 96))
    report = load_encoder_weights(target, tmp_path / "e.safetensors")
    assert (name, (49, heads), (77, heads)) in report.interpolated
    assert all(row[0].endswith("position_bias_table") for row in report.interpolated)
    assert report.missing == ()
    table = target.get_parameter(name).detach().unflatten(0, (7, 11))
    torch.testing.assert_close(table[:, :, 0], torch.arange(7.0)[:, None].expand(7, 11))


def test_vit_rvsa_for_another_image_size_and_more_channels(tmp_path):
    torch.manual_seed(0)
    source = tiny(64)
    save_weights(source.state_dict(), tmp_path / "e.safetensors", {"kind": "encoder"})
    target = tiny(96, in_channels=4)
    report = load_encoder_weights(target, tmp_path / "e.safetensors")
    resized = {key for key, _, _ in report.interpolated}
    assert {"pos_embed", "patch_embed.proj.weight"} < resized
    assert report.missing == report.unexpected == ()


def test_another_encoder_is_refused_with_names_and_shapes(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save(timm.create_model("resnet18").state_dict(), path)
    encoder = TimmEncoder(model="test_vit", image_size=64)
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    message = (
        r"holds 0 of the \d+ weights of this TimmEncoder: expected cls_token \(1, 1, 64\), .*; "
        r"found conv1.weight \(64, 3, 7, 7\), "
    )
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(encoder, path)
    assert same(before, encoder.state_dict())


def test_another_width_is_refused_with_names_and_shapes(tmp_path):
    save_weights(tiny(width=32).state_dict(), tmp_path / "e.safetensors", {"kind": "encoder"})
    encoder = tiny(width=64)
    before = {key: tensor.clone() for key, tensor in encoder.state_dict().items()}
    message = r"do not fit into ViTRVSA .*pos_embed: the file has \(1, 16, 32\), the module \(1, 16"
    with pytest.raises(ValueError, match=message):
        load_encoder_weights(encoder, tmp_path / "e.safetensors")
    assert same(before, encoder.state_dict())


def test_a_few_common_names_are_not_enough(tmp_path):
    encoder = TimmEncoder(model="resnet18", image_size=64)
    save_weights({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.safetensors", {})
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "w.pth")
    for name in ("w.safetensors", "w.pth"):
        with pytest.raises(ValueError, match=r"holds \d of the 120 weights"):
            load_encoder_weights(encoder, tmp_path / name)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at nowhere"):
        create_encoder("vit_t_rvsa", image_size=64, weights="nowhere.pth")
    for read in (read_weights, read_foreign):
        with pytest.raises(FileNotFoundError, match="a folder: name a file in it"):
            read(tmp_path)


@pytest.mark.parametrize("size", [{"image_size": 0}, {"image_size": 64, "in_channels": 0}])
def test_sizes_of_nothing_are_refused(size):
    with pytest.raises(ValueError, match="image size and channels of an encoder must be at least"):
        create_encoder("vit_t_rvsa", **size)


def test_encoders_without_official_names_say_so(tmp_path):
    class Plain(Encoder):
        def forward(self, images):
            raise NotImplementedError

        def layer_of(self, parameter_name):
            return 0

    torch.save(nn.Linear(1, 1).state_dict(), tmp_path / "w.pth")
    with pytest.raises(ValueError, match="Plain cannot take weights"):
        load_encoder_weights(Plain(), tmp_path / "w.pth")
