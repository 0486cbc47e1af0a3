"""The whole model against the reference's framework, and its files."""

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from geomtp.checkpoints import export_official, import_official
from geomtp.decoders.detection.sampling import Sampler
from geomtp.model import ModelConfig, SourceConfig, build_model, load, save
from geomtp.types import Batch, ClassMap, Targets
from tests.decoders.detection.test_coders import assert_same_rboxes
from tests.decoders.reference import gradient_norm
from tests.golden_cases import GoldenCase

SETS = {"SOTA": 18, "SIOR": 20, "FAST": 37}
MEAN = torch.tensor([123.675, 116.28, 103.53])
STD = torch.tensor([58.395, 57.12, 57.375])
OFFICIAL_LOSSES = {
    "semantic/pixel": "ss/{}/loss_ce",
    "instance/proposal_score": "is/{}/loss_rpn_cls",
    "instance/proposal_box": "is/{}/loss_rpn_bbox",
    "instance/class": "is/{}/loss_cls",
    "instance/box": "is/{}/loss_bbox",
    "instance/mask": "is/{}/loss_mask",
    "rotated/proposal_score": "rd/{}/loss_rpn_cls",
    "rotated/proposal_box": "rd/{}/loss_rpn_bbox",
    "rotated/class": "rd/{}/loss_cls",
    "rotated/box": "rd/{}/loss_bbox",
}


def reference_model(case, image_size):
    sources = {
        name: SourceConfig(ClassMap(tuple(f"class {i}" for i in range(count))))
        for name, count in SETS.items()
    }
    config = ModelConfig(
        encoder="vit_b_rvsa",
        image_size=image_size,
        sources=sources,
        encoder_options={"drop_path": 0.0},
        reference_box_targets=True,
    )
    model = build_model(config)
    take_all = Sampler(10**6, 1.0)
    for task in ("instance", "rotated"):
        decoder = model.decoders[task]
        decoder.roi_sampler = decoder.trunk.rpn_head.sampler = take_all
    official = model.official_keys()
    weights = case.weights()
    ours = {k: weights[theirs] for k, theirs in official.items() if theirs in weights}
    missing = model.load_state_dict(ours, strict=False).missing_keys
    assert len(ours) == len(weights)
    assert all(k.endswith(("relative_position_index", "num_batches_tracked")) for k in missing)
    for module in model.modules():
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    return model


def golden_batch(case, name, per_set, canvas):
    """The images as the reference pads them: label maps keep the batch's own size (quirk 17)."""
    images, targets, sizes = [], [], []
    for index in range(per_set):
        prefix = f"{name}{index}/"
        image = case.tensor(prefix + "img_bgr").flip(-1).float()
        image = ((image - MEAN) / STD).permute(2, 0, 1)
        height, width = image.shape[-2:]
        padded = torch.zeros(3, canvas, canvas)
        padded[:, :height, :width] = image
        masks = torch.zeros(len(case.tensor(prefix + "hboxes")), canvas, canvas, dtype=torch.bool)
        masks[:, :height, :width] = case.tensor(prefix + "masks_packed").bool()
        images.append(padded)
        sizes.append((height, width))
        targets.append(
            Targets(
                boxes=case.tensor(prefix + "hboxes"),
                box_labels=case.tensor(prefix + "labels"),
                masks=masks,
                rboxes=case.tensor(prefix + "rboxes"),
                rbox_labels=case.tensor(prefix + "rlabels"),
                semantic=case.tensor(prefix + "seg_map"),
            )
        )
    return Batch(torch.stack(images), tuple(targets), tuple(sizes), name)


