"""RetinaNet against the reference, by hand, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.detection.assignment import assign, box_overlaps
from geomtp.decoders.retinanet import LEAST_OVERLAP, RetinaNet
from geomtp.types import FeaturePyramid, Targets
from tests.decoders.partly_labelled import HOUSE, NO_HOUSE, trained_losses
from tests.decoders.reference import (
    compare_boxes,
    gradient_norm,
    load_official,
    pyramid_of,
    targets_of,
)
from tests.golden_cases import GoldenCase

SIZES_HW = ((128, 128), (128, 112))


@pytest.fixture(scope="module")
def case():
    return GoldenCase.read("retinanet_xview_small")


def reference_decoder(case):
    weights = case.weights()
    weights["bbox_head.retina_cls.bias"] -= 2.5  # as config.note of the case says
    weights["bbox_head.retina_reg.weight"] *= 0.3
    decoder = RetinaNet(in_channels=(24,) * 4, num_classes={"xview": 60}, channels=32)
    return load_official(decoder, weights)


def test_losses_and_gradients_equal_the_reference(case):
    decoder = reference_decoder(case)
    pyramid = pyramid_of(case)
    losses = decoder.loss(pyramid, targets_of(case), SIZES_HW, "xview")
    assert float(losses["class"].detach()) == pytest.approx(case.scalar("loss_cls"), rel=1e-4)
    assert float(losses["box"].detach()) == pytest.approx(case.scalar("loss_bbox"), rel=1e-4)
    sum(losses.values()).backward()
    norm = gradient_norm(decoder.parameters())
    assert norm == pytest.approx(case.scalar("grad_norm_all"), rel=1e-3)
    assert pyramid.levels[0].grad is None  # begins at 1/8
    assert all(p.grad is not None for p in decoder.parameters())


def test_what_is_said_of_the_anchors_equals_the_reference(case):
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        output = decoder.looked_at(pyramid_of(case), "xview")
    for index, (logits, deltas) in enumerate(zip(output.logits, output.deltas, strict=True)):
        cells = (16 >> index, 16 >> index)
        # (B, H·W·9, n) back to (B, 9·n, H, W)
        maps = [v.reshape(2, *cells, -1).permute(0, 3, 1, 2) for v in (logits, deltas)]
        case.compare(f"cls{index}", maps[0])
        case.compare(f"reg{index}", maps[1])
    case.compare("anchors0", output.anchors[0], 1e-6)
    case.compare("anchors4", output.anchors[4], 1e-6)
    sizes = [len(anchors) for anchors in output.anchors]
    positives = [0] * 5
    for target in targets_of(case):
        overlaps = box_overlaps(target.boxes, torch.cat(output.anchors))
        assigned = assign(overlaps, positive=0.5, negative=0.4, low_quality=LEAST_OVERLAP)
        for level, part in enumerate(assigned.split(sizes)):
            positives[level] += int((part >= 0).sum())
    assert positives == case.info["scalars"]["num_pos_per_level"]


def test_predictions_equal_the_reference(case):
    decoder = reference_decoder(case).eval()
    with torch.no_grad():
        found = decoder.predict(pyramid_of(case), SIZES_HW, "xview")
    compare_boxes(case, found)


def small():
    torch.manual_seed(0)
    decoder = RetinaNet(in_channels=(8,) * 4, num_classes={"town": 2, "sea": 1}, channels=8)
    levels = tuple(torch.randn(2, 8, 16 >> i, 16 >> i) for i in range(4))
    return decoder, FeaturePyramid(levels, (4, 8, 16, 32))


@pytest.mark.parametrize(
    "targets",
    [(HOUSE, NO_HOUSE), (NO_HOUSE, NO_HOUSE), (HOUSE, Targets()), (Targets(), Targets())],
    ids=["objects", "empty", "one unlabelled", "all unlabelled"],
)
def test_missing_labels_train_what_they_can(targets):
    decoder, pyramid = small()
    losses = trained_losses(decoder, pyramid, targets)
    if targets[0] is not HOUSE:
        assert float(losses["box"].detach()) == 0


def test_an_object_without_area_takes_no_anchor():
    decoder, pyramid = small()
    point = Targets(boxes=torch.full((1, 4), 20.0), box_labels=torch.tensor([0]))
    have, empty = (
        decoder.loss(pyramid, (target, NO_HOUSE), [(64, 64)] * 2, "town")
        for target in (point, NO_HOUSE)
    )
    assert float(have["box"].detach()) == 0
    assert float(have["class"].detach()) == pytest.approx(float(empty["class"].detach()))


def test_every_score_starts_at_a_hundredth_and_boxes_scale_to_the_size_asked_for():
    decoder, pyramid = small()
    scores = torch.cat(decoder.looked_at(pyramid, "town").logits, dim=1).sigmoid()
    assert float(scores.detach().mean()) == pytest.approx(0.01, rel=0.01)
    sizes = [(64, 64)] * 2
    assert all(len(found.boxes) == 0 for found in decoder.predict(pyramid, sizes, "town"))
    decoder.score_threshold = 0.0
    plain = decoder.predict(pyramid, sizes, "town")
    larger = decoder.predict(pyramid, sizes, "town", [(128, 96)] * 2)
    factors = torch.tensor([1.5, 2.0, 1.5, 2.0])
    assert 50 < len(plain[0].boxes) <= 100
    torch.testing.assert_close(larger[0].boxes, plain[0].boxes * factors)
