"""Folders in the layouts of YOLO, and labels that look like mistakes."""

import json
import re

import numpy as np
import pytest

from geomtp.cli import main
from geomtp.data.folders import FolderStore
from geomtp.model import load
from tests.data.folders import layouts
from tests.data.folders.layouts import HOUSE, TANK
from tests.labels.layouts import text


def build(task, root, tmp_path, **settings):
    return FolderStore(task, **settings).build(root, tmp_path / "store")


def test_lines_of_both_kinds(tmp_path):
    store, said = build("rotated", layouts.yolo(tmp_path / "data"), tmp_path)
    assert store.classes.names == ("house", "tank", "mast")  # in the file's order, used or not
    assert "3 classes: house 6, tank 6, mast" in said
    house, tank = store[0].rboxes
    assert tank[:2].tolist() == [48, 24]
    assert sorted(tank[2:4]) == pytest.approx([24, 30])
    assert 0.05 < house[4] < 0.3  # clockwise
    store, _ = build("horizontal", tmp_path / "data", tmp_path)
    np.testing.assert_allclose(store[0].boxes[1], [36, 9, 60, 39], atol=1e-4)
    np.testing.assert_allclose(store[0].boxes[0], [3.2, 4.8, 32, 28.8], atol=1e-4)


def test_splits_below_images_and_labels(tmp_path):
    layouts.yolo(tmp_path / "data", 3, split="train/{}")
    layouts.yolo(tmp_path / "data", 2, split="val/{}")
    store, _ = build("rotated", tmp_path / "data", tmp_path)
    assert [len(store.subset(s)) for s in ("train", "val")] == [3, 2]
    assert store.subset("val")[0].image == "images/val/0.png"


def test_splits_above_images_and_labels(tmp_path):
    for part in ("train", "valid"):
        layouts.yolo(tmp_path / "data" / part, 2)
        (tmp_path / "data" / part / "data.yaml").rename(tmp_path / "data/data.yaml")
    store, _ = build("rotated", tmp_path / "data", tmp_path)
    assert store.classes.names == ("house", "tank", "mast")
    assert [len(store.subset(s)) for s in ("train", "val")] == [2, 2]


def test_names_by_a_flag(tmp_path):
    root = layouts.yolo(tmp_path / "data")
    (root / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"nothing names their classes: put a data\.yaml"):
        build("rotated", root, tmp_path)
    store, _ = build("rotated", root, tmp_path, classes=("shed", "vat"))
    assert store.classes.names == ("shed", "vat")
    assert store[0].rbox_labels.tolist() == [0, 1]


def test_dota_below_split_folders_in_images_and_labels(tmp_path):
    for split in ("train", "val"):
        one = layouts.dota(tmp_path / "one", 2)
        for name, other in (("images", "images"), ("labelTxt", "labels")):
            place = tmp_path / "data" / other
            place.mkdir(parents=True, exist_ok=True)
            (one / name).rename(place / split)
    store, _ = build("rotated", tmp_path / "data", tmp_path)
    assert store.classes.names == ("house", "tank")
    assert [len(store.subset(s)) for s in ("train", "val")] == [2, 2]


SMALL = [
    "--encoder", "resnet10t", "--image-size", "64", "--detector-channels", "8", "--fc-channels",
    "16", "--proposals", "50", "--rois", "32", "--batch-size", "2", "--steps", "1", "--workers",
    "0", "--pictures", "0", "--accelerator", "cpu",
]  # fmt: skip


def typed(root, tmp_path, capsys, task="rotated", *words):
    out = tmp_path / "run"
    status = main(["finetune", task, "--data", str(root), "--out", str(out), *SMALL, *words])
    return status, capsys.readouterr()


