"""Models of timm as encoders: levels, gradients, layers, sizes that models refuse."""

import re
import subprocess
import sys

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn

from geomtp.encoders.presets import create_encoder
from geomtp.encoders.timm_encoder import TimmEncoder, normalised
from geomtp.encoders.timm_levels import LevelsOfMaps, plan_levels
from geomtp.encoders.timm_models import drop_modules, recompute_activations
from geomtp.training.optimiser import parameter_groups

FAMILIES = [
    "resnet18",
    "convnext_atto",
    "test_convnext3",
    "test_vit",
    "vit_tiny_patch16_224",
    "test_vit3",  # a register, no class token
    "levit_128s",  # strides 16, 32, 64
    "pvt_v2_b0",
    "test_efficientnet",
    "mobilenetv3_small_050",
    "regnetx_002",
    "edgenext_xx_small",
    "test_coatnet",
    "test_maxvit",
    "test_nfnet",
    "test_mambaout",
    "test_vit_relpos",
    *(
        pytest.param(name, marks=pytest.mark.slow)
        for name in (
            "swin_tiny_patch4_window7_224",
            "swinv2_tiny_window8_256",
            "swinv2_cr_tiny_224",
            "tf_efficientnet_lite0",
            "deit_tiny_distilled_patch16_224",
            "vit_small_patch16_dinov3",  # registers, rotary positions
            "xcit_nano_12_p8_224",  # patches of 8 px
            "vit_small_patch14_reg4_dinov2",
            "eva02_tiny_patch14_224",
            "deit3_small_patch16_224",
            "beit_base_patch16_224",
            "cait_xxs24_224",
            "vit_small_patch32_224",
            "vit_tiny_r_s16_p8_224",
            "twins_svt_small",
            "maxvit_rmlp_pico_rw_256",
            "coatnet_nano_rw_224",
            "hrnet_w18_small",
            "poolformerv2_s12",
            "davit_tiny",
            "hiera_tiny_224",
            "sam2_hiera_tiny",
            "densenet121",
            "mobilevit_xxs",
            "mobilenetv4_conv_small_050",
            "efficientformerv2_s0",
            "efficientvit_b0",
            "efficientvit_m0",
            "fastvit_t8",
            "focalnet_tiny_srf",
            "inception_next_atto",
            "repvit_m0_9",
            "visformer_tiny",
            "volo_d1_224",
            "repvgg_a0",
            "mobileone_s0",
            "gcvit_xxtiny",
            "tiny_vit_5m_224",
            "samvit_base_patch16",
        )
    ),
]


LISTED_OUT_OF_ORDER = ("twins_svt_small", "visformer_tiny")
"""Models whose later layers come first among their parameters."""


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
    if name not in LISTED_OUT_OF_ORDER:
        assert layers == sorted(layers)
    assert max(layers) == encoder.num_layers >= 3
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


def test_patches_of_14_px_see_the_image_at_14_sixteenths():
    torch.manual_seed(0)
    name = "eva02_tiny_patch14_224"
    with torch.device("meta"):
        large = TimmEncoder(model=name, image_size=224)
    assert large.get_parameter("model.pos_embed").shape[1] == 1 + 14 * 14  # of 196 px
    encoder = TimmEncoder(model=name, image_size=64).eval()
    assert encoder.plan.strides == (16,) * 4
    images = torch.randn(1, 3, 64, 96)
    small = nn.functional.interpolate(images, (56, 84), mode="bilinear", antialias=True)
    with torch.no_grad():
        blocks = encoder.model.forward_intermediates(
            small, indices=[2, 5, 8, 11], intermediates_only=True
        )
        levels = encoder(images).levels
    assert blocks[2].shape[-2:] == (4, 6)
    torch.testing.assert_close(levels[2], normalised(blocks[2]))


