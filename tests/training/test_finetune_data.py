"""Which images are trained on."""

import dataclasses
import itertools
from collections import Counter

import numpy as np
import pytest

from geomtp.labels import ImageLabels, write_store
from geomtp.training.configs import FineTune
from geomtp.training.finetune import _data
from geomtp.training.finetune_data import (
    build_fine_tune_store,
    check_masks,
    labelled_part,
    labelled_parts,
    open_fine_tune_store,
    train_share,
    with_objects,
)
from geomtp.training.run_folder import RunFolder
from tests.labels.layouts import info


def scenes(tmp_path, counts=(40, 20, 10)):
    rows = [
        ImageLabels(f"{k}/{i}.png", (8, 8), scene_class=k)
        for k, count in enumerate(counts)
        for i in range(count)
    ]
    return write_store(tmp_path / "store", rows, info(tmp_path, "a", "b", "c"))


def images(store):
    return {row.image for row in store}


def test_smaller_shares_lie_within_larger_ones(tmp_path):
    store = scenes(tmp_path)
    shares = [train_share(store, fraction=f, seed=3) for f in (0.1, 0.3, 0.5, 1.0)]
    assert [len(share) for share in shares] == [7, 21, 35, 70]
    for small, large in itertools.pairwise(shares):
        assert images(small) < images(large)
    assert images(train_share(store, limit=7, seed=3)) == images(shares[0])
    assert images(train_share(store, fraction=0.5, limit=21, seed=3)) == images(shares[1])
    assert len(train_share(store, limit=1000)) == 70
    assert len(train_share(store, fraction=0.001)) == 1


def test_classes_keep_their_proportions_and_seeds_differ(tmp_path):
    store = scenes(tmp_path)
    for seed in range(3):
        counts = Counter(row.scene_class for row in train_share(store, fraction=0.1, seed=seed))
        assert counts == {0: 4, 1: 2, 2: 1}
    first, second = (images(train_share(store, fraction=0.5, seed=s)) for s in (0, 1))
    assert first != second
    assert first == images(train_share(store, fraction=0.5, seed=0))


def test_images_without_labels_of_the_task_are_left_out(tmp_path):
    empty = np.zeros((0, 5), np.float32)
    rows = [
        ImageLabels("a.png", (8, 8), rboxes=empty, rbox_labels=np.zeros(0, np.int64)),
        ImageLabels("b.png", (8, 8), scene_class=0),
        ImageLabels("c.png", (8, 8), "test", image_after="d.png", change="e.png"),
    ]
    store = write_store(tmp_path / "store", rows, info(tmp_path))
    assert images(labelled_part(store, "train", "rotated")) == {"a.png"}
    assert images(labelled_part(store, "train", "scene")) == {"b.png"}
    assert images(labelled_part(store, "test", "change")) == {"c.png"}
    with pytest.raises(ValueError, match="the 'train' images of test have no labels for 'change'"):
        labelled_part(store, "train", "change")
    with pytest.raises(ValueError, match=r"no images in its 'val' split, only train \(2\), test"):
        labelled_part(store, "val", "scene")


def test_several_splits_are_trained_on_together(tmp_path):
    rows = [
        ImageLabels(f"{split}.png", (8, 8), split, scene_class=None if split == "test" else 0)
        for split in ("train", "val", "test")
    ]
    store = write_store(tmp_path / "store", rows, info(tmp_path, "a"))
    assert images(labelled_parts(store, ("train", "val"), "scene")) == {"train.png", "val.png"}
    assert images(labelled_parts(store, ("val",), "scene")) == {"val.png"}
    assert images(labelled_parts(store, ("val", "test"), "scene")) == {"val.png"}
    with pytest.raises(ValueError, match="no images for 'change' in train or val"):
        labelled_parts(store, ("train", "val"), "change")


def test_images_without_objects_are_left_out_where_asked_for(tmp_path):
    none, one = np.zeros((0, 5), np.float32), np.array([[4, 4, 4, 2, 0]], np.float32)
    ids = np.zeros(0, np.int64), np.zeros(1, np.int64)
    rows = [
        ImageLabels("empty.png", (8, 8), rboxes=none, rbox_labels=ids[0]),
        ImageLabels("turned.png", (8, 8), rboxes=one, rbox_labels=ids[1]),
        ImageLabels("upright.png", (8, 8), boxes=one[:, :4], box_labels=ids[1]),
        ImageLabels("none.png", (8, 8), boxes=none[:, :4], box_labels=ids[0]),
    ]
    store = write_store(tmp_path / "store", rows, info(tmp_path))
    assert images(with_objects(store, "rotated")) == {"turned.png"}
    assert images(with_objects(store, "horizontal")) == {"upright.png"}
    with pytest.raises(ValueError, match="no image of test has an object of 'rotated' to train on"):
        with_objects(store.rows([0, 3]), "rotated")
    said = []
    for only in (False, True):
        config = FineTune(task="rotated", validation_split="train", objects_only=only)
        _data(config, store, said.append)
    assert said == [
        "trained on 2 images, scored on 2",
        "trained on 1 images, scored on 2",  # all are scored
    ]
    with pytest.raises(ValueError, match="'scene' is learned without objects"):
        FineTune(task="scene", objects_only=True)


def test_some_classes_of_a_store_are_learned(tmp_path):
    store = scenes(tmp_path)
    config = FineTune(task="scene", data=store.path, classes=("c", "b"), out=tmp_path / "run")
    folder, said = RunFolder(config.out), []
    build_fine_tune_store(config, folder, said.append)
    chosen = open_fine_tune_store(config, folder)
    assert chosen.classes.names == ("c", "b")
    assert Counter(row.scene_class for row in chosen) == {0: 10, 1: 20}
    assert said[0].startswith("test: 70 images")
    assert said[1].startswith("of these test: 30 images")
    assert len(open_fine_tune_store(FineTune(task="scene", data=store.path), folder)) == 70
    with pytest.raises(ValueError, match="unknown class 'd'; known: a, b, c"):
        build_fine_tune_store(dataclasses.replace(config, classes=("d",)), folder, said.append)


def test_boxes_without_masks_are_no_instances(tmp_path):
    boxes = {"boxes": np.zeros((0, 4), np.float32), "box_labels": np.zeros(0, np.int64)}
    rows = [ImageLabels("a.png", (8, 8), **boxes), ImageLabels("b.png", (8, 8), **boxes, rles=())]
    check_masks(write_store(tmp_path / "masks", rows, info(tmp_path)))
    with pytest.raises(ValueError, match="of test have boxes but no masks: learn the boxes by the"):
        check_masks(write_store(tmp_path / "boxes", rows[:1], info(tmp_path)))
