"""Change between two dates against the reference, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.siamese_unet import SiameseUNet, difference
from geomtp.types import FeaturePyramid, Targets
from tests.golden_cases import GoldenCase


def build(case):
    config = case.info["config"]
    decoder = SiameseUNet(
        in_channels=tuple(config["encoder_channels"]),
        sources=["pair"],
        channels=tuple(config["decoder_channels"]),
        dropout=0.0,
    )
    weights = case.weights()
    keys = decoder.official_keys({"pair": 1})
    assert set(keys.values()) == set(case.info["keys"])
    ours = {ours: weights[theirs] for ours, theirs in keys.items() if theirs in weights}
    missing = decoder.load_state_dict(ours, strict=False).missing_keys
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return decoder


def pyramid_of(case):
    """Both dates one after the other."""
    levels = tuple(
        torch.cat([case.tensor(f"A{i}"), case.tensor(f"B{i}")]).requires_grad_() for i in range(4)
    )
    strides = (4, 8, 16, 32) if levels[0].shape[-1] == 32 else (16, 16, 16, 16)
    return FeaturePyramid(levels, strides)


@pytest.mark.parametrize("name", ["cd_unet_pyramid", "cd_unet_vit"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_it_equals_the_reference(name, mode):
    case = GoldenCase.read(name)
    decoder = build(case).train(mode == "train")
    pyramid = pyramid_of(case)
    case.compare(f"{mode}/logits", decoder.logits(pyramid, "pair"))
    decoder = build(case).train(mode == "train")
    labels = case.tensor("labels").to(torch.uint8)
    targets = [Targets(change=label) for label in labels]
    loss = decoder.loss(pyramid, targets, [tuple(labels.shape[-2:])] * 2, "pair")["pixel"]
    assert float(loss.detach()) == pytest.approx(case.scalar(f"{mode}/loss_ce"), rel=1e-5)
    loss.backward()
    for i, level in enumerate(pyramid.levels):
        before, after = level.grad.chunk(2)
        assert torch.equal(before, -after)
        want = case.scalar(f"{mode}/grad_norm_diff{i}")
        assert float(after.norm()) == pytest.approx(want, rel=1e-3), i
    norms = torch.stack([p.grad.norm() for p in decoder.parameters()])
    assert float(norms.norm()) == pytest.approx(case.scalar(f"{mode}/grad_norm_head"), rel=1e-3)


def small(batch=2, cells=8):
    torch.manual_seed(0)
    decoder = SiameseUNet(in_channels=(4, 5, 6, 7), sources=["a", "b"], channels=(8, 6, 4, 4))
    levels = tuple(torch.randn(2 * batch, 4 + i, cells >> i, cells >> i) for i in range(4))
    return decoder, FeaturePyramid(levels, (4, 8, 16, 32))


def test_difference_is_that_of_the_dates():
    pyramid = FeaturePyramid((torch.tensor([1.0, 5.0, 4.0, 2.0]).reshape(4, 1, 1, 1),), (4,))
    assert difference(pyramid).levels[0].flatten().tolist() == [3.0, 3.0]


def test_predictions_are_cut_to_the_image_and_resized_to_its_file():
    decoder, pyramid = small()
    found = decoder.eval().predict(pyramid, [(32, 20), (30, 32)], "a", [(32, 20), (60, 64)])
    assert [p.change_logits.shape for p in found] == [(2, 32, 20), (2, 60, 64)]
    assert set(found[0].change.unique().tolist()) <= {0, 1}
    whole = decoder.logits(pyramid, "a")
    assert torch.equal(found[0].change_logits, whole[0, :, :32, :20])


def test_ignored_pixels_and_images_without_labels_do_not_count():
    decoder, pyramid = small()
    decoder.eval()
    change = torch.full((32, 32), 255, dtype=torch.uint8)
    change[3, 4], change[9, 9] = 1, 0
    sizes = [(32, 32)] * 2
    loss = decoder.loss(pyramid, [Targets(change=change), Targets()], sizes, "b")["pixel"]
    logits = decoder.logits(pyramid, "b")[0].log_softmax(dim=0)
    by_hand = -(logits[1, 3, 4] + logits[0, 9, 9]) / (2 * 32 * 32)
    assert float(loss.detach()) == pytest.approx(float(by_hand), rel=1e-5)
    none = decoder.train().loss(pyramid, [Targets(), Targets()], sizes, "b")["pixel"]
    none.backward()
    assert float(none.detach()) == 0
    with pytest.raises(ValueError, match="no classifier for the source 'c'"):
        decoder.loss(pyramid, [Targets()] * 2, sizes, "c")
