"""UperNet against the reference, and where labels or values are few."""

import pytest
import torch

from geomtp.decoders.upernet import BatchNorm, UperNet
from geomtp.types import FeaturePyramid, Targets
from tests.golden_cases import GoldenCase


def build(case, source="sota"):
    config = case.info["config"]
    decoder = UperNet(
        in_channels=tuple(config["in_channels"]),
        num_classes={source: config["num_classes"] - 1},
        channels=config["channels"],
        dropout=0.0,
    )
    official = decoder.official_keys({source: 1})
    weights = case.weights()
    if "decode_head.conv_seg.weight" in weights:  # the 512 case is a fine-tuning head
        official = decoder.fine_tuned_keys()
    ours = {ours: weights[theirs] for ours, theirs in official.items() if theirs in weights}
    assert len(ours) == len(weights)
    missing = decoder.load_state_dict(ours, strict=False).missing_keys
    assert all("num_batches" in key or "trunk.conv_seg" in key for key in missing)
    return decoder


def pyramid_of(case):
    levels = tuple(case.tensor(f"feat{i}").requires_grad_() for i in range(4))
    return FeaturePyramid(levels, (4, 8, 16, 32))


@pytest.mark.parametrize("name", ["uperhead_small", "uperhead_256", "uperhead_512"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_upernet_equals_the_reference(name, mode):
    case = GoldenCase.read(name)
    decoder = build(case).train(mode == "train")
    pyramid = pyramid_of(case)
    labels = case.tensor("labels").to(torch.uint8)
    targets = [Targets(semantic=label) for label in labels]
    loss = decoder.loss(pyramid, targets, [labels.shape[-2:]] * 2, "sota")["pixel"]
    assert float(loss.detach()) == pytest.approx(case.scalar(f"{mode}/loss_ce"), rel=1e-5)
    loss.backward()
    for index, level in enumerate(pyramid.levels):
        case.compare_gradient(f"{mode}/grad_feat{index}", level.grad)
    for key, buffer in decoder.trunk.named_buffers():
        golden = f"{mode}/{key}_after".replace("psp_modules.3.", "psp_modules.3.1.")
        if golden in case.info["tensors"]:
            torch.testing.assert_close(buffer, case.tensor(golden), rtol=1e-4, atol=1e-5)

    fresh = build(case).train(mode == "train")
    with torch.no_grad():
        fused = fresh.trunk(pyramid)
        case.compare(f"{mode}/fused", fused)
        case.compare(f"{mode}/logits", fresh.classifiers["sota"](fused))
        small = {"uperhead_small": 64, "uperhead_256": 32, "uperhead_512": 16}[name]
        assert small < labels.shape[-1]
        squeezed = [Targets(semantic=label[:small, :small]) for label in labels]
        again = build(case).train(mode == "train")
        loss = again.loss(pyramid, squeezed, [(small, small)] * 2, "sota")["pixel"]
    assert float(loss) == pytest.approx(case.scalar(f"{mode}/small_labels/loss_ce"), rel=1e-5)


def small_decoder():
    torch.manual_seed(0)
    return UperNet(in_channels=(8, 8, 8, 8), num_classes={"town": 3, "field": 2}, channels=8)


def small_pyramid(batch=1, cells=8):
    levels = tuple(torch.randn(batch, 8, cells >> i, cells >> i) for i in range(4))
    return FeaturePyramid(levels, (4, 8, 16, 32))


def test_one_image_trains_where_the_pooled_cell_is_a_single_value():
    decoder = small_decoder().train()
    labels = torch.randint(0, 4, (32, 32), dtype=torch.uint8)
    loss = decoder.loss(small_pyramid(), [Targets(semantic=labels)], [(32, 32)], "town")["pixel"]
    loss.backward()
    assert loss.isfinite()
    for name, parameter in decoder.named_parameters():
        assert ("field" in name) == (parameter.grad is None), name


def test_single_values_are_normalised_by_running_statistics():
    norm = BatchNorm(2).train()
    norm.running_mean.copy_(torch.tensor([1.0, 2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    out = norm(torch.tensor([3.0, 8.0]).view(1, 2, 1, 1))
    torch.testing.assert_close(out.flatten(), torch.tensor([1.0, 2.0]), rtol=1e-4, atol=1e-4)
    assert norm.num_batches_tracked == 0


def test_images_without_labels_add_nothing():
    decoder = small_decoder().eval()
    pyramid = small_pyramid(batch=2)
    labels = torch.randint(0, 4, (32, 32), dtype=torch.uint8)
    both = [Targets(semantic=labels), Targets()]
    half = decoder.loss(pyramid, both, [(32, 32)] * 2, "town")["pixel"]
    alone = decoder.loss(pyramid.of_images(0, 1), both[:1], [(32, 32)], "town")["pixel"]
    torch.testing.assert_close(half, alone / 2)
    nothing = decoder.loss(pyramid, [Targets(), Targets()], [(32, 32)] * 2, "town")["pixel"]
    assert float(nothing) == 0
    nothing.backward()
    assert float(decoder.classifiers["town"].weight.grad.abs().sum()) == 0


def test_predictions_have_the_size_of_the_image_or_the_one_asked_for():
    decoder = small_decoder().eval()
    predictions = decoder.predict(small_pyramid(2), [(32, 32), (20, 28)], "town")
    assert [p.semantic.shape for p in predictions] == [(32, 32), (20, 28)]
    larger = decoder.predict(small_pyramid(2), [(32, 32), (20, 28)], "town", [(64, 64), (40, 56)])
    assert [p.semantic_logits.shape for p in larger] == [(4, 64, 64), (4, 40, 56)]


def test_an_unknown_source_is_named():
    with pytest.raises(ValueError, match=r"no classifier for the source 'sea'.*town, field"):
        small_decoder().predict(small_pyramid(), [(32, 32)], "sea")
