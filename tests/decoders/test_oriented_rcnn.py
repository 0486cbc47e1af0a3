"""Oriented R-CNN against the reference, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.oriented_rcnn import OrientedRCNN
from geomtp.types import FeaturePyramid, Targets
from tests.decoders.detection.test_coders import assert_same_rboxes
from tests.decoders.partly_labelled import trained_losses
from tests.decoders.reference import (
    SIZES_HW,
    TAKE_ALL,
    gradient_norm,
    load_official,
    pyramid_of,
    targets_of,
)
from tests.golden_cases import GoldenCase

OFFICIAL_NAMES = {
    "proposal_score": "loss_rpn_cls",
    "proposal_box": "loss_rpn_bbox",
    "class": "loss_cls",
    "box": "loss_bbox",
}


def reference_decoder(case):
    decoder = OrientedRCNN(
        in_channels=(24,) * 4,
        num_classes={"sota": 18},
        channels=32,
        fc_channels=64,
        rpn_sampler=TAKE_ALL,
        roi_sampler=TAKE_ALL,
    )
    return load_official(decoder, case.weights())


@pytest.mark.parametrize(
    ("name", "tolerance"), [("oriented_rcnn_small", 1e-4), ("oriented_rcnn_small_saturated", 2e-3)]
)
def test_losses_and_gradients_equal_the_reference(name, tolerance):
    case = GoldenCase.read(name)
    decoder = reference_decoder(case).train()
    pyramid = pyramid_of(case)
    losses = decoder.loss(pyramid, targets_of(case), SIZES_HW, "sota")
    assert set(losses) == set(OFFICIAL_NAMES)
    for key, official in OFFICIAL_NAMES.items():
        want = case.scalar(official)
        assert float(losses[key].detach()) == pytest.approx(want, rel=tolerance), key
    if name.endswith("saturated"):
        return
    sum(losses.values()).backward()
    want = case.scalar("grad_norm_decoder")
    assert gradient_norm(decoder.trunk.parameters()) == pytest.approx(want, rel=1e-3)
    for index, level in enumerate(pyramid.levels):
        want = case.scalar(f"grad_norm_feat{index}")
        assert float(level.grad.norm()) == pytest.approx(want, rel=1e-3)
    for key, parameter in decoder.named_parameters():
        assert parameter.grad is not None, key


def test_proposals_equal_the_reference():
    case = GoldenCase.read("oriented_rcnn_small")
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        output = decoder.trunk.rpn_head(decoder.trunk.neck(pyramid_of(case)))
        proposals = decoder.trunk.rpn_head.propose(output, SIZES_HW, training=True)
    for index, boxes in enumerate(proposals):
        assert len(boxes) == case.scalar(f"img{index}/num_proposals")
        assert_same_rboxes(boxes[:100], case.tensor(f"img{index}/proposals"), 1e-3)


def test_predictions_equal_the_reference():
    case = GoldenCase.read("oriented_rcnn_small")
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        predictions = decoder.predict(pyramid_of(case), SIZES_HW, "sota")
    for index, found in enumerate(predictions):
        assert len(found.rboxes) == case.scalar(f"test/img{index}/num")
        want = case.scalar(f"test/img{index}/score_sum")
        assert float(found.rbox_scores.sum()) == pytest.approx(want, rel=1e-4)
        prefix = f"test/img{index}/"
        assert_same_rboxes(found.rboxes[:20], case.tensor(prefix + "boxes"), 1e-4)
        scores = case.tensor(prefix + "scores")
        torch.testing.assert_close(found.rbox_scores[:20], scores, rtol=0, atol=1e-4)
        assert found.rbox_labels[:20].equal(case.tensor(prefix + "labels"))


def small():
    torch.manual_seed(0)
    decoder = OrientedRCNN(
        in_channels=(8,) * 4, num_classes={"town": 2, "sea": 1}, channels=8, fc_channels=16
    )
    levels = tuple(torch.randn(2, 8, 16 >> i, 16 >> i) for i in range(4))
    return decoder, FeaturePyramid(levels, (4, 8, 16, 32))


LABELLED = Targets(
    rboxes=torch.tensor([[24.0, 24.0, 10.0, 30.0, 0.4]]), rbox_labels=torch.tensor([1])
)
EMPTY = Targets(rboxes=torch.zeros(0, 5), rbox_labels=torch.zeros(0, dtype=torch.long))


@pytest.mark.parametrize(
    "targets",
    [(LABELLED, EMPTY), (EMPTY, EMPTY), (LABELLED, Targets()), (Targets(), Targets())],
    ids=["objects", "empty", "one unlabelled", "all unlabelled"],
)
@pytest.mark.parametrize("size_hw", [(64, 64), (8, 8)], ids=["whole", "no anchor inside"])
def test_missing_labels_train_what_they_can(targets, size_hw):
    decoder, pyramid = small()
    trained_losses(decoder, pyramid, targets, size_hw)


@torch.no_grad()
def test_predictions_scale_to_the_size_asked_for():
    decoder, pyramid = small()
    decoder.score_threshold = 0.0
    plain = decoder.predict(pyramid, [(64, 64)] * 2, "town")
    larger = decoder.predict(pyramid, [(64, 64)] * 2, "town", [(128, 128)] * 2)
    torch.testing.assert_close(larger[1].rboxes[:, :4], plain[1].rboxes[:, :4] * 2)
    torch.testing.assert_close(larger[1].rboxes[:, 4], plain[1].rboxes[:, 4])


def test_a_second_look_is_a_first_look_at_the_boxes_found():
    case = GoldenCase.read("oriented_rcnn_small")
    decoder = reference_decoder(case).eval()
    decoder.score_threshold = 0.0
    with torch.no_grad():
        pyramid = decoder.trunk.neck(pyramid_of(case)).of_images(0, 1)
        proposals = torch.rand(20, 5, generator=torch.Generator().manual_seed(0)) * 20 + 20
        once, _ = decoder._looked_at(pyramid, proposals, SIZES_HW[0], "sota")
        want = decoder._predict_image(pyramid, once, SIZES_HW[0], "sota", SIZES_HW[0])
        decoder.looks = 2
        found = decoder._predict_image(pyramid, proposals, SIZES_HW[0], "sota", SIZES_HW[0])
    assert torch.equal(found.rboxes, want.rboxes)
    assert torch.equal(found.rbox_scores, want.rbox_scores)
    assert len(want.rboxes) > 0
    with pytest.raises(ValueError, match="looks must be at least 1, found 0"):
        OrientedRCNN(in_channels=(8,) * 4, num_classes={"sota": 1}, looks=0)
