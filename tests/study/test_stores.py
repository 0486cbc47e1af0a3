"""The label stores of a study: made once, made anew when their data changes."""

import shutil
import threading

import pytest

from geomtp.data.folders import FolderStore
from geomtp.data.scenes import build_chips
from geomtp.labels import LabelStore
from geomtp.study import stores
from geomtp.study.stores import DataSet, StudyData
from tests.data.folders import layouts

SCENES = FolderStore("scene")


@pytest.fixture
def brought(tmp_path):
    build_chips(tmp_path / "data" / "chips", train=4, val=2, size_px=32)
    layouts.class_folders(tmp_path / "data" / "photos")
    return StudyData(tmp_path / "data", tmp_path / "stores")


def test_every_kind_of_data_becomes_a_store(brought, monkeypatch):
    monkeypatch.setitem(
        stores.DRAWN, "embedded_chips", lambda out: build_chips(out, train=2, val=1)
    )
    said = []
    for data, count in (
        (DataSet.named("chips", None, SCENES), 6),
        (DataSet.named("photos", None, SCENES), None),
        (DataSet.named("embedded_chips", None, SCENES), 3),
    ):
        brought.prepare(data, said.append)
        brought.prepare(data, said.append)
        assert count in (None, len(brought.store(data)))
        assert len(brought.fingerprint(data)) == 64
    assert said == [
        "chips: reading labels", "photos: reading labels", "embedded_chips: drawing",
    ]  # fmt: skip
    assert brought.place(DataSet.named("photos", None, SCENES)).name == "photos-scene"
    assert brought.place(DataSet.named("chips", None, SCENES)).name == "chips"


def test_folders_are_read_as_fine_tuning_is_told_to(brought, tmp_path):
    layouts.masked_images(tmp_path / "data" / "roofs")
    usual = DataSet.named("roofs", None, FolderStore("semantic"))
    told = DataSet.named("roofs", None, FolderStore("semantic", ("roof",), 0.5, 1))
    for data in (usual, told):
        brought.prepare(data, lambda text: None)
    assert brought.place(usual) != brought.place(told)
    assert usual == DataSet("roofs", None, "semantic")
    counts = [len(brought.store(data).subset("val")) for data in (usual, told)]
    assert counts[0] < counts[1]
    assert brought.store(told).classes.names == ("roof",)
    assert (len(brought.store(usual).mean), len(brought.store(told).mean)) == (3, 1)


def test_data_that_changed_is_read_anew_and_moved_data_has_its_fingerprint(brought, tmp_path):
    chips = DataSet.named("chips", None, SCENES)
    brought.prepare(chips, lambda text: None)
    before = brought.fingerprint(chips)
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    moved, said = StudyData(tmp_path / "moved", brought.stores), []
    moved.prepare(chips, said.append)
    assert (said, moved.fingerprint(chips)) == (["chips: reading labels"], before)
    assert moved.store(chips).image_root.is_relative_to(tmp_path / "moved")
    build_chips(tmp_path / "moved" / "chips", train=5, val=2, size_px=32)
    moved.prepare(chips, said.append)
    assert len(moved.store(chips)) == 7
    assert moved.fingerprint(chips) != before


def test_of_several_processes_one_makes_the_store(tmp_path, monkeypatch):
    monkeypatch.setattr(stores, "_WAIT_S", 0.01)
    made = []

    def slowly(out):
        made.append(threading.get_ident())
        return build_chips(out, train=2, val=1)

    monkeypatch.setitem(stores.DRAWN, "embedded_chips", slowly)
    data = StudyData(None, tmp_path)
    workers = [
        threading.Thread(target=data.prepare, args=(DataSet("embedded_chips"), lambda text: None))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 1
    assert len(data.store(DataSet("embedded_chips"))) == 3


def test_images_of_masked_autoencoding(brought, tmp_path):
    names = ["photos", "embedded_town"]
    assert brought.image_sources(names) == [
        tmp_path / "data" / "photos", tmp_path / "stores" / "embedded_town",
    ]  # fmt: skip
    brought.stores.mkdir()
    before = brought.unlabelled_fingerprint(["photos"], ())
    assert brought.unlabelled_fingerprint(["photos"], ()) == before
    shutil.copytree(tmp_path / "data", tmp_path / "moved")
    moved = StudyData(tmp_path / "moved", brought.stores)
    assert moved.unlabelled_fingerprint(["photos"], ()) == before
    one = next((tmp_path / "data" / "photos").rglob("*.png")).resolve()
    with pytest.raises(ValueError, match="is an image that fine-tuning is scored on, and 1 of the"):
        brought.unlabelled_fingerprint(["photos"], {one})
    one.unlink()
    assert brought.unlabelled_fingerprint(["photos"], ()) != before


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (DataSet("gone"), FileNotFoundError, "needs the folder 'gone' below --data"),
        (DataSet("photos"), ValueError, "holds no label store, and 'photos' is none of sota"),
        (DataSet("photos", "eurosats"), ValueError, "unknown source 'eurosats'; known: sota"),
    ],
)
def test_data_that_cannot_be_had_is_one_sentence(brought, data, error, message):
    with pytest.raises(error, match=message):
        brought.prepare(data, lambda text: None)
    with pytest.raises(error, match=message):  # its claim was given back
        brought.prepare(data, lambda text: None)
    assert isinstance(LabelStore.open(brought.brought / "chips"), LabelStore)
