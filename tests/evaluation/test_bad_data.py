"""Data that do not fit, as the commands tell it: one sentence, nothing left behind."""

import numpy as np
import pytest
from PIL import Image

from geomtp.cli import main
from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.types import ClassMap
from tests.data.folders import layouts
from tests.data.folders.layouts import LEFT, RIGHT, mask, picture
from tests.data.sources.public_layouts import LAYOUTS


def refused(capsys, *words):
    """The one sentence that a command ends with."""
    assert main([str(word) for word in words]) == 1
    said = capsys.readouterr().err
    assert said.startswith("geomtp: ")
    assert said.count("\n") == 1
    return said


def values(root):
    layouts.masked_images(root)
    mask(root / "masks/0.png", {1: LEFT, 9: RIGHT})


def mask_size(root):
    layouts.masked_images(root)
    Image.new("L", (10, 20)).save(root / "masks/2.png")


def lonely(root):
    layouts.pairs(root)
    (root / "after/3.png").rename(root / "after/33.png")


def pair_size(root):
    layouts.pairs(root)
    picture(root / "after/3.png", size_hw=(20, 30))


def changed_values(root):
    layouts.pairs(root)
    mask(root / "masks/0.png", {7: LEFT})


@pytest.mark.parametrize(
    ("task", "spoil", "sentence"),
    [
        ("semantic", values, "mean nothing: 9 (720 pixels); known are 0 background, 1 house, 255"),
        ("semantic", mask_size, "2.png is 64 × 48, {root}/masks/2.png is 10 × 20"),
        (
            "change",
            lonely,
            "1 files of {root}/before have no file of the same name in {root}/after",
        ),
        ("change", pair_size, "{root}/after/3.png is 30 × 20"),
        (
            "change",
            changed_values,
            "mean nothing: 7 (650 pixels); known are 0 unchanged, 1 changed",
        ),
    ],
)
def test_folders_are_refused_before_training(task, spoil, sentence, tmp_path, capsys):
    root, out = tmp_path / "data", tmp_path / "run"
    spoil(root)
    words = ["--classes", "house"] if task == "semantic" else []
    said = refused(capsys, "finetune", task, "--data", root, "--out", out, *words)
    assert sentence.format(root=root) in said
    assert not (out / "config.yaml").exists()


def spoilt_loveda(root):
    path = next((LAYOUTS["loveda"](root) / "Train").rglob("masks_png/*.png"))
    Image.new("L", (10, 20)).save(path)


def spoilt_levir(root):
    picture(LAYOUTS["levir_cd"](root) / "train/B/train_1.png", size_hw=(100, 100))


def lonely_levir(root):
    path = LAYOUTS["levir_cd"](root) / "train/B/train_1.png"
    path.rename(path.with_name("x.png"))


@pytest.mark.parametrize(
    ("name", "spoil", "sentence"),
    [
        ("loveda", spoilt_loveda, "has height and width (20, 10), its image Train/Urban/images_"),
        ("levir_cd", spoilt_levir, "must have one height and width: {root}/train/A/train_1.png"),
        (
            "levir_cd",
            lonely_levir,
            "must hold files of the same names; without partner: train_1, x",
        ),
    ],
)
def test_public_data_are_refused_too(name, spoil, sentence, tmp_path, capsys):
    spoil(tmp_path / "data")
    words = ["--from", tmp_path / "data", "--out", tmp_path / "store"]
    said = refused(capsys, "data", "prepare", name, *words)
    assert sentence.format(root=tmp_path / "data") in said


def test_values_of_public_maps_are_told_with_counts(tmp_path, capsys):
    root = LAYOUTS["loveda"](tmp_path / "data")
    path = next((root / "Train").rglob("masks_png/*.png"))
    pixels = np.array(Image.open(path))
    pixels[:5] = 99
    Image.fromarray(pixels).save(path)
    words = ["--encoder", "test_resnet", "--image-size", 64, "--semantic-channels", 8, "--steps", 1]
    words += ["--batch-size", 2, "--workers", 0, "--resize-range", "[1.0,1.0]"]
    words += ["--activation-checkpointing", "false", "--accelerator", "cpu"]
    said = refused(capsys, "finetune", "loveda", "--data", root, "--out", tmp_path / "run", *words)
    assert f"{path} holds values that mean nothing: 99 (320 pixels); known: 0, 1, 2" in said


@pytest.mark.parametrize(
    ("task", "layout", "sentence"),
    [
        ("semantic", layouts.masked_images, "mean nothing: 2 (3900 pixels); known are 0 backgr"),
        ("scene", layouts.class_folders, "holds folders of other classes: field, water"),
        ("horizontal", layouts.coco, "2 unknown classes: 'house' (6 objects), 'tank' (6 objects)"),
        ("rotated", layouts.yolo, "2 unknown classes: 'house' (6 objects), 'tank' (6 objects)"),
    ],
)
def test_a_checkpoint_of_other_classes(task, layout, sentence, tmp_path, capsys):
    root = layout(tmp_path / "data", value=2) if task == "semantic" else layout(tmp_path / "data")
    source = SourceConfig(ClassMap(("barn",)), (task,))
    widths = {"semantic_channels": 8, "detector_channels": 8, "fc_channels": 16}
    model = tmp_path / "model.safetensors"
    save(build_model(ModelConfig("test_resnet", 64, {"mine": source}, **widths)), model)
    said = refused(capsys, "evaluate", model, "--data", root, "--out", tmp_path / "out")
    assert "the checkpoint's classes are not the data's: it knows barn, but " in said
    assert sentence in said
