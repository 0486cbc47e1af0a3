"""The classifier of whole images against the reference, and where labels are missing."""

import pytest
import torch

from geomtp.decoders.linear import LinearClassifier, pooled
from geomtp.types import FeaturePyramid, Targets
from tests.golden_cases import GoldenCase


def golden():
    case = GoldenCase.read("classification_head")
    config = case.info["config"]
    decoder = LinearClassifier(
        in_channels=(8, config["in_channels"]), num_classes={"eurosat": config["num_classes"]}
    )
    shapes = {"head.fc.weight": [10, 64], "head.fc.bias": [10]}
    weights = case.weights(shapes)
    keys = decoder.official_keys({"eurosat": 1})
    decoder.load_state_dict({ours: weights[theirs] for ours, theirs in keys.items()})
    return case, decoder


def test_it_equals_the_reference():
    case, decoder = golden()
    features = case.tensor("feat").requires_grad_()
    pyramid = FeaturePyramid((torch.randn(6, 8, 14, 14), features), (16, 32))
    sizes = [(224, 224)] * 6
    case.compare("logits", decoder.logits(pyramid, sizes, "eurosat"), 1e-5)
    labels = case.tensor("labels")
    targets = [Targets(scene_class=int(label)) for label in labels]
    loss = decoder.loss(pyramid, targets, sizes, "eurosat")["class"]
    assert float(loss.detach()) == pytest.approx(case.scalar("loss"), rel=1e-5)
    loss.backward()
    assert float(features.grad.norm()) == pytest.approx(case.scalar("grad_norm_feat"), rel=1e-4)
    with torch.no_grad():
        found = decoder.predict(pyramid, sizes, "eurosat")
    classes = torch.stack([p.scene_scores for p in found]).argmax(dim=1)
    assert float((classes == labels).float().mean()) == pytest.approx(case.scalar("top1"))
    assert float(found[0].scene_scores.sum()) == pytest.approx(1)


def test_padding_is_left_out_of_the_mean():
    level = torch.zeros(2, 1, 2, 3)
    level[0, 0] = torch.tensor([[1.0, 2.0, 9.0], [3.0, 6.0, 9.0]])
    level[1, 0] = torch.tensor([[4.0, 9.0, 9.0], [9.0, 9.0, 9.0]])
    pyramid = FeaturePyramid((level,), (32,))
    assert pooled(pyramid, [(64, 33), (20, 32)]).tolist() == [[3.0], [4.0]]
    assert pooled(pyramid, [(64, 96), (64, 96)])[1].tolist() == [pytest.approx(49 / 6)]


def test_images_without_a_class_do_not_count():
    torch.manual_seed(0)
    decoder = LinearClassifier(in_channels=(4,), num_classes={"a": 3, "b": 5})
    pyramid = FeaturePyramid((torch.randn(3, 4, 2, 2),), (32,))
    sizes = [(64, 64)] * 3
    some = decoder.loss(pyramid, [Targets(), Targets(scene_class=2), Targets()], sizes, "a")
    only = FeaturePyramid((pyramid.levels[0][1:2],), (32,))
    alone = decoder.loss(only, [Targets(scene_class=2)], sizes[:1], "a")
    assert float(some["class"]) == pytest.approx(float(alone["class"]))
    none = decoder.loss(pyramid, [Targets()] * 3, sizes, "a")["class"]
    none.backward()
    assert float(none) == 0
    assert not decoder.classifiers["a"].weight.grad.any()
    with pytest.raises(ValueError, match=r"no classifier for the source 'c'.*knows: a, b"):
        decoder.loss(pyramid, [Targets()] * 3, sizes, "c")
