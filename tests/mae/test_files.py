"""Masked autoencoders in files: ours and official ones, and encoders that start from them."""

import pytest
import torch

from geomtp.checkpoints import export_official, import_official, read_weights
from geomtp.encoders.presets import create_encoder
from geomtp.encoders.weights import load_encoder_weights
from geomtp.inference import weight_files
from geomtp.mae import MaeConfig, load_mae, load_mae_weights, save_mae, save_mae_encoder
from tests.mae.tiny import masking_of, tiny_mae

SMALL = MaeConfig(
    "vit_t_rvsa", 64, in_channels=4, decoder_width=32, decoder_depth=1, decoder_heads=2,
    norm_pixels=False, mean=(1.0, 2.0, 3.0, 4.0), std=(1.0, 1.0, 1.0, 2.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SMALL.build()


def filled(model):
    """The model's official tensors with other values, fixed tables included."""
    generator = torch.Generator().manual_seed(3)
    return {k: torch.randn(t.shape, generator=generator) for k, t in export_official(model).items()}


def test_our_files_hold_all_that_is_needed(small, tmp_path):
    save_mae(small, SMALL, tmp_path / "model.safetensors")
    again, config = load_mae(tmp_path / "model.safetensors")
    assert config == SMALL
    assert not again.training
    images, masking = torch.randn(1, 4, 64, 64), masking_of(small, 1)
    with torch.no_grad():
        assert torch.equal(small.eval()(images, masking), again(images, masking))
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    with pytest.raises(ValueError, match=r"holds no masked autoencoder \(kind: mae_encoder\)"):
        load_mae(tmp_path / "encoder.safetensors")


def test_official_files_come_out_as_they_went_in(tmp_path):
    official = filled(MaeConfig("vit_t_rvsa", 64, decoder_width=32, decoder_depth=2).build())
    torch.save({"model": official, "epoch": 1599}, tmp_path / "in.pth")
    report = weight_files.import_weights(
        tmp_path / "in.pth", tmp_path / "ours.safetensors", mae=True
    )
    assert f"used          {len(official):>4}" in report
    _, config = load_mae(tmp_path / "ours.safetensors")
    assert config == MaeConfig("vit_t_rvsa", 64, decoder_width=32, decoder_depth=2)
    weight_files.export(tmp_path / "ours.safetensors", tmp_path / "out.pth")
    exported = torch.load(tmp_path / "out.pth", weights_only=True)["model"]
    assert list(exported) == list(official)
    for key, tensor in official.items():
        assert torch.equal(exported[key], tensor), key
    shown = weight_files.inspect(tmp_path / "in.pth")
    assert "masked autoencoder for vit_t_rvsa, made for 64 px and 3 channels; decoder 32" in shown
    assert "geomtp mae" in weight_files.inspect(tmp_path / "ours.safetensors")


def test_the_encoder_alone_comes_out_under_official_names(small, tmp_path):
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    weight_files.export(tmp_path / "encoder.safetensors", tmp_path / "out.pth")
    exported = torch.load(tmp_path / "out.pth", weights_only=True)["model"]
    own = small.state_dict()
    assert set(own) - set(exported) == {k for k in own if k.startswith(("mask_token", "decoder_"))}
    assert all(torch.equal(tensor, own[key]) for key, tensor in exported.items())
    assert "encoder vit_t_rvsa, made for 64 px" in weight_files.inspect(
        tmp_path / "encoder.safetensors"
    )


@pytest.mark.parametrize("suffix", ["run folder", "encoder", "whole", "official", "plain vit"])
def test_vit_rvsa_starts_from_every_kind_of_file(small, tmp_path, suffix):
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    save_mae(small, SMALL, tmp_path / "model.safetensors")
    torch.save({"model": export_official(small)}, tmp_path / "official.pth")
    torch.save({"model": small.encoder_tensors()}, tmp_path / "plain.pth")
    path = {
        "run folder": tmp_path,
        "encoder": tmp_path / "encoder.safetensors",
        "whole": tmp_path / "model.safetensors",
        "official": tmp_path / "official.pth",
        "plain vit": tmp_path / "plain.pth",
    }[suffix]
    encoder = create_encoder("vit_t_rvsa", image_size=64, in_channels=4)
    report = load_encoder_weights(encoder, path)
    own, ours = small.state_dict(), encoder.state_dict()
    shared = [k for k in own if k in ours and k != "pos_embed"]
    assert len(shared) == 2 + 2 + 12 * 12  # stem, norm, blocks
    assert set(report.used) == {*shared, "pos_embed"}
    assert all(torch.equal(ours[key], own[key]) for key in shared)
    assert torch.equal(ours["pos_embed"], own["pos_embed"][:, 1:])
    whole = suffix in ("whole", "official")
    decoder = {k for k in own if k.startswith(("mask_token", "decoder_"))} if whole else set()
    assert set(report.ignored) == {"cls_token"} | decoder
    assert (report.unexpected, report.interpolated) == ((), ())
    assert all("rel" in k or "sampling" in k or k.startswith("pyramid") for k in report.missing)


def test_an_encoder_of_another_size_with_other_channels(small, tmp_path):
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    encoder = create_encoder("vit_t_rvsa", image_size=96, in_channels=3)
    report = load_encoder_weights(encoder, tmp_path / "encoder.safetensors")
    resized = {key: (old, new) for key, old, new in report.interpolated}
    assert resized == {
        "pos_embed": ((1, 16, 192), (1, 36, 192)),
        "patch_embed.proj.weight": ((192, 4, 16, 16), (192, 3, 16, 16)),
    }
    stem = small.state_dict()["patch_embed.proj.weight"]
    torch.testing.assert_close(
        encoder.state_dict()["patch_embed.proj.weight"], stem[:, :3] * (4 / 3)
    )


def test_a_folder_without_an_encoder_and_another_width(small, tmp_path):
    encoder = create_encoder("vit_t_rvsa", image_size=64, in_channels=4)
    with pytest.raises(FileNotFoundError, match=r"no weights at .*encoder\.safetensors"):
        load_encoder_weights(encoder, tmp_path)
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    other = create_encoder("vit_s_rvsa", image_size=64, in_channels=4)
    with pytest.raises(ValueError, match="do not fit into ViTRVSA"):
        load_encoder_weights(other, tmp_path)


def test_a_masked_autoencoder_goes_on_from_another(small, tmp_path):
    torch.save({"model": export_official(small)}, tmp_path / "official.pth")
    config = MaeConfig("vit_t_rvsa", 96, decoder_width=32, decoder_depth=1, decoder_heads=2)
    model = config.build()
    report = load_mae_weights(model, tmp_path / "official.pth")
    assert (report.missing, report.unexpected) == ((), ())
    assert {key for key, _, _ in report.interpolated} == {
        "pos_embed", "decoder_pos_embed", "patch_embed.proj.weight", "decoder_pred.weight",
        "decoder_pred.bias",
    }  # fmt: skip
    before = small.state_dict()["decoder_pred.bias"].view(256, 4)
    assert torch.equal(model.state_dict()["decoder_pred.bias"].view(256, 3), before[:, :3])
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    same = SMALL.build()
    report = load_mae_weights(same, tmp_path / "encoder.safetensors")
    assert all(key.startswith(("mask_token", "decoder_")) for key in report.missing)
    assert torch.equal(same.state_dict()["cls_token"], small.state_dict()["cls_token"])


def test_one_painted_channel_is_the_mean_of_all():
    grey, colour = tiny_mae(in_channels=1), tiny_mae()
    import_official(export_official(colour), grey)
    expected = colour.state_dict()["decoder_pred.weight"].view(256, 3, 8).mean(dim=1)
    torch.testing.assert_close(grey.state_dict()["decoder_pred.weight"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if not k.startswith("decoder_embed")},
         "not the weights of a whole masked autoencoder: decoder_embed.weight missing"),
        (lambda t: {k: v for k, v in t.items() if not k.startswith("blocks.11.")},
         "192 wide with 11 blocks is none of ours"),
    ],
)  # fmt: skip
def test_what_is_no_whole_masked_autoencoder_is_refused(small, tmp_path, change, message):
    torch.save({"model": change(export_official(small))}, tmp_path / "in.pth")
    with pytest.raises(ValueError, match=message):
        weight_files.import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors", mae=True)
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(ValueError, match="say what to make"):
        weight_files.import_weights(tmp_path / "in.pth", tmp_path / "out.safetensors")


@pytest.mark.parametrize("what", [{"mae": True}, {"like": "model.safetensors"}])
@pytest.mark.parametrize("size", [{"image_size": 224}, {"in_channels": 4}])
def test_sizes_that_follow_from_the_weights_are_not_to_be_given(tmp_path, what, size):
    with pytest.raises(ValueError, match="image size and channels are those of the weights"):
        weight_files.import_weights("in.pth", tmp_path / "out.safetensors", **what, **size)


def test_the_json_beside_says_how_images_were_normalised(small, tmp_path):
    save_mae_encoder(small, SMALL, tmp_path / "encoder.safetensors")
    _, info = read_weights(tmp_path / "encoder.safetensors")
    assert (info["kind"], info["encoder"], info["image_size"]) == ("mae_encoder", "vit_t_rvsa", 64)
    assert (info["mean"], info["std"]) == ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 2.0])
