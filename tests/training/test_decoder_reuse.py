"""Decoders trained before, taken over by models of the same task and of others."""

import dataclasses

import pytest

from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.training.decoder_reuse import TrainedDecoder
from geomtp.types import ClassMap


def model_of(*tasks, **settings):
    source = SourceConfig(ClassMap(("house", "tank")), tasks=tasks)
    config = ModelConfig("test_resnet", 64, {"town": source}, detector_channels=8, fc_channels=16)
    return build_model(dataclasses.replace(config, **settings))


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A file with all decoders of pretraining, and its tensors."""
    model = model_of("semantic", "instance", "rotated", semantic_channels=8)
    path = tmp_path_factory.mktemp("weights") / "pretrained.safetensors"
    save(model, path)
    return path, model.state_dict()


# Layers, each with weight and bias. Faster R-CNN's trunk: 4 levels with 2 each, 3 of proposals, 2
# shared; Mask R-CNN's: 5 of masks more. RetinaNet's: 3 of these levels, 2 more, two towers of 4, 1.
@pytest.mark.parametrize(
    ("task", "donor", "detector", "used", "total"),
    [
        ("horizontal", "instance", "faster_rcnn", 26, 26),
        ("horizontal", "instance", "retinanet", 12, 34),
        ("instance", "instance", "faster_rcnn", 36, 36),
        ("rotated", "rotated", "faster_rcnn", 26, 26),
    ],
)
def test_whole_pretraining_serves_every_detector(pretrained, task, donor, detector, used, total):
    path, tensors = pretrained
    decoder = TrainedDecoder.read(path, task)
    model = model_of(task, detector=detector)
    report = decoder.load_into(model)
    assert (report.donor, len(report.used), report.reshaped) == (donor, used, ())
    assert f"{used} of the {total} tensors of its trunk, trained on {donor!r}" in str(report)
    assert report.new == ("the classifier of town",)
    own = model.state_dict()
    for key in report.used:
        assert own[f"decoders.{task}.{key}"].equal(tensors[f"decoders.{donor}.{key}"]), key
    if detector == "retinanet":
        # Levels keep their numbers, though the network begins at the second.
        assert {key.split(".")[3] for key in report.used} == {"1", "2", "3"}


@pytest.mark.parametrize("detector", ["faster_rcnn", "retinanet"])
def test_detectors_serve_each_other(tmp_path, detector):
    path = tmp_path / "boxes.safetensors"
    save(model_of("horizontal", detector=detector), path)
    rotated = model_of("rotated")
    report = TrainedDecoder.read(path, "rotated").load_into(rotated)
    assert report.donor == "horizontal"
    if detector == "faster_rcnn":
        assert len(report.used) == 24
        assert set(report.reshaped) == {  # its proposals have six corrections, not four
            "trunk.rpn_head.rpn_reg.weight (12, 8, 1, 1), here (18, 8, 1, 1)",
            "trunk.rpn_head.rpn_reg.bias (12,), here (18,)",
        }
    else:
        assert len(report.used) == 12
        assert "trunk.box_head.shared_fcs.0.weight" in report.missing
    again = TrainedDecoder.read(path, "horizontal").load_into(
        model_of("horizontal", detector=detector)
    )
    assert not again.missing
    assert not again.reshaped
    with pytest.raises(ValueError, match=r"no trunk of a decoder for 'semantic' .*: horizontal\)"):
        TrainedDecoder.read(path, "semantic")
    path.rename(tmp_path / "model.safetensors")  # of a run: its folder does
    assert TrainedDecoder.read(tmp_path, "horizontal").donor == "horizontal"


def test_the_widths_follow_the_file(pretrained):
    path, _ = pretrained
    wide = dataclasses.replace(model_of("horizontal").config, detector_channels=16, fc_channels=8)
    config = TrainedDecoder.read(path, "horizontal").widths_into(wide)
    assert (config.detector_channels, config.fc_channels) == (8, 16)
    report = TrainedDecoder.read(path, "horizontal").load_into(build_model(wide))
    # Scores and corrections of proposals are of one width everywhere: their biases fit.
    assert set(report.used) == {f"trunk.rpn_head.{name}.bias" for name in ("rpn_cls", "rpn_reg")}
    assert len(report.reshaped) == 24
