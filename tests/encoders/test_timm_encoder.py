"""Models of timm as encoders: levels, gradients, layers, sizes that models refuse."""

import re
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from geomtp.encoders.presets import create_encoder
from geomtp.encoders.timm_encoder import TimmEncoder, normalised
from geomtp.encoders.timm_models import drop_modules

FAMILIES = [
    "resnet18",
    "convnext_atto",
    "test_convnext3",
    "test_vit",
    "vit_tiny_patch16_224",
    "test_efficientnet",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "test_coatnet",
    "test_maxvit",
    "pvt_v2_b0",
    "test_nfnet",
    "test_mambaout",
    "vit_small_patch16_dinov3",
    "test_vit_relpos",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "swin_tiny_patch4_window7_224",
            "swinv2_tiny_window8_256",
            "maxvit_rmlp_pico_rw_256",
            "coatnet_nano_rw_224",
            "hrnet_w18_small",
            "poolformerv2_s12",
            "davit_tiny",
            "hiera_tiny_224",
            "regnetx_002",
            "densenet121",
            "mobilevit_xxs",
            "deit_tiny_distilled_patch16_224",
            "samvit_base_patch16",
        )
    ),
]


def cells(size_hw, stride):
    return (-(-size_hw[0] // stride), -(-size_hw[1] // stride))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_four_levels_gradients_everywhere_and_layers_in_order(name):
    torch.manual_seed(0)
    encoder = create_encoder(name, image_size=(64, 96), in_channels=4).train()
    size_hw = (72, 100)  # no multiple of 32: padded within
    pyramid = encoder(torch.randn(2, 4, *size_hw))
    assert pyramid.strides == encoder.strides == (4, 8, 16, 32)
    for level, stride, channels in zip(
        pyramid.levels, pyramid.strides, encoder.out_channels, strict=True
    ):
        assert tuple(level.shape) == (2, channels, *cells(size_hw, stride))
    sum(level.square().mean() for level in pyramid.levels).backward()
    for key, parameter in encoder.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key

    layers = [encoder.layer_of(key) for key, _ in encoder.model.named_parameters()]
    assert layers[0] == 0
    assert layers == sorted(layers)
    assert layers[-1] == max(layers) == encoder.num_layers >= 4
    assert set(layers) == set(range(encoder.num_layers + 1))
    for key, _ in encoder.named_parameters():
        assert key.startswith("model.") or encoder.layer_of(key) == encoder.num_layers + 1


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", "test_efficientnet"])
def test_levels_are_the_features_of_timm(name):
    torch.manual_seed(0)
    reference = timm.create_model(name, features_only=True).eval()
    encoder = TimmEncoder(model=name, image_size=64).eval()
    encoder.model.load_state_dict(
        # timm's own feature networks flatten containers
        {re.sub(r"^(stem|stages)_", r"\1.", k): v for k, v in reference.state_dict().items()}
    )
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = reference(images)[-4:]
        for level, features in zip(encoder(images).levels, expected, strict=True):
            torch.testing.assert_close(level, normalised(features))


def test_window_transformers_give_channels_first():
    torch.manual_seed(0)
    name = "swin_tiny_patch4_window7_224"
    reference = timm.create_model(name, img_size=64, strict_img_size=False).eval()
    encoder = TimmEncoder(model=name, image_size=64).eval()
    encoder.model.load_state_dict(reference.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        maps = reference.patch_embed(images)  # (B, H, W, C)
        for stage, level in zip(reference.layers, encoder(images).levels, strict=True):
            maps = stage(maps)
            torch.testing.assert_close(level, normalised(maps.permute(0, 3, 1, 2)))


def test_plain_transformers_take_four_evenly_spread_blocks():
    torch.manual_seed(0)
    name = "vit_tiny_patch16_224"
    reference = timm.create_model(name, img_size=64, dynamic_img_size=True).eval()
    encoder = TimmEncoder(model=name, image_size=64).eval()
    encoder.model.load_state_dict(reference.state_dict(), strict=False)
    images = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        blocks = reference.get_intermediate_layers(images, n=[2, 5, 8, 11], reshape=True)
        levels = encoder(images).levels
        torch.testing.assert_close(levels[2], normalised(blocks[2]))
        torch.testing.assert_close(levels[3], normalised(nn.functional.max_pool2d(blocks[3], 2)))
        torch.testing.assert_close(levels[1], normalised(encoder.pyramid.to_stride8(blocks[1])))


@pytest.mark.parametrize("name", ["test_efficientnet", "test_vit", "test_coatnet", "pvt_v2_b0"])
@pytest.mark.parametrize("size_hw", [(32, 32), (33, 70), (160, 64)])
def test_any_size(name, size_hw):
    encoder = TimmEncoder(model=name, image_size=64, in_channels=1).eval()
    with torch.no_grad():
        pyramid = encoder(torch.randn(1, 1, *size_hw))
    shapes = [tuple(level.shape[-2:]) for level in pyramid.levels]
    assert shapes == [cells(size_hw, stride) for stride in (4, 8, 16, 32)]


def test_models_of_one_size_see_larger_images_in_tiles():
    torch.manual_seed(0)
    encoder = TimmEncoder(model="test_coatnet", image_size=(64, 96)).eval()
    assert encoder.tiled
    images = torch.randn(2, 3, 128, 192)
    tile = images[:, :, 64:, :96]  # second row, first column
    with torch.no_grad():
        whole, part = encoder(images), encoder(tile)
        cut = encoder(images[:, :, :100, :96])
        padded = encoder(nn.functional.pad(images[:, :, 64:100, :96], (0, 0, 0, 28)))
    for level, expected, stride in zip(whole.levels, part.levels, whole.strides, strict=True):
        torch.testing.assert_close(level[:, :, 64 // stride :, : 96 // stride], expected)
    for level, expected, stride in zip(cut.levels, padded.levels, whole.strides, strict=True):
        rows = level.shape[-2] - 64 // stride
        torch.testing.assert_close(level[:, :, -rows:], expected[:, :, :rows])


@pytest.mark.parametrize("name", ["resnet18", "test_vit", "pvt_v2_b0"])
def test_models_of_any_size_are_not_tiled(name):
    assert not TimmEncoder(model=name, image_size=64).tiled


def test_layers_by_the_groups_of_timm():
    encoder = TimmEncoder(model="resnet18", image_size=64)
    assert encoder.num_layers == 8
    assert encoder.layer_of("model.conv1.weight") == encoder.layer_of("model.bn1.bias") == 0
    assert encoder.layer_of("model.layer1.0.conv2.weight") == 1
    assert encoder.layer_of("model.layer4.1.bn2.weight") == 8
    encoder = TimmEncoder(model="vit_tiny_patch16_224", image_size=64)
    assert encoder.num_layers == 12
    assert encoder.layer_of("model.pos_embed") == encoder.layer_of("model.cls_token") == 0
    assert encoder.layer_of("model.blocks.3.mlp.fc1.bias") == 4
    assert encoder.layer_of("pyramid.to_stride8.weight") == 13


def test_layers_by_levels_where_timm_has_no_groups():
    encoder = TimmEncoder(model="poolformer_s12", image_size=64)
    assert encoder.num_layers == 4
    assert encoder.layer_of("model.stem.conv.weight") == 0
    assert encoder.layer_of("model.stages.0.blocks.0.norm1.weight") == 1
    assert encoder.layer_of("model.stages.3.blocks.1.mlp.fc2.bias") == 4


@pytest.mark.parametrize("name", ["test_convnext", "test_vit"])
def test_activation_checkpointing_changes_no_number(name):
    torch.manual_seed(0)
    plain = TimmEncoder(model=name, image_size=64).train()
    saving = TimmEncoder(model=name, image_size=64, activation_checkpointing=True).train()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    for encoder in (plain, saving):
        sum(level.square().mean() for level in encoder(images).levels).backward()
    for (key, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=key)


def test_drop_path_reaches_the_blocks():
    encoder = TimmEncoder(model="test_vit", image_size=64, drop_path=0.3)
    rates = [block.drop_path1.drop_prob for block in list(encoder.model.blocks)[1:]]
    assert rates == pytest.approx([0.06, 0.12, 0.18, 0.24, 0.3])


@pytest.mark.parametrize("name", ["resnet18", "coat_lite_tiny"])
def test_construction_leaves_no_trace(name):
    torch.manual_seed(5)
    encoder = TimmEncoder(model=name, image_size=64)
    assert encoder.training
    after = torch.rand(1)
    torch.manual_seed(5)
    built = timm.create_model(name, **({"img_size": 64} if name.startswith("coat") else {}))
    assert torch.equal(after, torch.rand(1))
    expected = built.state_dict()
    for key, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, expected[key]), key


def test_modules_in_two_places_stay_one():
    encoder = TimmEncoder(model="coat_lite_tiny", image_size=64)
    model = encoder.model
    assert model.cpe1 is model.serial_blocks1[0].cpe is model.serial_blocks1[1].cpe
    sum(level.square().mean() for level in encoder(torch.randn(2, 3, 64, 64)).levels).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_unused_modules_are_dropped_and_lone_parameters_frozen():
    class Mixed(nn.Linear):
        def __init__(self):
            super().__init__(2, 2)
            self.lone = nn.Parameter(torch.zeros(1))

    model = nn.ModuleDict(
        {"body": nn.Sequential(Mixed(), nn.Linear(2, 2)), "head": nn.Linear(2, 1)}
    )
    drop_modules(model, {"head.weight", "head.bias", "body.0.lone", "body.1.weight"})
    assert isinstance(model["head"], nn.Identity)
    assert set(dict(model.named_parameters())) == {
        "body.0.weight",
        "body.0.bias",
        "body.0.lone",
        "body.1.weight",
        "body.1.bias",
    }
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {"body.0.lone", "body.1.weight"}


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("resnet81", {}, r"has no model 'resnet81'; near it: .*resnet18"),
        ("resnet18.nowhere", {}, r"cannot build resnet18.nowhere .*Invalid pretrained tag"),
        ("levit_128s", {}, r"strides 16, 32, 64, but the decoders need 4, 8, 16, 32: 4 is missing"),
        ("vit_small_patch14_dinov2", {}, r"12 maps, all of stride 14: .*only those of stride 16"),
        ("inception_v3", {}, r"cannot be an encoder for image_size 64×64 .*299×299"),
        ("efficientformer_l1", {}, r"cannot be an encoder for image_size 64×64 .*224×224"),
        ("vgg11", {"drop_path": 0.1}, r"vgg11 has no drop_path_rate; leave it at 0"),
        ("cs3darknet_s", {"activation_checkpointing": True}, r"cannot recompute its activations"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(name, options, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        TimmEncoder(model=name, image_size=64, **options)


def test_unknown_names_list_ours_and_the_nearest_of_timm():
    with pytest.raises(ValueError, match=r"known: vit_t_rvsa, .*near it: vit_b_rvsa"):
        create_encoder("vit_b_rsva", image_size=64)
    with pytest.raises(ValueError, match=r"near it: .*convnext_atto"):
        create_encoder("convnext_ato", image_size=64)


@pytest.mark.slow  # a second interpreter has to import torch
def test_importing_the_presets_does_not_import_timm():
    code = "import sys, geomtp.encoders.presets; print('timm' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_levels_are_normalised_over_channels_whatever_their_scale():
    level = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).view(1, 2, 1, 2) * 100
    expected = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(normalised(level), expected, rtol=0, atol=1e-4)
