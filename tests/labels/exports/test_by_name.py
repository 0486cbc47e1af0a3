import dataclasses
import json

import numpy as np
import pytest
from faster_coco_eval import COCO
from PIL import Image

from geomtp.labels import (
    GenerateLabels,
    ImageLabels,
    ReadNotes,
    generate,
    semantic_map,
    write_store,
)
from geomtp.labels.exports.by_name import export_store
from geomtp.labels.exports.samrs import samrs_layout
from geomtp.labels.readers.samrs import read_samrs
from geomtp.labels.segmenters.segmenter import PolygonSegmenter
from geomtp.labels.shapes import rotated_boxes
from geomtp.types import spread_palette
from tests.labels.layouts import info, read
from tests.labels.scenes import draw_scenes


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    draw_scenes(folder, 8)
    image = Image.open(folder / "images/02.png")
    (folder / "images/02.png").unlink()
    image.save(folder / "images/02.tif")
    config = GenerateLabels(
        folder / "images", folder / "labels", "dota", folder / "store", val_share=0.3, report=False
    )
    return generate(config, lambda _: None).store


def test_dota_text_comes_back(store, tmp_path):
    said = export_store(store.path, "dota", tmp_path / "out")
    assert said == f"8 images of store written to {tmp_path / 'out'} (dota)"
    found, _ = read("dota", store.image_root, tmp_path / "out/labelTxt")
    assert list(found) == [row.image for row in store]
    for row in store:
        objects = found[row.image].objects
        np.testing.assert_allclose(rotated_boxes(objects), row.rboxes, atol=5e-3)
        names = [store.classes.names[i].replace(" ", "-") for i in row.rbox_labels]
        assert [item.name for item in objects] == names
    assert (tmp_path / "out/labelTxt/00.txt").read_text() == ""
    line = (tmp_path / "out/labelTxt/01.txt").read_text().splitlines()[0]
    assert len(line.split()) == 10


def test_semantic_maps_are_indexed_pictures(store, tmp_path):
    export_store(store.path, "semantic", tmp_path / "out")
    for row in store:
        with Image.open(tmp_path / "out/maps" / row.image.replace(".tif", ".png")) as picture:
            assert picture.mode == "P"
            indices = np.asarray(picture)
            colours = np.asarray(picture.convert("RGB"))
        want = semantic_map(row, store.image_root)
        np.testing.assert_array_equal(indices, want)
        assert (colours[want == 2] == store.classes.palette[1]).all()
        assert (colours[want == 0] == 0).all()
    lines = (tmp_path / "out/classes.csv").read_text().splitlines()
    red, green, blue = spread_palette(3)[2]
    assert lines[1] == "0,background,0,0,0"
    assert lines[4] == f"3,storage tank,{red},{green},{blue}"


def test_the_layout_of_samrs_comes_back(store, tmp_path):
    export_store(store.path, "samrs", tmp_path)
    layout = samrs_layout("store")
    for split in ("train", "val"):
        notes = ReadNotes()
        found = list(read_samrs(tmp_path, layout, split, notes))
        assert notes.content()["left_out"] == {}
        rows = list(store.subset(split))
        assert len(found) == len(rows) == {"train": 6, "val": 2}[split]
        for item, row in zip(found, rows, strict=True):
            assert item.size_hw == row.size_hw
            masks = PolygonSegmenter().segment(None, item_of(item))
            assert tuple(mask.rle for mask in masks) == row.rles
            names = [store.classes.names[i].replace(" ", "-") for i in row.box_labels]
            assert [entry.name for entry in item.instances] == names
            np.testing.assert_allclose(rotated_boxes(item.objects), row.rboxes, atol=5e-3)
            boxes = [entry.box_xyxy for entry in item.instances]
            np.testing.assert_array_equal(np.reshape(boxes, (-1, 4)), row.boxes)
            labels = ImageLabels(item.image, item.size_hw, semantic=item.semantic)
            want = semantic_map(row, store.image_root)
            np.testing.assert_array_equal(semantic_map(labels, tmp_path), want)
            with (
                Image.open(tmp_path / item.image) as have,
                Image.open(store.image_root / row.image) as original,
            ):
                assert have.format == "PNG"
                np.testing.assert_array_equal(np.asarray(have), np.asarray(original))
    content = json.loads((tmp_path / layout.instances["train"]).read_text())
    assert [entry["id"] for entry in content["annotations"]] == list(
        range(len(content["annotations"]))
    )
    assert len((tmp_path / "trainval/valid.txt").read_text().split()) == 2
    assert not (tmp_path / layout.instances["test"]).exists()


def item_of(item):
    return dataclasses.replace(item, objects=item.instances, instances=None)


def test_one_split_as_coco(store, tmp_path):
    export_store(store.path, "coco", tmp_path / "out", split="val")
    coco = COCO(str(tmp_path / "out/instances.json"))
    rows = list(store.subset("val"))
    assert len(coco.getImgIds()) == len(rows)
    assert len(coco.getAnnIds()) == sum(len(row.boxes) for row in rows)


def test_images_in_folders_get_names_of_their_own(tmp_path):
    for name in ("a/x.png", "b/x.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("L", (9, 9), 7).save(tmp_path / name)
    empty = {
        "boxes": np.zeros((0, 4), np.float32), "box_labels": np.zeros(0, np.int64), "rles": (),
        "rboxes": np.zeros((0, 5), np.float32), "rbox_labels": np.zeros(0, np.int64),
    }  # fmt: skip
    rows = [ImageLabels(name, (9, 9), **empty) for name in ("a/x.png", "b/x.png")]
    write_store(tmp_path / "store", rows, info(tmp_path))
    export_store(tmp_path / "store", "samrs", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out/trainval/images").iterdir()) == [
        "a_x.png", "b_x.png"
    ]  # fmt: skip
    export_store(tmp_path / "store", "dota", tmp_path / "dota")
    assert (tmp_path / "dota/labelTxt/b/x.txt").is_file()


def test_what_cannot_be_exported(store, tmp_path):
    with pytest.raises(ValueError, match="unknown export format 'yolo'; known: coco, dota, samrs"):
        export_store(store.path, "yolo", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="is not empty: give a new folder"):
        export_store(store.path, "dota", tmp_path / "full")
    with pytest.raises(FileNotFoundError, match="holds no label store"):
        export_store(tmp_path, "dota", tmp_path / "out")
    bare = [ImageLabels("a.png", (5, 5))]
    write_store(tmp_path / "bare", bare, info(tmp_path))
    for form, complaint in (
        ("dota", "a.png has no rotated boxes"), ("samrs", "a.png has no masks"),
        ("semantic", "a.png has no semantic labels"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=complaint):
            export_store(tmp_path / "bare", form, tmp_path / form)