@pytest.mark.parametrize("task", ["rotated", "horizontal"])
def test_a_step_as_it_is_typed(tmp_path, capsys, task):
    status, said = typed(layouts.yolo(tmp_path / "data"), tmp_path, capsys, task)
    assert status == 0, said.err
    assert "6 images (train 5, val 1, test 0), 3 channels, 64 × 48 (6)" in said.out
    assert "3 classes: house 6, tank 6, mast" in said.out
    assert "trained on 5 images, scored on 1" in said.out
    model = load(tmp_path / "run/model.safetensors")
    assert model.config.sources["data"].classes.names == ("house", "tank", "mast")
    assert json.loads((tmp_path / "run/scores.json").read_text())["step"] == 1


@pytest.mark.parametrize(
    ("tank", "sentence"),
    [
        ("3 0.7 0.5 0.3 0.6\n", "0.txt, line 2: the class index 3 has no name; known: 0…2"),
        ("-1 0.7 0.5 0.3 0.6\n", "0.txt, line 2: the class index -1 has no name; known: 0…2"),
    ],
)
def test_wrong_class_ids_stop_in_a_sentence(tmp_path, capsys, tank, sentence):
    status, said = typed(layouts.yolo(tmp_path / "data", tank=tank), tmp_path, capsys)
    assert status == 1
    assert sentence in said.err
    assert said.err.count("\n") == 1


def test_values_that_are_no_fractions_are_left_out_and_told(tmp_path, capsys):
    root = layouts.yolo(tmp_path / "data")
    text(root / "labels/0.txt", HOUSE + "1 40 30 20 20\n")
    status, said = typed(root, tmp_path, capsys)
    assert status == 0
    assert "left out: malformed 1\n  0.txt line 2: coordinates must be fractions" in said.out
    for i in range(6):
        text(root / f"labels/{i}.txt", "1 40 30 20 20\n")
    status, said = typed(root, tmp_path / "again", capsys)
    assert status == 1
    assert "data hold no object, such as 0.txt line 1: coordinates must be fractions" in said.err
    assert said.err.count("\n") == 1


def test_missing_images_are_told(tmp_path, capsys):
    root = layouts.yolo(tmp_path / "data")
    (root / "images/3.png").unlink()
    status, said = typed(root, tmp_path, capsys)
    assert status == 0
    assert "left out: no image 1\n  3: no image of that name in " in said.out
    for path in (root / "images").iterdir():
        path.rename(path.with_name(f"picture_{path.name}"))
    status, said = typed(root, tmp_path / "again", capsys)
    assert status == 1
    assert "none of the annotations below" in said.err
    assert "has an image, such as 0: no image of that name in" in said.err


def test_suspicious_labels_are_pointed_out(tmp_path):
    root = layouts.yolo(tmp_path / "data")
    text(root / "labels/0.txt", HOUSE + TANK + TANK)
    text(root / "labels/1.txt", HOUSE + "1 0.95 0.5 0.375 0.625\n1 0.5 0.5 0.01 0.3\n")
    _, said = build("rotated", root, tmp_path)
    assert "look again: 1 objects are there twice (images/0.png, 0.txt line 3)" in said
    assert "1 objects reach over the border of their image (images/1.png, 1.txt line 2)" in said
    assert "1 objects are narrower than 2 px (images/1.png, 1.txt line 3)" in said
    assert "upright" not in said
    upright = layouts.yolo(tmp_path / "tanks")
    for path in (upright / "labels").iterdir():
        text(path, TANK)
    assert "all boxes are upright" in build("rotated", upright, tmp_path)[1]
    assert "upright" not in build("horizontal", upright, tmp_path)[1]


def test_outlines_of_yolo_are_not_taken_for_dota(tmp_path, capsys):
    root = layouts.yolo(tmp_path / "data")
    for path in (root / "labels").iterdir():
        path.write_text("0 0.1 0.1 0.5 0.1 0.5 0.5 0.3 0.6 0.1 0.5\n")
    assert main(["finetune", "instance", "--data", str(root), "--out", str(tmp_path / "run")]) == 1
    assert re.search(
        r"hold no object, such as 0.txt line 1: expected a class index and .* found 11 words",
        capsys.readouterr().err,
    )
