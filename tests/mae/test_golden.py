"""The masked autoencoder against the numbers of facebookresearch/mae."""

import pytest
import torch

from geomtp.checkpoints import export_official, import_official
from geomtp.mae import MaskedAutoencoder, mask_by_noise, patchify, sin_cos_positions
from tests.golden_cases import GoldenCase

CASES = ["mae_tiny", "mae_tiny_norm_pix"]


def model_of(case):
    config = case.info["config"]
    return MaskedAutoencoder(
        image_size=config["img_size"],
        width=config["embed_dim"],
        depth=config["depth"],
        num_heads=config["num_heads"],
        decoder_width=config["decoder_embed_dim"],
        decoder_depth=config["decoder_depth"],
        decoder_heads=config["decoder_num_heads"],
        norm_pixels=config["norm_pix_loss"],
    )


@pytest.mark.parametrize("name", CASES)
def test_forward_loss_and_gradients_are_those_of_the_reference(name):
    case = GoldenCase.read(name)
    model = model_of(case)
    weights = case.weights()
    report = import_official(weights, model)
    assert (report.missing, report.unexpected, report.interpolated) == ((), (), ())
    assert not report.ignored
    images = case.tensor("x")
    masking = mask_by_noise(case.tensor("noise"), case.info["config"]["mask_ratio"])
    assert torch.equal(masking.hidden, case.tensor("mask"))
    assert torch.equal(masking.restore, case.tensor("ids_restore"))
    case.compare("target_patches", patchify(images), 1e-6)
    latent = model.encode(images, masking)
    case.compare("latent", latent)
    case.compare("pred", model.decode(latent, masking))
    loss = model.loss(images, masking)
    assert loss.item() == pytest.approx(case.scalar("loss"), rel=1e-5)
    loss.backward()
    gradients = {key: parameter.grad for key, parameter in model.named_parameters()}
    compared = [key for key in case.info["tensors"] if key.startswith("grad:")]
    assert len(compared) == 8
    for key in compared:
        case.compare_gradient(key, gradients[key.removeprefix("grad:")])
    norm = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert float(norm) == pytest.approx(case.scalar("grad_norm_all"), rel=1e-4)
    assert set(weights) - set(gradients) == set(case.info["params_without_grad"])


def test_fixed_positions_are_those_of_the_reference():
    case = GoldenCase.read("mae_tiny")
    case.compare("pos_embed_sincos", sin_cos_positions(48, (4, 4)), 1e-6)
    case.compare("decoder_pos_embed_sincos", sin_cos_positions(32, (4, 4)), 1e-6)
    model = model_of(case)
    assert torch.equal(model.pos_embed, sin_cos_positions(48, (4, 4)))
    assert torch.equal(model.decoder_pos_embed, sin_cos_positions(32, (4, 4)))


def test_official_weights_come_out_as_they_went_in():
    case = GoldenCase.read("mae_tiny")
    model, weights = model_of(case), case.weights()
    import_official(weights, model)
    exported = export_official(model)
    assert exported.keys() == weights.keys()
    for key, tensor in weights.items():
        assert torch.equal(tensor, exported[key]), key
