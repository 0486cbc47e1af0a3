"""Fingerprints: the same for the same content, wherever it lies; another for any change."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from geomtp.data.scenes import build_chips
from geomtp.labels import LabelStore
from geomtp.labels.store.label_store import write_store
from geomtp.study.fingerprints import (
    folder_state,
    images_fingerprint,
    settings_hash,
    store_fingerprint,
)


@pytest.fixture
def chips(tmp_path):
    build_chips(tmp_path / "chips", train=3, val=2, size_px=32)
    return tmp_path / "chips"


def test_settings_have_one_hash_whatever_their_order():
    assert settings_hash({"a": 1, "b": (1, 2)}) == settings_hash({"b": [1, 2], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})
    assert settings_hash({"a": Path("x")}) == settings_hash({"a": "x"})


def test_a_store_elsewhere_has_the_same_fingerprint(chips, tmp_path):
    before = store_fingerprint(LabelStore.open(chips))
    shutil.copytree(chips, tmp_path / "copy")
    assert store_fingerprint(LabelStore.open(tmp_path / "copy")) == before
    store = LabelStore.open(chips)
    written = write_store(tmp_path / "anew", store, store.info)
    assert store_fingerprint(written) == before


@pytest.mark.parametrize("change", ["label", "split", "class", "mean", "pixel"])
def test_any_change_of_a_store_changes_it(chips, tmp_path, change):
    store = LabelStore.open(chips)
    before = store_fingerprint(store)
    rows, info = list(store), store.info
    if change == "label":
        rows[0] = dataclasses.replace(rows[0], scene_class=3)
    elif change == "split":
        rows[0] = dataclasses.replace(rows[0], split="test")
    elif change == "class":
        names = ("other", *info.classes.names[1:])
        info = dataclasses.replace(info, classes=dataclasses.replace(info.classes, names=names))
    elif change == "mean":
        info = dataclasses.replace(info, mean=(1.0, 2.0, 3.0))
    else:
        path = store.image_root / rows[0].image
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert store_fingerprint(write_store(tmp_path / "changed", rows, info)) != before


def test_boxes_count(tmp_path):
    (tmp_path / "a.png").write_bytes(b"x")
    from geomtp.labels import ImageLabels, StoreInfo
    from geomtp.types import ClassMap

    info = StoreInfo("a", ClassMap(("x",)), tmp_path, (1.0,), (1.0,))
    found = set()
    for x in (1, 2):
        box = np.array([[0, 0, x, 3]], np.float32)
        row = ImageLabels("a.png", (4, 4), boxes=box, box_labels=np.zeros(1, np.int64))
        found.add(store_fingerprint(write_store(tmp_path / f"s{x}", [row], info)))
    assert len(found) == 2


def test_large_images_are_known_by_their_ends(tmp_path):
    size = 300_000

    def fingerprint(place):
        content = bytearray(size)
        if place is not None:
            content[place] = 1
        (tmp_path / "a").write_bytes(content)
        return images_fingerprint([("a", tmp_path / "a")])

    plain = fingerprint(None)
    assert fingerprint(0) != plain
    assert fingerprint(size - 1) != plain
    assert fingerprint(size // 2) == plain  # the price of not reading all
    assert images_fingerprint([("b", tmp_path / "a")]) != plain


def test_the_state_of_a_folder_tells_of_changes(tmp_path):
    folder = tmp_path / "data"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "a.txt").write_text("a")
    before = folder_state(folder)
    assert folder_state(folder) == before
    os.utime(folder / "deep" / "a.txt", (0, 0))
    touched = folder_state(folder)
    (folder / "b.txt").write_text("b")
    assert len({before, touched, folder_state(folder)}) == 3
