"""The tasks that follow pretraining, in a whole model."""

import dataclasses

import pytest
import torch

from geomtp.checkpoints import export_official, import_official
from geomtp.decoders.light import Light
from geomtp.model import (
    DETECTORS,
    ModelConfig,
    MultiTaskModel,
    SourceConfig,
    build_model,
    load,
    save,
)
from geomtp.types import Batch, ClassMap, Targets

LAND = SourceConfig(ClassMap(("field", "forest", "water")), tasks=("scene",))
PAIR = SourceConfig(ClassMap(("building",)), tasks=("semantic", "change"))


SHIPS = SourceConfig(ClassMap(("ship", "ferry", "tug")), tasks=("horizontal",))


def small_model(encoder="resnet10t"):
    torch.manual_seed(0)
    options = {} if encoder == "resnet10t" else {"pyramid": False}
    config = ModelConfig(
        encoder=encoder,
        image_size=64,
        sources={"land": LAND, "pair": PAIR},
        encoder_options={"drop_path": 0.0, **options},
        semantic_channels=8,
        change_channels=(16, 8, 8, 8),
    )
    return build_model(config)


def batches(labelled=True):
    torch.manual_seed(1)
    maps = torch.randint(0, 2, (2, 64, 64), dtype=torch.uint8)
    land = [Targets(scene_class=2 if labelled else None)] * 2
    pair = [Targets(semantic=m, change=1 - m) if labelled else Targets() for m in maps]
    images = torch.randn(3, 2, 3, 64, 64)
    sizes = ((64, 64), (64, 48))
    return {
        "land": Batch(images[0], tuple(land), sizes, "land"),
        "pair": Batch(images[1], tuple(pair), sizes, "pair", images_after=images[2]),
    }


@pytest.mark.parametrize("encoder", ["resnet10t", "vit_t_rvsa"])
def test_every_parameter_is_trained_and_both_ways_of_summing_agree(encoder):
    model = small_model(encoder).eval()  # batch norm and dropout would draw or move
    losses = model.loss(batches())
    assert set(losses) == {"scene/class/land", "semantic/pixel/pair", "change/pixel/pair"}
    sum(losses.values()).backward()
    whole = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    missing = {name for name, _ in model.named_parameters()} - set(whole)
    assert all(".norm." in name or "fpn" in name for name in missing), missing
    model.zero_grad()
    total, parts = model.total_loss(batches())
    total.backward()
    for name, value in losses.items():
        assert float(parts[name]) == pytest.approx(float(value.detach()), rel=1e-5)
    for name, gradient in whole.items():
        own = dict(model.named_parameters())[name].grad
        torch.testing.assert_close(own, gradient, rtol=1e-3, atol=1e-6, msg=name)


