"""Faster R-CNN against the reference, beside Mask R-CNN, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.faster_rcnn import FasterRCNN
from geomtp.decoders.mask_rcnn import MaskRCNN
from geomtp.types import FeaturePyramid, Targets
from tests.decoders.partly_labelled import HOUSE, NO_HOUSE, trained_losses
from tests.decoders.reference import (
    TAKE_ALL,
    compare_boxes,
    gradient_norm,
    load_official,
    pyramid_of,
    targets_of,
)
from tests.golden_cases import GoldenCase

SIZES_HW = ((128, 128), (128, 112))
OFFICIAL_NAMES = {
    "proposal_score": "loss_rpn_cls",
    "proposal_box": "loss_rpn_bbox",
    "class": "loss_cls",
    "box": "loss_bbox",
}


@pytest.fixture(scope="module")
def case():
    return GoldenCase.read("faster_rcnn_dior_small")


def reference_decoder(case):
    decoder = FasterRCNN(
        in_channels=(24,) * 4,
        num_classes={"dior": 20},
        channels=32,
        fc_channels=64,
        rpn_sampler=TAKE_ALL,
        roi_sampler=TAKE_ALL,
    )
    return load_official(decoder, case.weights())


def test_losses_and_gradients_equal_the_reference(case):
    decoder = reference_decoder(case).train()
    pyramid = pyramid_of(case)
    losses = decoder.loss(pyramid, targets_of(case), SIZES_HW, "dior")
    assert set(losses) == set(OFFICIAL_NAMES)
    for name, official in OFFICIAL_NAMES.items():
        want = case.scalar(official)
        assert float(losses[name].detach()) == pytest.approx(want, rel=1e-4), name
    sum(losses.values()).backward()
    norm = gradient_norm(decoder.parameters())
    assert norm == pytest.approx(case.scalar("grad_norm_all"), rel=1e-3)
    for index, level in enumerate(pyramid.levels):
        want = case.scalar(f"grad_norm_feat{index}")
        assert float(level.grad.norm()) == pytest.approx(want, rel=1e-3)


def test_proposals_equal_the_reference(case):
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        output = decoder.trunk.rpn_head(decoder.trunk.neck(pyramid_of(case)))
        proposals = decoder.trunk.rpn_head.propose(output, SIZES_HW, training=True)
    counts = [case.scalar(f"img{index}/num_proposals") for index in range(2)]
    assert [len(boxes) for boxes in proposals] == counts
    objects = sum(len(target.boxes) for target in targets_of(case))
    assert sum(counts) + objects == case.scalar("num_rois")


def test_predictions_equal_the_reference(case):
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        found = decoder.predict(pyramid_of(case), SIZES_HW, "dior")
    compare_boxes(case, found)


def small(kind=FasterRCNN):
    torch.manual_seed(0)
    decoder = kind(
        in_channels=(8,) * 4, num_classes={"town": 2, "sea": 1}, channels=8, fc_channels=16
    )
    levels = tuple(torch.randn(2, 8, 16 >> i, 16 >> i) for i in range(4))
    return decoder, FeaturePyramid(levels, (4, 8, 16, 32))


@pytest.mark.parametrize(
    "targets",
    [(HOUSE, NO_HOUSE), (NO_HOUSE, NO_HOUSE), (HOUSE, Targets()), (Targets(), Targets())],
    ids=["objects", "empty", "one unlabelled", "all unlabelled"],
)
def test_missing_labels_train_what_they_can(targets):
    decoder, pyramid = small()
    trained_losses(decoder, pyramid, targets)


def test_with_the_weights_of_mask_rcnn_it_finds_the_same_boxes():
    masks, pyramid = small(MaskRCNN)
    decoder, _ = small()
    left = decoder.load_state_dict(masks.state_dict(), strict=False)
    assert left.missing_keys == []
    assert {key.split(".")[-2] for key in left.unexpected_keys} >= {"conv_logits", "upsample"}
    decoder.score_threshold = masks.score_threshold = 0.1
    sizes = [(64, 64)] * 2
    output_sizes = [(128, 96)] * 2
    with torch.no_grad():
        mine = decoder.predict(pyramid, sizes, "town", output_sizes)
        theirs = masks.predict(pyramid, sizes, "town", output_sizes)
    for a, b in zip(mine, theirs, strict=True):
        assert len(a.boxes) > 10
        assert a.masks is None
        torch.testing.assert_close(a.boxes, b.boxes)
        torch.testing.assert_close(a.box_scores, b.box_scores)


def test_it_starts_as_the_reference():
    decoder = FasterRCNN(in_channels=(32,) * 4, num_classes={"town": 9}, channels=64)
    head, classifier = decoder.trunk.rpn_head, decoder.classifiers["town"]
    layers = (head.rpn_conv, head.rpn_cls, head.rpn_reg, classifier.fc_cls, classifier.fc_reg)
    for layer, std in zip(layers, (0.01, 0.01, 0.01, 0.01, 0.001), strict=True):
        assert float(layer.weight.detach().std()) == pytest.approx(std, rel=0.2)
        assert float(layer.bias.detach().abs().max()) == 0
    largest = float(decoder.trunk.box_head.shared_fcs[0].weight.detach().abs().max())
    assert largest == pytest.approx((6 / (64 * 49 + 1024)) ** 0.5, rel=1e-3)  # Xavier, uniform