def test_the_last_block_alone_as_in_vitdet():
    torch.manual_seed(0)
    encoder = TimmEncoder(model="test_vit", image_size=64, out_blocks=(5, 5, 5, 5)).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        (last,) = encoder.model.get_intermediate_layers(images, n=[5], reshape=True)
        levels = encoder(images).levels
        torch.testing.assert_close(levels[2], normalised(last))
        torch.testing.assert_close(levels[0], normalised(encoder.pyramid.to_stride4(last)))


def test_the_pyramid_of_plain_transformers_keeps_its_names():
    """Runs of earlier versions hold these names."""
    encoder = TimmEncoder(model="test_vit", image_size=64)
    names = [key for key in encoder.state_dict() if key.startswith("pyramid.")]
    assert names == [
        *(f"pyramid.to_stride4.{i}.{kind}" for i in (0, 1, 3) for kind in ("weight", "bias")),
        "pyramid.to_stride8.weight",
        "pyramid.to_stride8.bias",
    ]


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


def test_windows_that_must_divide_the_image_see_it_whole():
    torch.manual_seed(0)
    encoder = TimmEncoder(model="test_maxvit", image_size=(64, 96)).eval()
    assert not encoder.tiled
    assert encoder.multiple_hw == (64, 96)
    images = torch.randn(1, 3, 100, 180)
    padded = nn.functional.pad(images, (0, 12, 0, 28))
    with torch.no_grad():
        expected = encoder.model.forward_intermediates(padded, intermediates_only=True)[1:]
        levels = encoder(images).levels
    for level, whole, stride in zip(levels, expected, encoder.strides, strict=True):
        rows, columns = cells((100, 180), stride)
        torch.testing.assert_close(level, normalised(whole[:, :, :rows, :columns]))


def test_images_lie_in_memory_as_is_safe():
    with torch.device("meta"):
        for name, expected in [
            ("test_convnext", torch.channels_last),
            ("repvgg_a0", torch.contiguous_format),
        ]:
            assert TimmEncoder(model=name, image_size=64).memory_format == expected, name


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


