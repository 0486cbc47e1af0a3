"""`geomtp data prepare NAME --download` with a pretended torchgeo."""

import inspect
import sys

import pytest

from geomtp.cli import main
from geomtp.data import downloading
from geomtp.data.downloading import DOWNLOADS, WITHOUT_DOWNLOAD
from geomtp.data.sources import PUBLIC
from geomtp.labels import LabelStore
from tests.data import pretended_torchgeo
from tests.data.pretended_torchgeo import CALLS, DATASETS, pretend

SPLITS = {  # of the stores: train, val, test
    "resisc45": (45, 180, 0), "fair1m": (2, 1, 1),
    "spacenet_v1": (5, 2, 0), "loveda": (1, 1, 1), "oscd": (6, 0, 1), "levir_cd": (4, 4, 4),
}  # fmt: skip


def test_every_public_set_is_told_of():
    assert set(DOWNLOADS) | set(WITHOUT_DOWNLOAD) == set(PUBLIC)
    assert not set(DOWNLOADS) & set(WITHOUT_DOWNLOAD)
    assert {how.dataset for how in DOWNLOADS.values()} == {d.__name__ for d in DATASETS}


@pytest.mark.parametrize("name", DOWNLOADS)
def test_what_torchgeo_leaves_behind_is_prepared(name, tmp_path, monkeypatch, capsys):
    pretend(monkeypatch)
    words = ["--from", str(tmp_path / "raw"), "--out", str(tmp_path / "store")]
    done = main(["data", "prepare", name, "--download", *words])
    said = capsys.readouterr()
    assert done == 0, said.err
    assert [call[1] for call in CALLS] == list(DOWNLOADS[name].splits)
    assert all(checksum for *_, checksum in CALLS)
    store = LabelStore.open(tmp_path / "store")
    counts = tuple(len(store.subset(split)) for split in ("train", "val", "test"))
    if name.startswith("dota"):  # torchgeo has no test images
        assert (counts[0] > 0, counts[1] > 0, counts[2]) == (True, True, 0)
    else:
        assert counts == SPLITS[name]


def test_versions_of_dota_are_not_mixed(tmp_path, monkeypatch):
    pretend(monkeypatch)
    store = tmp_path / "store"
    words = ["--from", str(tmp_path / "raw"), "--out", str(store), "--rates", "1", "--gap", "0"]
    assert main(["data", "prepare", "dota_v2", "--download", *words]) == 0
    assert CALLS[0][0] == "DOTA 2.0"
    names = PUBLIC["dota_v2"].classes.names
    labels = {names[i] for row in LabelStore.open(store) for i in row.rbox_labels}
    assert labels == {"plane", "helipad"}


def test_without_a_word_nothing_is_downloaded(tmp_path, monkeypatch, capsys):
    pretend(monkeypatch)
    (tmp_path / "raw").mkdir()
    words = ["--from", str(tmp_path / "raw"), "--out", str(tmp_path / "store")]
    assert main(["data", "prepare", "loveda", *words]) == 1
    assert "does not hold 'loveda'" in capsys.readouterr().err
    assert CALLS == []


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("xview", "'xview' cannot be downloaded: torchgeo has xView2, which is another data set"),
        ("eurosat", "the recipe reads the RGB pictures; those that can: resisc45, fair1m"),
        ("gone", "unknown data set 'gone'; known: eurosat"),
    ],
)
def test_sets_that_cannot_be_had_so(name, sentence, tmp_path, monkeypatch, capsys):
    pretend(monkeypatch)
    words = ["--from", str(tmp_path / "raw"), "--out", str(tmp_path / "store")]
    assert main(["data", "prepare", name, "--download", *words]) == 1
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "raw").exists()


def test_without_torchgeo_and_with_a_failed_download(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    words = ["data", "prepare", "levir_cd", "--download", "--from", str(tmp_path / "raw")]
    words += ["--out", str(tmp_path / "store")]
    assert main(words) == 1
    assert 'pip install "geomtp[torchgeo]"' in capsys.readouterr().err

    def failed(self, *others, **named):
        raise RuntimeError("File not found or corrupted.\nmore")

    pretend(monkeypatch)
    monkeypatch.setattr(pretended_torchgeo.LEVIRCD, "__init__", failed)
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "torchgeo could not download 'levir_cd' (train) into " in said
    assert (
        "RuntimeError: File not found or corrupted.; it needs gdown; run the command again" in said
    )
    assert said.count("\n") == 1


@pytest.mark.parametrize("dataset", DATASETS)
def test_signatures_are_the_real_ones(dataset):
    """Where torchgeo is installed."""
    real = pytest.importorskip(downloading.TORCHGEO)
    theirs = inspect.signature(getattr(real, dataset.__name__).__init__).parameters
    assert list(inspect.signature(dataset.__init__).parameters) == list(theirs)
