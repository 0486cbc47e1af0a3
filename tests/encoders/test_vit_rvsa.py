"""ViT + RVSA against the reference, and at sizes that the reference cannot take."""

import pytest
import torch

from geomtp.encoders.presets import vit_b_rvsa, vit_l_rvsa
from geomtp.encoders.vit_rvsa import ViTRVSA
from tests.golden_cases import GoldenCase


def tiny(image_size, **options):
    return ViTRVSA(
        image_size=image_size,
        width=64,
        depth=6,
        num_heads=4,
        global_every=3,
        out_blocks=(1, 2, 3, 5),
        **options,
    )


def load(encoder, weights):
    ours = {official: key for key, official in encoder.official_keys().items()}
    result = encoder.load_state_dict({ours[k]: v for k, v in weights.items()}, strict=False)
    assert not result.unexpected_keys
    assert all(key.endswith("relative_position_index") for key in result.missing_keys)


@pytest.mark.parametrize(("cells", "image_size"), [(7, 112), (8, 128), (14, 224)])
def test_tiny_backbone_and_gradients_equal_the_reference(cells, image_size):
    case = GoldenCase.read(f"vit_rvsa_tiny_{cells}x{cells}")
    encoder = tiny(image_size)
    load(encoder, case.weights())
    x = case.tensor("x").requires_grad_()
    pyramid = encoder(x)
    for index, level in enumerate(pyramid.levels):
        case.compare(f"out{index}", level)
    loss = sum(level.square().sum() for level in pyramid.levels)
    assert float(loss) == pytest.approx(case.scalar("loss_sum_of_squares"), rel=1e-4)
    loss.backward()
    case.compare_gradient("grad:x", x.grad)
    compared = 0
    for key, official in encoder.official_keys().items():
        if f"grad:{official}" in case.info["tensors"]:
            case.compare_gradient(f"grad:{official}", encoder.get_parameter(key).grad)
            compared += 1
    assert compared >= 12


@pytest.mark.parametrize(
    ("name", "build"),
    [
        ("vit_b_rvsa_224", vit_b_rvsa),
        pytest.param("vit_l_rvsa_224", vit_l_rvsa, marks=pytest.mark.slow),
    ],
)
def test_full_size_encoders_equal_the_reference(name, build):
    case = GoldenCase.read(name)
    encoder = build(image_size=224).eval()
    assert set(encoder.official_keys().values()) == set(case.info["keys"])
    load(encoder, case.weights())
    with torch.no_grad():
        pyramid = encoder(case.tensor("x"))
    for index, level in enumerate(pyramid.levels):
        case.compare(f"out{index}", level)


@pytest.mark.parametrize("size_hw", [(32, 32), (48, 96), (100, 75), (160, 64)])
@pytest.mark.parametrize("in_channels", [1, 4])
def test_any_size_and_channel_count(size_hw, in_channels):
    encoder = tiny(128, in_channels=in_channels)
    images = torch.randn(2, in_channels, *size_hw, requires_grad=True)
    pyramid = encoder(images)
    rows, columns = -(-size_hw[0] // 16), -(-size_hw[1] // 16)
    assert pyramid.strides == (4, 8, 16, 32)
    shapes = [tuple(level.shape[-2:]) for level in pyramid.levels]
    assert shapes[:3] == [(4 * rows, 4 * columns), (2 * rows, 2 * columns), (rows, columns)]
    assert all(level.isfinite().all() for level in pyramid.levels)
    sum(level.square().mean() for level in pyramid.levels).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_non_square_tables_follow_height_and_width():
    encoder = tiny((64, 128))
    attention = encoder.blocks[2].attn
    assert attention.full_attn_rel_pos_h.shape == (7, 16)
    assert attention.full_attn_rel_pos_w.shape == (15, 16)
    assert encoder.pos_embed.shape == (1, 32, 64)


def test_raw_maps_have_stride_16():
    encoder = tiny(64, pyramid=False)
    pyramid = encoder(torch.randn(1, 3, 64, 96))
    assert [tuple(level.shape) for level in pyramid.levels] == [(1, 64, 4, 6)] * 4
    assert pyramid.strides == (16, 16, 16, 16)
    assert not any(key.startswith("fpn") for key in encoder.official_keys().values())


def test_activation_checkpointing_changes_no_number():
    torch.manual_seed(0)
    plain = tiny(64).train()
    saving = tiny(64, activation_checkpointing=True).train()
    saving.load_state_dict(plain.state_dict())
    images = torch.randn(1, 3, 64, 64)
    for encoder in (plain, saving):
        sum(level.square().mean() for level in encoder(images).levels).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_layers_for_decay():
    encoder = tiny(64)
    assert encoder.layer_of("pos_embed") == 0
    assert encoder.layer_of("patch_embed.proj.weight") == 0
    assert encoder.layer_of("blocks.3.mlp.fc1.bias") == 4
    assert encoder.layer_of("pyramid.to_stride8.weight") == 7


def test_unknown_blocks_are_refused():
    with pytest.raises(ValueError, match="out_blocks must name 4 of the blocks 0…5"):
        ViTRVSA(
            image_size=64, width=64, depth=6, num_heads=4, global_every=3, out_blocks=(1, 2, 3, 6)
        )
