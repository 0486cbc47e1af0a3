"""The masked autoencoder: what it sees, what it learns, what it refuses."""

import pytest
import torch

from geomtp.mae import patchify
from geomtp.mae.files import MaeConfig
from geomtp.mae.presets import MAE_SIZES, create_mae
from tests.mae.tiny import masking_of, tiny_mae


def test_encoder_blocks_see_the_visible_patches_only():
    model = tiny_mae(64)
    seen = {"blocks": [], "decoder_blocks": []}
    for part, counts in seen.items():
        for block in model.get_submodule(part):
            block.register_forward_hook(lambda m, inputs, out, to=counts: to.append(inputs[0]))
    model(torch.randn(2, 3, 64, 64), masking_of(model, 2))
    assert [t.shape[1] * t.shape[2] for t in seen["blocks"]] == [1 + 4] * 3  # of 16 patches
    assert [t.shape[1] * t.shape[2] for t in seen["decoder_blocks"]] == [1 + 16] * 2


def test_hidden_pixels_reach_neither_encoder_nor_prediction():
    model = tiny_mae().eval()
    images, masking = torch.randn(2, 3, 48, 32), masking_of(model, 2, 0.5)
    hidden = masking.hidden.unflatten(1, (3, 2))
    hidden = hidden.repeat_interleave(16, 1).repeat_interleave(16, 2)[:, None].bool()
    other = torch.where(hidden, torch.randn_like(images), images)
    assert not torch.equal(images, other)
    assert torch.equal(model(images, masking), model(other, masking))
    changed = torch.where(hidden, images, torch.randn_like(images))
    assert not torch.allclose(model(images, masking), model(changed, masking))


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_the_loss_counts_hidden_patches_alone(norm_pixels):
    model = tiny_mae(norm_pixels=norm_pixels)
    images, masking = torch.randn(2, 3, 48, 32) * 3 + 1, masking_of(model, 2, 0.5)
    prediction = torch.randn(2, 6, 768)
    total, count = 0.0, 0
    for b in range(2):
        for i, patch in enumerate(patchify(images)[b]):
            if norm_pixels:
                patch = (patch - patch.mean()) / (patch.var() + 1e-6) ** 0.5
            if i not in masking.visible[b].tolist():
                total += float(((prediction[b, i] - patch) ** 2).mean())
                count += 1
    loss = model.loss_of(prediction, images, masking)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("in_channels", [1, 3, 4, 10])
def test_every_parameter_gets_a_gradient(in_channels, checkpointing):
    model = tiny_mae(in_channels=in_channels, activation_checkpointing=checkpointing).train()
    loss = model.loss(torch.randn(2, in_channels, 48, 32), masking_of(model, 2, 0.5))
    loss.backward()
    assert torch.isfinite(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_recomputed_blocks_give_the_same_gradients():
    images, gradients = torch.randn(2, 3, 48, 32), []
    for checkpointing in (False, True):
        model = tiny_mae(activation_checkpointing=checkpointing).train()
        model.loss(images, masking_of(model, 2)).backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_reconstructions_keep_what_is_visible(norm_pixels):
    model = tiny_mae(norm_pixels=norm_pixels).eval()
    images, masking = torch.randn(2, 3, 48, 32), masking_of(model, 2, 0.5)
    painted, prediction = model.reconstruct(images, masking), model(images, masking)
    before, after = patchify(images), patchify(painted)
    for b in range(2):
        for i in range(6):
            if masking.hidden[b, i] == 0:
                assert torch.equal(before[b, i], after[b, i])
            elif norm_pixels:
                expected = prediction[b, i] * before[b, i].std() + before[b, i].mean()
                torch.testing.assert_close(after[b, i], expected, atol=1e-4, rtol=1e-4)
            else:
                assert torch.equal(after[b, i], prediction[b, i])


@pytest.mark.parametrize("shape", [(4, 48, 32), (3, 48, 48), (3, 32, 32)])
def test_images_of_another_kind_are_refused(shape):
    model = tiny_mae()
    with pytest.raises(ValueError, match=r"takes images of \(3, 48, 32\) .*got \("):
        model(torch.randn(1, *shape), masking_of(model, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 50}, "image_size must be a multiple of 16 px .*found 50"),
        ({"width": 20, "num_heads": 3}, "width 20 must be a multiple of its 3 heads"),
        ({"decoder_width": 30, "decoder_heads": 4}, "decoder_width 30 must be a multiple of its 4"),
    ],
)
def test_settings_that_do_not_go_together(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_mae(**options)


def test_presets_have_the_sizes_of_the_paper():
    sizes = {}
    with torch.device("meta"):
        for name, size in MAE_SIZES.items():
            model = create_mae(name, image_size=224)
            sizes[name] = sum(t.numel() for t in model.state_dict().values()) / 1e6
            assert (size.width, size.depth) == (model.norm.weight.shape[0], len(model.blocks))
            assert MaeConfig.of_official(model.state_dict()).encoder == name
            assert model.blocks[0].attn.num_heads * 64 == model.norm.weight.shape[0]
    assert sizes["vit_b_rvsa"] == pytest.approx(111.9, abs=0.05)
    assert sizes["vit_l_rvsa"] == pytest.approx(329.5, abs=0.05)
    with pytest.raises(ValueError, match="'resnet18' is none of them"):
        create_mae("resnet18", image_size=224)
