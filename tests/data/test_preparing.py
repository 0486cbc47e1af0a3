"""`geomtp data`: preparing, going on after an interruption, and what it refuses."""

import pytest

from geomtp.cli import main
from geomtp.data import preparing
from geomtp.data.sources import PUBLIC, change_patches
from geomtp.labels import LabelStore
from tests.data.sources.public_layouts import LAYOUTS


def test_the_list_and_the_cards(capsys):
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PUBLIC) == list(LAYOUTS)
    assert main(["data", "list", "dior"]) == 0
    assert "- licence: research only" in capsys.readouterr().out
    assert main(["data", "list", "dota"]) == 1
    assert "unknown data set 'dota'; known: eurosat" in capsys.readouterr().err


def test_a_set_is_prepared_and_again_with_other_tiles(tmp_path, capsys):
    root = LAYOUTS["dota_v1"](tmp_path / "data")
    words = ["data", "prepare", "dota_v1", "--from", str(root), "--out"]
    assert main([*words, str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "dota_v1: 3 images (train 1, val 1, test 1), 3 channels" in said
    assert f"store: {tmp_path / 'out'}" in said
    tiles = ["--tile", "128", "--gap", "28", "--rates", "1,0.5"]
    assert main([*words, str(tmp_path / "small"), *tiles]) == 0
    store = LabelStore.open(tmp_path / "small")
    assert {row.image.split("__")[1] for row in store} == {"128", "256"}
    assert main([*words, str(tmp_path / "all"), *tiles, "--empty-tiles", "all"]) == 0
    assert len(LabelStore.open(tmp_path / "all")) > len(store)
    assert (
        main(["data", "prepare", "dior", "--from", "a", "--out", "b", "--empty-tiles", "all"]) == 1
    )
    assert "dior is not cut into tiles" in capsys.readouterr().err


def test_an_interrupted_preparation_goes_on(tmp_path, monkeypatch):
    root = LAYOUTS["levir_cd"](tmp_path / "data")
    written = []
    write = change_patches.write_picture

    def interrupted(path, pixels):
        if len(written) == 15:
            raise KeyboardInterrupt
        write(path, pixels)
        written.append(path)

    monkeypatch.setattr(change_patches, "write_picture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        preparing.prepare("levir_cd", root, tmp_path / "out")
    assert not (tmp_path / "out/store.json").exists()
    first = {path: path.stat().st_mtime_ns for path in written[:12]}  # of the first pair
    written[:] = []
    monkeypatch.setattr(
        change_patches, "write_picture", lambda *a: (written.append(a[0]), write(*a))
    )
    preparing.prepare("levir_cd", root, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in first} == first
    assert 0 < len(written) < 36
    assert len(LabelStore.open(tmp_path / "out")) == 12


def test_what_is_refused(tmp_path):
    root = LAYOUTS["dior"](tmp_path / "data")
    with pytest.raises(ValueError, match=r"dior is not cut into tiles .* dota_v1, dota_v2"):
        preparing.prepare("dior", root, tmp_path / "out", size_px=512)
    with pytest.raises(ValueError, match="must lie outside of --from"):
        preparing.prepare("dior", root, root / "out")
    preparing.prepare("dior", root, tmp_path / "out")
    with pytest.raises(ValueError, match="holds the label store of 'dior'"):
        preparing.prepare("dior_r", root, tmp_path / "out")
    tiled = LAYOUTS["dota_v1"](tmp_path / "dota")
    with pytest.raises(ValueError, match="the gap of tiles must be"):
        preparing.prepare("dota_v1", tiled, tmp_path / "tiles", size_px=128, gap_px=128)


def test_corrupt_images_are_told_or_left_out(tmp_path):
    root = LAYOUTS["dior"](tmp_path / "data")
    image = root / "JPEGImages-trainval/00001.jpg"
    image.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"images that could not be read: 1 \(.*00001"):
        preparing.prepare("dior", root, tmp_path / "out")
    assert not (tmp_path / "out/store.json").exists()
    said = preparing.prepare("dior", root, tmp_path / "out", skip_bad=True)
    assert "2 images (train 0, val 1, test 1)" in said
    assert "damaged image 1" in said
    pairs = LAYOUTS["levir_cd"](tmp_path / "pairs")
    whole = (pairs / "train/A/train_1.png").read_bytes()
    (pairs / "train/A/train_1.png").write_bytes(whole[: len(whole) // 2])  # the header is sound
    with pytest.raises(OSError, match=r"train_1\.png"):
        preparing.prepare("levir_cd", pairs, tmp_path / "patches")
