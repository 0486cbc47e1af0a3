"""Which images are trained on."""

import itertools
from collections import Counter

import numpy as np
import pytest

from geomtp.labels import ImageLabels, write_store
from geomtp.training.finetune_data import labelled_part, labelled_parts, train_share
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
