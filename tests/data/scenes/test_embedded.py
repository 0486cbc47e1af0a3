from __future__ import annotations

import dataclasses

import numpy as np
import torch
from PIL import Image

from geomtp.data.scenes import (
    EMBEDDED,
    SCENE_CLASSES,
    build_chips,
    build_pairs,
    change_pair,
    draw_scene,
    labels_of_scene,
)
from geomtp.data.scenes.scene import GSD_M
from geomtp.geometry import decode_rle, mask_boxes
from geomtp.labels import LabelStore, semantic_map
from geomtp.rasters import raster_info, read_window


def small(name, **changes):
    return dataclasses.replace(EMBEDDED[name], train=3, val=2, size_px=128, **changes)


def test_store_of_a_source_holds_the_scene(tmp_path):
    source = small("embedded_town", seed=2)
    store = source.build(None, tmp_path / "town")
    assert (len(store), store.source) == (5, "embedded_town")
    assert len(store.subset("val")) == 2
    scene = draw_scene("town", 128, 2_000_001)
    row = store.subset("train")[1]
    np.testing.assert_array_equal(read_window(store.image_root / row.image), scene.image)
    np.testing.assert_array_equal(row.rboxes, scene.rboxes)
    masks = decode_rle(row.rles, row.size_hw)
    np.testing.assert_array_equal(masks.numpy(), scene.masks)
    torch.testing.assert_close(torch.from_numpy(row.boxes.copy()), mask_boxes(masks))
    np.testing.assert_array_equal(semantic_map(row, store.image_root), scene.semantic)


def test_train_and_val_show_different_scenes(tmp_path):
    store = small("embedded_harbour").build(tmp_path / "images", tmp_path / "store")
    assert store.image_root == tmp_path / "images"
    images = [read_window(store.image_root / row.image).tobytes() for row in store]
    assert len(set(images)) == 5


def test_georeferenced_images_lie_apart_in_utm(tmp_path):
    store = small("embedded_airfield", georeference=True).build(None, tmp_path)
    infos = [raster_info(store.image_root / row.image) for row in store]
    corners = []
    for info in infos:
        assert info.georeference is not None
        assert info.georeference.crs == "EPSG:32636"
        a, b, east, d, e, north = info.georeference.transform
        assert (a, b, d, e) == (GSD_M, 0, 0, -GSD_M)
        corners.append((east, north))
    assert len(set(corners)) == 5
    scene = draw_scene("airfield", 128, 0)
    np.testing.assert_array_equal(read_window(store.image_root / store[0].image), scene.image)


def test_a_field_without_objects_gives_empty_labels():
    row = labels_of_scene(draw_scene("farmland", 64, 0, classes=("ship",)), "field.png")
    assert row.boxes.shape == (0, 4)
    assert row.rboxes.shape == (0, 5)
    assert row.rles == ()


def test_class_lists_share_some_names_and_not_others():
    names = [set(source.classes.names) for source in EMBEDDED.values()]
    assert set.intersection(*names) == {"building", "vehicle"}
    assert all(own - set.union(*(n for n in names if n is not own)) for own in names)


def test_pair_store_has_two_dates_and_what_changed(tmp_path):
    store = build_pairs(tmp_path, train=3, val=2, size_px=64)
    assert [row.split for row in store] == ["train"] * 3 + ["val"] * 2
    pair = change_pair("town", 64, 500_001)  # the second one of validation
    row = store[4]
    assert row.image_after is not None
    for name, expected in (
        (row.image, pair.before), (row.image_after, pair.after), (row.change, pair.change),
    ):  # fmt: skip
        np.testing.assert_array_equal(np.asarray(Image.open(store.image_root / name)), expected)
    assert (store.classes.names, row.semantic, row.boxes) == (("changed",), None, None)


def test_chip_store_has_scene_classes_only(tmp_path):
    store = build_chips(tmp_path, train=7, val=6, size_px=32)
    opened = LabelStore.open(tmp_path)
    assert opened.classes.names == SCENE_CLASSES
    assert [row.scene_class for row in store.subset("train")] == [0, 1, 2, 3, 4, 5, 0]
    assert store[0].boxes is None