@pytest.mark.parametrize(
    ("name", "size", "per_set", "bn_train"),
    [
        pytest.param("full_vit_b_rvsa_224_calm", 224, 1, False, marks=pytest.mark.slow),
        pytest.param("full_vit_b_rvsa_224", 224, 1, False, marks=pytest.mark.slow),
        ("full_vit_b_rvsa_128_bn_train", 128, 2, True),
    ],
)
def test_losses_and_gradients_of_the_framework(name, size, per_set, bn_train):
    case = GoldenCase.read(name)
    model = reference_model(case, size).train()
    if not bn_train:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
    batches = {s: golden_batch(case, s, per_set, size) for s in SETS}
    losses = model.loss(batches)
    assert len(losses) == 30
    tolerance = 1e-4 if name.endswith("calm") else 1e-3
    for key, value in losses.items():
        task, loss, source = key.split("/")
        want = case.scalar(OFFICIAL_LOSSES[f"{task}/{loss}"].format(source))
        loose = 2e-3 if task == "rotated" and not name.endswith("calm") else tolerance
        assert float(value.detach()) == pytest.approx(want, rel=loose, abs=1e-7), key
    total = sum(losses.values())
    assert float(total.detach()) == pytest.approx(case.scalar("total"), rel=1e-3)
    if bn_train:
        return
    total.backward()
    bound = 5e-3
    norm = gradient_norm(model.parameters())
    assert norm == pytest.approx(case.scalar("grad_norm_total"), rel=bound)
    for part in ("encoder", "encoder.patch_embed", "encoder.blocks.0", "encoder.blocks.11"):
        norm = gradient_norm(model.get_submodule(part).parameters())
        assert norm == pytest.approx(case.scalar(f"grad_norm/{part}"), rel=bound), part
    for task, official in [
        ("semantic", "semsegdecoder"),
        ("instance", "inssegdecoder"),
        ("rotated", "rotdetdecoder"),
    ]:
        norm = gradient_norm(model.decoders[task].trunk.parameters())
        assert norm == pytest.approx(case.scalar(f"grad_norm/{official}"), rel=bound), task
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key


def test_right_box_targets_and_labels_padded_as_the_images():
    case = GoldenCase.read("full_vit_b_rvsa_224_calm")
    model = reference_model(case, 224).eval()
    model.decoders["instance"].reference_box_targets = False
    with torch.no_grad():
        losses = model.loss({s: golden_batch(case, s, 1, 224) for s in SETS})
    for source in SETS:
        want = case.scalar(f"is/{source}/loss_bbox_FIXED_TARGET")
        assert float(losses[f"instance/box/{source}"]) == pytest.approx(want, rel=1e-3)


@pytest.mark.parametrize(
    "name",
    ["full_vit_b_rvsa_224_calm", pytest.param("full_vit_b_rvsa_224", marks=pytest.mark.slow)],
)
def test_predictions_of_the_framework(name):
    case = GoldenCase.read(name)
    model = reference_model(case, 224).eval()
    for source in SETS:
        key = f"{source}0_eval" if f"{source}0_eval/img_bgr" in case.arrays else f"{source}0"
        image = ((case.tensor(f"{key}/img_bgr").flip(-1).float() - MEAN) / STD).permute(2, 0, 1)
        output = (336, 336) if source == "SIOR" else (224, 224)
        found = model.predict(image[None], [(224, 224)], source, [output])[0]
        logits = case.info["tensors"][f"pred/ss/{source}0/logits"]
        case.compare(f"pred/ss/{source}0/logits", found.semantic_logits, 1e-3)
        assert list(found.semantic.shape) == logits["shape"][1:]
        prefix = f"pred/is/{source}0/"
        assert len(found.boxes) == case.scalar(prefix + "num")
        close = {"rtol": 0, "atol": 1e-3}
        torch.testing.assert_close(found.box_scores[:10], case.tensor(prefix + "scores"), **close)
        torch.testing.assert_close(
            found.boxes[:10], case.tensor(prefix + "boxes"), rtol=0, atol=0.05
        )
        assert found.box_labels[:10].equal(case.tensor(prefix + "labels"))
        areas = case.tensor(prefix + "mask_areas")
        difference = (found.masks[:10].sum(dim=(1, 2)) - areas).abs()
        assert (difference <= 2 + 0.003 * areas).all()
        prefix = f"pred/rd/{source}0/"
        want = case.scalar(prefix + "num")
        assert abs(len(found.rboxes) - want) <= (0 if name.endswith("calm") else 0.01 * want)
        torch.testing.assert_close(found.rbox_scores[:10], case.tensor(prefix + "scores"), **close)
        if name.endswith("calm"):
            assert_same_rboxes(found.rboxes[:10], case.tensor(prefix + "boxes"), 3e-4)
            assert found.rbox_labels[:10].equal(case.tensor(prefix + "labels"))


