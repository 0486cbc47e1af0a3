import os

import pytest

from geomtp.labels import ImageLabels, ReadNotes, StoreWriter
from geomtp.labels.engine.shards import read_shard, write_shard
from geomtp.labels.store.label_store import LabelStore
from tests.labels.layouts import info
from tests.labels.store.test_label_store import EMPTY, FULL, UNLABELLED, assert_same


def test_a_shard_becomes_rows_of_a_store(tmp_path):
    notes = ReadNotes()
    notes.left_out("degenerate", "x", "flat")
    write_shard(tmp_path / "0.arrow", [FULL, UNLABELLED], 2, notes, [("bad.png", "cut off")])
    write_shard(tmp_path / "1.arrow", [], 2, ReadNotes(), [])
    write_shard(tmp_path / "2.arrow", [EMPTY], 2, ReadNotes(), [])
    shards = [read_shard(tmp_path / f"{i}.arrow") for i in range(3)]
    assert shards[0].bad == (("bad.png", "cut off"),)
    assert shards[0].notes == notes.content()
    with StoreWriter(tmp_path / "store", info(tmp_path)) as writer:
        writer.add(EMPTY)
        for shard in shards:
            for batch in shard.batches:
                writer.add_batch(batch)
        writer.add(FULL)
    store = LabelStore.open(tmp_path / "store")
    for have, want in zip(store, [EMPTY, FULL, UNLABELLED, EMPTY, FULL], strict=True):
        assert_same(have, want)
    assert len(store.subset("val")) == 2


def test_what_is_no_whole_shard_is_none(tmp_path):
    path = tmp_path / "0.arrow"
    assert read_shard(path) is None
    write_shard(path, [FULL], 2, ReadNotes(), [])
    content = path.read_bytes()
    for part in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:part])
        assert read_shard(path) is None


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    row = ImageLabels("../a.png", (1, 1))
    with pytest.raises(ValueError, match="below the image folder"):
        write_shard(tmp_path / "0.arrow", [row], 2, ReadNotes(), [])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        write_shard(tmp_path / "0.arrow", [FULL], 2, ReadNotes(), [])
    assert list(tmp_path.iterdir()) == []