@pytest.mark.parametrize("name", ["edgenext_xx_small", "test_vit", "swin_tiny_patch4_window7_224"])
def test_layers_and_decay_are_those_of_timm(name):
    with torch.device("meta"):
        encoder = TimmEncoder(model=name, image_size=64)
    model = encoder.model
    spared = set(getattr(model, "no_weight_decay", set)())
    reference = param_groups_layer_decay(
        model, weight_decay=0.05, no_weight_decay_list=spared, layer_decay=0.5
    )
    theirs = {id(p): (g["lr_scale"], g["weight_decay"]) for g in reference for p in g["params"]}
    groups = parameter_groups(
        encoder, encoder, learning_rate=1.0, weight_decay=0.05, layer_decay=0.5
    )
    ours = {id(p): (g["lr"] * 2, g["weight_decay"]) for g in groups for p in g["params"]}
    assert len({scale for scale, _ in theirs.values()}) == encoder.num_layers + 1
    for key, parameter in model.named_parameters():
        # one layer more here: the pyramid and the decoders learn at the full rate
        assert ours[id(parameter)] == theirs[id(parameter)], key


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
        ("crossvit_tiny_240", {}, r"feature maps have strides 12, .*17, which do not double"),
        ("resnet18", {"out_blocks": (1, 1, 1, 1)}, r"name nothing: it has levels of its own"),
        ("test_vit", {"out_blocks": (0, 2, 4, 6)}, r"name 4 of the blocks 0…5; found \(0, 2, 4, 6"),
        ("nest_tiny", {"image_size": (64, 96)}, r"cannot build nest_tiny .*only handles square"),
        ("inception_v3", {}, r"cannot be an encoder for image_size 64×64 .*299×299"),
        ("pit_xs_224", {}, r"\(its maps are .*\); take another model"),
        ("efficientformer_l1", {}, r"cannot be an encoder for image_size 64×64 .*224×224"),
        ("vgg11", {"drop_path": 0.1}, r"vgg11 has no drop_path_rate; leave it at 0"),
        ("cs3darknet_s", {"activation_checkpointing": True}, r"cannot recompute its activations"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(name, options, message):
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        TimmEncoder(model=name, **{"image_size": 64} | options)


def test_unknown_names_list_ours_and_the_nearest_of_timm():
    with pytest.raises(ValueError, match=r"known: vit_t_rvsa, .*near it: vit_b_rvsa"):
        create_encoder("vit_b_rsva", image_size=64)
    with pytest.raises(ValueError, match=r"near it: .*convnext_atto"):
        create_encoder("convnext_ato", image_size=64)
    with pytest.raises(ValueError, match=r"near it: swin_tiny_patch4_window7_224"):
        create_encoder("swin_tiny", image_size=64)


@pytest.mark.slow  # a second interpreter has to import torch
def test_importing_the_presets_does_not_import_timm():
    code = "import sys, geomtp.encoders.presets; print('timm' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_levels_are_normalised_over_channels_whatever_their_scale():
    level = torch.tensor([[1.0, 5.0], [3.0, 5.0]]).view(1, 2, 1, 2) * 100
    expected = torch.tensor([[-1.0, 0.0], [1.0, 0.0]]).view(1, 2, 1, 2)
    torch.testing.assert_close(normalised(level), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "reductions, indices, strides, scale",
    [
        ([2, 4, 8, 16, 32], (1, 2, 3, 4), (4, 8, 16, 32), 1),
        ([4, 8, 16, 16, 32], (0, 1, 3, 4), (4, 8, 16, 32), 1),
        ([16] * 12, (2, 5, 8, 11), (16,) * 4, 1),
        ([14] * 24, (5, 11, 17, 23), (16,) * 4, 7 / 8),
        ([8] * 3, (0, 0, 1, 2), (8,) * 4, 1),
        ([16, 32, 64], (0, 0, 0, 1), (16, 16, 16, 32), 1),
        ([4, 8, 16], (0, 1, 2, 2), (4, 8, 16, 16), 1),
        ([7, 14, 14, 14], (0, 0, 3, 3), (8, 8, 16, 16), 7 / 8),
    ],
)
def test_which_maps_make_the_levels(reductions, indices, strides, scale):
    plan = plan_levels("a model", reductions)
    assert (plan.indices, plan.strides, plan.scale) == (indices, strides, scale)
    assert plan.plain == (len(set(reductions)) == 1)


def test_maps_are_brought_to_the_strides_of_the_levels():
    levels = LevelsOfMaps((4, 4, 6, 6), (32, 8, 8, 8))
    maps = [torch.rand(1, 4, 2, 3), torch.rand(1, 4, 8, 12), *[torch.rand(1, 6, 8, 12)] * 2]
    found = levels(maps)
    assert [tuple(level.shape[1:]) for level in found] == [
        (4, 16, 24),
        (4, 8, 12),
        (6, 4, 6),
        (6, 2, 3),
    ]
    assert torch.equal(found[1], maps[1])
    assert torch.equal(found[3], nn.functional.max_pool2d(maps[3], 4))


def test_a_recomputed_batch_counts_once():
    class Blocks(nn.Sequential):
        def set_grad_checkpointing(self, enable):
            self.recomputed = enable

        def forward(self, maps):
            for block in self:
                maps = torch.utils.checkpoint.checkpoint(block, maps, use_reentrant=False)
            return maps

    norm = nn.BatchNorm2d(1, momentum=0.5)
    model = Blocks(norm)
    recompute_activations("blocks", model)
    assert model.recomputed
    maps = torch.tensor([1.0, 3.0]).view(2, 1, 1, 1).requires_grad_()
    model(maps).square().sum().backward()
    assert float(norm.running_mean) == 1.0  # half of the mean, 2
    assert int(norm.num_batches_tracked) == 1
    assert norm.momentum == 0.5