def small_model(**options):
    torch.manual_seed(0)
    sources = {
        "town": SourceConfig(ClassMap(("car", "house"))),
        "sea": SourceConfig(ClassMap(("ship",)), tasks=("rotated", "semantic")),
    }
    config = ModelConfig(
        encoder="vit_t_rvsa",
        image_size=64,
        sources=sources,
        semantic_channels=16,
        detector_channels=16,
        fc_channels=32,
        **options,
    )
    return build_model(config)


def small_batches():
    generator = torch.Generator().manual_seed(1)
    rboxes = torch.tensor([[30.0, 30.0, 20.0, 10.0, 0.3]])
    label = torch.tensor([0])
    targets = Targets(
        boxes=torch.tensor([[20.0, 22.0, 42.0, 40.0]]),
        box_labels=label,
        masks=torch.ones(1, 64, 64, dtype=torch.bool),
        rboxes=rboxes,
        rbox_labels=label,
        semantic=torch.randint(0, 2, (64, 64), dtype=torch.uint8, generator=generator),
    )
    return {
        "town": Batch(
            torch.randn(2, 3, 64, 64, generator=generator), (targets,) * 2, ((64, 64),) * 2, "town"
        ),
        "sea": Batch(
            torch.randn(1, 3, 64, 64, generator=generator), (targets,), ((64, 64),), "sea"
        ),
    }


def test_the_total_is_the_weighted_sum_of_the_losses():
    model = small_model().train()
    weights = {"semantic": 0.5, "rotated/box": 2.0, "rotated/box/sea": 3.0}
    torch.manual_seed(5)
    plain = model.loss(small_batches())
    factors = {
        name: 3.0
        if name == "rotated/box/sea"
        else 2.0
        if name == "rotated/box/town"
        else 0.5
        if name.startswith("semantic")
        else 1.0
        for name in plain
    }
    sum(value * factors[name] for name, value in plain.items()).backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model = small_model().train()  # afresh: running statistics have moved
    torch.manual_seed(5)
    total, losses = model.total_loss(small_batches(), weights)
    total.backward()
    assert set(losses) == set(plain)
    for name, value in plain.items():
        torch.testing.assert_close(losses[name], value.detach(), rtol=1e-5, atol=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-3, atol=1e-5, msg=name)


def test_a_source_trains_only_the_tasks_it_has():
    model = small_model().train()
    losses = model.loss(small_batches())
    assert {name for name in losses if name.endswith("/sea")} == {
        "semantic/pixel/sea",
        "rotated/proposal_score/sea",
        "rotated/proposal_box/sea",
        "rotated/class/sea",
        "rotated/box/sea",
    }
    assert "sea" not in model.decoders["instance"].classifiers
    with pytest.raises(ValueError, match="knows no source 'air'; known: sea, town"):
        model.predict(torch.zeros(1, 3, 64, 64), [(64, 64)], "air")


def test_predictions_hold_the_tasks_of_the_source():
    model = small_model().eval()
    found = model.predict(torch.randn(1, 3, 50, 70), [(50, 70)], "sea")[0]
    assert found.boxes is None
    assert found.rboxes.shape[1] == 5
    assert found.semantic.shape == (50, 70)


def test_a_saved_model_loads_to_the_same_predictions(tmp_path):
    model = small_model(encoder_options={"drop_path": 0.1}).eval()
    save(model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.config == model.config
    images = torch.randn(1, 3, 64, 64)
    first = model.predict(images, [(64, 64)], "town")[0]
    second = again.predict(images, [(64, 64)], "town")[0]
    assert first.semantic_logits.equal(second.semantic_logits)
    assert first.boxes.equal(second.boxes)


def test_official_names_round_trip():
    model = small_model()
    exported = export_official(model)
    assert "semseghead_2.1.weight" in exported
    assert "rotdetroiboxhead_fc_cls1.bias" in exported
    other = small_model()
    for parameter in other.parameters():
        torch.nn.init.normal_(parameter)
    report = import_official(exported, into=other)
    assert not report.missing
    assert not report.unexpected
    for key, value in model.state_dict().items():
        assert other.state_dict()[key].equal(value), key
