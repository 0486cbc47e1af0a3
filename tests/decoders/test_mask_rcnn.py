"""Mask R-CNN against the reference, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.mask_rcnn import MaskRCNN
from geomtp.types import FeaturePyramid, Targets
from tests.decoders.partly_labelled import trained_losses
from tests.decoders.reference import (
    SIZES_HW,
    TAKE_ALL,
    compare_boxes,
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
    "mask": "loss_mask",
}


def reference_decoder(case, **options):
    decoder = MaskRCNN(
        in_channels=(24,) * 4,
        num_classes={"sota": 18},
        channels=32,
        fc_channels=64,
        rpn_sampler=TAKE_ALL,
        roi_sampler=TAKE_ALL,
        **options,
    )
    return load_official(decoder, case.weights())


@pytest.mark.parametrize(("prefix", "official_targets"), [("official", True), ("fixed", False)])
def test_losses_and_gradients_equal_the_reference(prefix, official_targets):
    case = GoldenCase.read("mask_rcnn_small")
    decoder = reference_decoder(case, reference_box_targets=official_targets).train()
    pyramid = pyramid_of(case)
    losses = decoder.loss(pyramid, targets_of(case), SIZES_HW, "sota")
    assert set(losses) == set(OFFICIAL_NAMES)
    for name, official in OFFICIAL_NAMES.items():
        want = case.scalar(f"{prefix}/{official}")
        assert float(losses[name].detach()) == pytest.approx(want, rel=1e-4), name
    sum(losses.values()).backward()
    trunk = gradient_norm(decoder.trunk.parameters())
    assert trunk == pytest.approx(case.scalar(f"{prefix}/grad_norm_decoder"), rel=1e-3)
    for index, level in enumerate(pyramid.levels):
        want = case.scalar(f"{prefix}/grad_norm_feat{index}")
        assert float(level.grad.norm()) == pytest.approx(want, rel=1e-3)
    regression = [decoder.classifiers["sota"].fc_reg.weight]
    want = case.scalar(f"{prefix}/grad_norm_fc_reg")
    assert gradient_norm(regression) == pytest.approx(want, rel=1e-3)
    for name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, name


def test_proposals_and_levels_equal_the_reference():
    case = GoldenCase.read("mask_rcnn_small")
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        pyramid = decoder.trunk.neck(pyramid_of(case))
        output = decoder.trunk.rpn_head(pyramid)
        proposals = decoder.trunk.rpn_head.propose(output, SIZES_HW, training=True)
    for index, level in enumerate(pyramid.levels):
        case.compare(f"fpn{index}", level)
        case.compare(f"anchors{index}", output.anchors[index], 1e-6)
        cells = level.shape[-2:]
        scores = output.scores[index].view(2, *cells, 3).permute(0, 3, 1, 2)
        case.compare(f"rpn_cls{index}", scores)
        deltas = output.deltas[index].reshape(2, *cells, 12).permute(0, 3, 1, 2)
        case.compare(f"rpn_reg{index}", deltas)
    for index, boxes in enumerate(proposals):
        assert len(boxes) == case.scalar(f"img{index}/num_proposals")
        torch.testing.assert_close(
            boxes[:100], case.tensor(f"img{index}/proposals"), rtol=0, atol=1e-2
        )
        want = case.scalar(f"img{index}/proposal_box_sum")
        assert float(boxes.double().sum()) == pytest.approx(want, rel=1e-4)


def test_predictions_equal_the_reference():
    case = GoldenCase.read("mask_rcnn_small")
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        predictions = decoder.predict(pyramid_of(case), SIZES_HW, "sota")
    compare_boxes(case, predictions)
    for index, found in enumerate(predictions):
        assert found.masks.shape[1:] == SIZES_HW[index]
        areas = found.masks[:20].sum(dim=(1, 2)) - case.tensor(f"test/img{index}/mask_areas")
        assert areas.abs().max() <= 2


def small():
    torch.manual_seed(0)
    decoder = MaskRCNN(
        in_channels=(8,) * 4, num_classes={"town": 2, "sea": 1}, channels=8, fc_channels=16
    )
    levels = tuple(torch.randn(2, 8, 16 >> i, 16 >> i) for i in range(4))
    return decoder, FeaturePyramid(levels, (4, 8, 16, 32))


def labelled(masks=True):
    return Targets(
        boxes=torch.tensor([[4.0, 4.0, 40.0, 36.0]]),
        box_labels=torch.tensor([1]),
        masks=torch.ones(1, 64, 64, dtype=torch.bool) if masks else None,
    )


EMPTY = Targets(
    boxes=torch.zeros(0, 4),
    box_labels=torch.zeros(0, dtype=torch.long),
    masks=torch.zeros(0, 64, 64, dtype=torch.bool),
)


@pytest.mark.parametrize(
    "targets",
    [
        (labelled(), EMPTY),
        (EMPTY, EMPTY),
        (labelled(), Targets()),
        (Targets(), Targets()),
        (labelled(masks=False), EMPTY),
    ],
    ids=["objects", "empty", "one unlabelled", "all unlabelled", "boxes without masks"],
)
def test_missing_labels_train_what_they_can(targets):
    decoder, pyramid = small()
    losses = trained_losses(decoder, pyramid, targets)
    if targets[0].masks is None:
        assert float(losses["mask"].detach()) == 0


def test_predictions_scale_to_the_size_asked_for():
    decoder, pyramid = small()
    decoder.score_threshold = 0.0
    plain = decoder.predict(pyramid, [(64, 64)] * 2, "town")
    larger = decoder.predict(pyramid, [(64, 64)] * 2, "town", [(128, 96)] * 2)
    factors = torch.tensor([1.5, 2.0, 1.5, 2.0])
    torch.testing.assert_close(larger[0].boxes, plain[0].boxes * factors)
    assert larger[0].masks.shape == (len(plain[0].boxes), 128, 96)
