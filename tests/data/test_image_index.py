"""The index of image files: what it finds, in which order, and what it keeps in memory."""

import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from geomtp.data import image_index
from geomtp.data.image_index import ImageIndex, build_index, roots_of
from geomtp.labels import ImageLabels, StoreInfo, write_store
from geomtp.types import ClassMap


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def names_of(index, folder):
    return [
        path.relative_to(folder).as_posix() for path in map(index.__getitem__, range(len(index)))
    ]


def test_images_of_nested_folders_are_found_in_order(tmp_path):
    data = tmp_path / "data"
    touch(data, "b/deep/er/2.TIF", "b/1.png", "a.jpeg", "b/ä ö.jpg", "c/3.tiff", "10.bmp", "9.jp2")
    touch(data, "notes.txt", "b/1.png.aux.xml", ".hidden/5.png", "b/._1.png")
    index = build_index([data], tmp_path / "index")
    expected = ["10.bmp", "9.jp2", "a.jpeg", "b/1.png", "b/deep/er/2.TIF", "b/ä ö.jpg", "c/3.tiff"]
    assert names_of(index, data) == expected
    assert len(index) == 7
    with pytest.raises(IndexError):
        index[7]


def test_several_folders_lists_and_stores(tmp_path):
    touch(tmp_path, "one/1.png", "two/2.tif", "two/x/3.jpg", "listed/4.odd", "far/5.png")
    (tmp_path / "list.txt").write_text(
        f"# a comment\nlisted/4.odd\n\n{tmp_path / 'far/5.png'}\nlisted/4.odd\n",
        encoding="utf-8-sig",  # as editors of Windows write it
    )
    info = StoreInfo("made", ClassMap(("ship",)), tmp_path / "two", (0.0,) * 3, (1.0,) * 3)
    rows = [ImageLabels("x/3.jpg", (4, 4)), ImageLabels("2.tif", (4, 4), split="val")]
    write_store(tmp_path / "store", rows, info)
    sources = [tmp_path / "two", tmp_path / "list.txt", tmp_path / "one", tmp_path / "store"]
    index = build_index(sources, tmp_path / "index")
    assert names_of(index, tmp_path) == [
        "two/2.tif", "two/x/3.jpg", "far/5.png", "listed/4.odd", "one/1.png", "two/x/3.jpg",
    ]  # fmt: skip


def test_links_are_followed_but_not_in_circles(tmp_path):
    touch(tmp_path, "data/a/1.png", "elsewhere/2.png")
    os.symlink(tmp_path / "elsewhere", tmp_path / "data/link")
    os.symlink(tmp_path / "data", tmp_path / "data/a/circle")
    index = build_index([tmp_path / "data"], tmp_path / "index")
    assert names_of(index, tmp_path / "data") == ["a/1.png", "link/2.png"]


@pytest.mark.parametrize("at_once", [1, 3, 7, 100])
def test_sorting_in_pieces_is_sorting(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(image_index, "_SORTED_AT_ONCE", at_once)
    rng = np.random.default_rng(0)
    names = [f"{number}.png" for number in rng.integers(0, 30, 40)]
    (tmp_path / "list.txt").write_text("\n".join(names))
    index = build_index([tmp_path / "list.txt"], tmp_path / "index")
    assert names_of(index, tmp_path) == sorted(set(names))
    assert sorted(p.name for p in (tmp_path / "index").iterdir()) == [
        "ends.bin", "index.json", "paths.bin",
    ]  # fmt: skip


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, monkeypatch):
    monkeypatch.setattr(image_index, "_SORTED_AT_ONCE", 2_000)
    count = 60_000
    with (tmp_path / "list.txt").open("w") as file:
        file.writelines(f"folder/{(i * 7919) % count:09d}/image.png\n" for i in range(count))
    tracemalloc.start()
    index = build_index([tmp_path / "list.txt"], tmp_path / "index")
    assert index[count - 1] == tmp_path / f"folder/{count - 1:09d}/image.png"
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(index) == count
    assert peak < 2_000_000  # the names alone, as bytes objects, would be 4.1 MB
    assert len(pickle.dumps(index)) < 1000


def test_data_may_move(tmp_path):
    touch(tmp_path, "here/1.png", "here/2.png")
    build_index([tmp_path / "here"], tmp_path / "index")
    (tmp_path / "here").rename(tmp_path / "there")
    index = ImageIndex(tmp_path / "index", roots_of([tmp_path / "there"]))
    assert [path.is_file() for path in (index[0], index[1])] == [True, True]
    again = pickle.loads(pickle.dumps(index))
    assert (len(again), again[1]) == (2, tmp_path / "there/2.png")
    with pytest.raises(ValueError, match="was made of 1 folders or lists, found 2"):
        ImageIndex(tmp_path / "index", [tmp_path, tmp_path])


def test_images_are_spread_evenly(tmp_path):
    (tmp_path / "list.txt").write_text("\n".join(f"{i:02d}.png" for i in range(10)))
    index = build_index([tmp_path / "list.txt"], tmp_path / "index")
    assert index.spread(2) == [2, 7]
    assert index.spread(99) == list(range(10))


def test_mistakes_are_told_in_a_sentence(tmp_path):
    touch(tmp_path, "empty/readme.md", "file.dat", "break/a\nb.png")
    for source, error, message in (
        ("gone", FileNotFoundError, "gone does not exist: expected a folder of images, a label st"),
        ("empty", ValueError, "empty holds no images: expected files ending in .png, .jpg"),
        ("file.dat", ValueError, "neither a folder nor a list of images"),
        ("break", ValueError, "has a line break in its name"),
    ):
        with pytest.raises(error, match=message):
            build_index([tmp_path / source], tmp_path / "index")
        assert not (tmp_path / "index/index.json").exists()


def test_a_damaged_index_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "1.png")
    with pytest.raises(FileNotFoundError, match="holds no image index"):
        ImageIndex(tmp_path / "index")
    build_index([tmp_path], tmp_path / "index")
    file = tmp_path / "index/index.json"
    info = json.loads(file.read_text())
    file.write_text(json.dumps({**info, "images": 5}))
    with pytest.raises(OSError, match="is damaged"):
        ImageIndex(tmp_path / "index")
    file.write_text("{")
    with pytest.raises(OSError, match="is damaged"):
        ImageIndex(tmp_path / "index")