def test_losses_without_labels_are_zero_and_finite():
    model = small_model().train()
    total, losses = model.total_loss(batches(labelled=False))
    total.backward()
    assert float(total.detach()) == 0
    assert all(float(value) == 0 for value in losses.values())
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_change_looks_at_both_dates_of_the_same_place():
    model = small_model().eval()
    batch = batches()["pair"]
    sizes, after = batch.image_sizes_hw, batch.images_after
    found = model.predict(batch.images, sizes, "pair", images_after=after)
    second = model.predict(batch.images[1:], sizes[1:], "pair", images_after=after[1:])[0]
    torch.testing.assert_close(found[1].change_logits, second.change_logits, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(
        found[1].semantic_logits, second.semantic_logits, rtol=1e-3, atol=1e-4
    )
    turned = model.predict(after, sizes, "pair", images_after=batch.images)
    torch.testing.assert_close(turned[0].change_logits, found[0].change_logits)
    assert not torch.equal(turned[0].semantic_logits, found[0].semantic_logits)
    with pytest.raises(ValueError, match="images of pair need those of a second date"):
        model.predict(batch.images, sizes, "pair")


def test_the_second_date_is_seen_in_the_light_of_the_first(tmp_path):
    """Half as bright and darker by 20 grey levels, it is the same place: nothing changed."""
    model = small_model().eval()
    light = Light((2.0,) * 3, (40.0,) * 3)
    about = dataclasses.replace(PAIR, light=light)
    sources = {**model.config.sources, "pair": about}
    lit = MultiTaskModel(
        model.encoder, dict(model.decoders), dataclasses.replace(model.config, sources=sources)
    ).eval()
    batch = batches()["pair"]
    sizes = batch.image_sizes_hw
    mean, std = (torch.tensor(part)[:, None, None] for part in (PAIR.mean, PAIR.std))
    darker = (((batch.images * std + mean) - 40) / 2 - mean) / std
    same = model.predict(batch.images, sizes, "pair", images_after=batch.images)
    found = lit.predict(batch.images, sizes, "pair", images_after=darker)
    for first, second in zip(same, found, strict=True):
        torch.testing.assert_close(first.change_logits, second.change_logits, rtol=1e-3, atol=1e-5)
    unlit = model.predict(batch.images, sizes, "pair", images_after=darker)
    assert (unlit[0].change_logits - same[0].change_logits).abs().max() > 5e-4
    losses = lit.loss({"pair": dataclasses.replace(batch, images_after=darker)})
    equal = model.loss({"pair": dataclasses.replace(batch, images_after=batch.images)})
    torch.testing.assert_close(losses["change/pixel/pair"], equal["change/pixel/pair"])
    save(lit, tmp_path / "m.safetensors")
    assert load(tmp_path / "m.safetensors").config.sources["pair"].light == light


def test_it_is_saved_and_read_again(tmp_path):
    model = small_model().eval()
    save(model, tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    land = batches()["land"]
    first = model.predict(land.images, land.image_sizes_hw, "land")
    second = again.predict(land.images, land.image_sizes_hw, "land")
    assert torch.equal(first[0].scene_logits, second[0].scene_logits)


def detector_model(detector, encoder="vit_t_rvsa", **changes):
    torch.manual_seed(0)
    config = ModelConfig(
        encoder=encoder,
        image_size=64,
        sources={"ships": SHIPS},
        encoder_options={"drop_path": 0.0},
        detector_channels=8,
        fc_channels=16,
        detector=detector,
        proposals=50,
    )
    return build_model(dataclasses.replace(config, **changes))


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_detector_of_horizontal_boxes_is_trained_and_read_again(detector, tmp_path):
    model = detector_model(detector)
    target = Targets(boxes=torch.tensor([[4.0, 8.0, 30.0, 40.0]]), box_labels=torch.tensor([2]))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    batch = Batch(images, (target, Targets()), ((64, 64), (64, 48)), "ships")
    total, losses = model.total_loss({"ships": batch})
    assert {"horizontal/class/ships", "horizontal/box/ships"} <= set(losses)
    assert float(losses["horizontal/box/ships"]) > 0
    total.backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None}
    # Only what the encoder does for the finest level goes unused, by RetinaNet.
    assert all(".norm." in name or "encoder." in name for name in missing), missing
    model.decoders["horizontal"].score_threshold = 0.0
    save(model.eval(), tmp_path / "m.safetensors")
    again = load(tmp_path / "m.safetensors")
    assert again.config == model.config
    again.decoders["horizontal"].score_threshold = 0.0
    first, second = (m.predict(images, batch.image_sizes_hw, "ships")[1] for m in (model, again))
    assert len(first.boxes) > 0
    assert first.boxes.equal(second.boxes)
    assert first.boxes[:, 2].max() <= 48
    assert first.masks is None


@pytest.mark.parametrize("detector", DETECTORS)
def test_detectors_take_images_of_odd_sizes_and_other_channels(detector):
    model = detector_model(detector, "test_efficientnet", in_channels=4).train()
    target = Targets(boxes=torch.tensor([[4.0, 8.0, 30.0, 40.0]]), box_labels=torch.tensor([2]))
    images = torch.randn(2, 4, 71, 45, generator=torch.Generator().manual_seed(1))
    losses = model.loss({"ships": Batch(images, (target,) * 2, ((71, 45),) * 2, "ships")})
    sum(losses.values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("detector", DETECTORS)
def test_official_names_of_fine_tuned_detectors_there_and_back(detector):
    model, other = detector_model(detector), detector_model(detector)
    official = export_official(model)
    assert {key.split(".")[0] for key in official} == {
        "faster_rcnn": {"backbone", "neck", "rpn_head", "roi_head"},
        "retinanet": {"backbone", "neck", "bbox_head"},
    }[detector]
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    report = import_official(official, other)
    assert not report.missing
    assert not report.unexpected
    for key, value in model.state_dict().items():
        assert value.equal(other.state_dict()[key]), key


OFFICIAL = {
    "semantic": {
        "trunk.psp_modules.0.conv.weight": "decode_head.psp_modules.0.1.conv.weight",
        "trunk.fpn_bottleneck.bn.running_var": "decode_head.fpn_bottleneck.bn.running_var",
        "classifiers.ships.weight": "decode_head.conv_seg.weight",
    },
    "instance": {
        "trunk.neck.lateral_convs.0.weight": "neck.lateral_convs.0.conv.weight",
        "trunk.mask_head.convs.3.bias": "roi_head.mask_head.convs.3.conv.bias",
        "classifiers.ships.fc_cls.weight": "roi_head.bbox_head.fc_cls.weight",
        "classifiers.ships.conv_logits.bias": "roi_head.mask_head.conv_logits.bias",
    },
    "rotated": {
        "trunk.rpn_head.rpn_reg.weight": "rpn_head.rpn_reg.weight",
        "trunk.box_head.shared_fcs.1.weight": "roi_head.bbox_head.shared_fcs.1.weight",
        "classifiers.ships.fc_reg.bias": "roi_head.bbox_head.fc_reg.bias",
    },
}
"""Names of some tensors of a fine-tuned model's decoder in MMSegmentation, MMDetection, MMRotate
(checkpoints, section 4)."""


@pytest.mark.parametrize("task", OFFICIAL)
def test_a_model_of_one_task_has_the_names_of_a_fine_tuned_model(task):
    one = {"ships": dataclasses.replace(SHIPS, tasks=(task,))}
    model, other = (detector_model("faster_rcnn", sources=one, semantic_channels=8) for _ in "ab")
    official, own = export_official(model), model.state_dict()
    for ours, theirs in OFFICIAL[task].items():
        assert official[theirs].equal(own[f"decoders.{task}.{ours}"]), theirs
    assert {key.split(".")[0] for key in official} == {
        "backbone",
        *({"decode_head"} if task == "semantic" else {"neck", "rpn_head", "roi_head"}),
    }
    numbered = model.decoders[task].official_keys({"ships": 1})
    of_pretraining = {numbered[key]: own[f"decoders.{task}.{key}"] for key in numbered}
    for ours, theirs in model.encoder.official_keys().items():
        of_pretraining[f"encoder.{theirs}"] = own[f"encoder.{ours}"]
    for file in (official, of_pretraining):
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.zero_()
        report = import_official(file, other)
        assert not report.unexpected
        assert all("trunk.conv_seg." in key for key in report.missing)  # which nobody uses
        for key, value in own.items():
            assert value.equal(other.state_dict()[key]), key


def test_mistakes_about_detectors():
    with pytest.raises(ValueError, match="unknown detector 'yolo'; known: faster_rcnn, retinanet"):
        detector_model("yolo", "resnet10t")
    both = dataclasses.replace(SHIPS, tasks=("instance", "horizontal"))
    with pytest.raises(ValueError, match="ships cannot train both instance and horizontal"):
        detector_model("retinanet", "resnet10t", sources={"ships": both})
