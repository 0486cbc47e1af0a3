"""Annotation files made to do harm: read, or refused in a sentence; never anything else."""

import hashlib
import random
import time
from collections import Counter

import pytest

from geomtp.labels import (
    READERS,
    BoxSegmenter,
    ImageLabels,
    build_store,
    classes_in,
    read_annotations,
)
from geomtp.labels import semantic_map as paint
from geomtp.labels.engine.class_maps import read_class_map
from geomtp.labels.readers.yolo_obb import read_class_names
from geomtp.labels.tiles.tiling import Tiling, cut
from tests.labels.hostile_files import ATTACKS, damaged, good_files, hostile_files, write_images
from tests.labels.layouts import image, info, text

FILES = ("coco", "geojson", "geopackage", "xview")  # formats of one file, not of a folder
LONGEST_S = 10.0


@pytest.fixture
def place(tmp_path):
    """A folder with images, and beside it what no annotation file may reach."""
    write_images(tmp_path / "images")
    image(tmp_path / "outside/secret.png", 100, 120)
    text(tmp_path / "annotations/classes.txt", "plane\nship\n")
    return tmp_path


def use(form, place, path, out):
    """Read a file, write a store and tiles of what was read; None where it was refused."""
    target = path if form in FILES else path.parent
    found, notes = read_annotations(form, place / "images", target)
    about = info(place / "images", *classes_in(found).names)
    store, report = build_store(found, BoxSegmenter(), about, out / "store", notes)
    for row in store:
        assert isinstance(row, ImageLabels)
        assert not row.image.startswith("/")
        assert ".." not in row.image
        assert paint(row, store.image_root).shape == row.size_hw
    for item in found:
        cut(item, place / "images" / item.image, Tiling(128, 32), out / "tiles", notes)
    assert len(str(report)) < 10_000
    return report


def check_sentence(error):
    assert str(error).strip()
    assert len(str(error)) < 4_000


def contents(folder, but):
    """Every file below ``folder`` with its hash, those below ``but`` left out."""
    files = (p for p in folder.rglob("*") if p.is_file() and not p.is_relative_to(but))
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_every_format_is_attacked(place):
    assert set(good_files(place / "scratch")) == set(READERS)


def test_the_good_files_are_read(place):
    for form, (name, content) in good_files(place / "scratch").items():
        path = text(place / "annotations" / name, content)
        report = use(form, place, path, place / "out" / form)
        assert sum(number for _, number in report.objects) >= 2, form
        assert report.count("malformed") == 0, form
        path.unlink()


def test_200_hostile_files(place):
    """Each is read, counted in the notes or refused in a sentence; soon, and within its place."""
    outcomes = Counter()
    files = hostile_files(place / "scratch", 200, seed=20)
    assert {hostile.attack for hostile in files} == set(ATTACKS)
    for i, hostile in enumerate(files):
        path = text(place / "annotations" / hostile.name, hostile.content)
        before = contents(place, but=place / "out")
        began = time.process_time()
        try:
            report = use(hostile.form, place, path, place / "out" / str(i))
            outcomes["counted" if report.left_out else "read"] += 1
        except (ValueError, OSError) as error:
            check_sentence(error)
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"file {i}, {hostile.form}, {hostile.attack}") from error
        assert time.process_time() - began < LONGEST_S, f"file {i}"
        assert contents(place, but=place / "out") == before
        path.unlink()
    assert min(outcomes.values()) >= 10
    assert outcomes.total() == 200


@pytest.mark.parametrize("form", READERS)
def test_random_damage(place, form):
    name, content = good_files(place / "scratch")[form]
    whole = use(form, place, text(place / "annotations" / name, content), place / "out/whole")
    rng = random.Random(form)
    noticed = 0
    for i in range(40):
        path = text(place / "annotations" / name, damaged(content, rng))
        try:
            noticed += use(form, place, path, place / "out" / str(i)) != whole
        except (ValueError, OSError) as error:
            check_sentence(error)
            noticed += 1
    assert noticed >= 10  # the others fell on numbers, or where nobody reads


@pytest.mark.parametrize("name", ["map.yaml", "map.json", "classes.txt"])
def test_random_damage_of_names(tmp_path, name):
    content = {
        "map.yaml": b"names: {0: plane, 1: 'small ship', 2: &a car}\nx: [1, 2.5, *a, 2001-01-01]\n",
        "map.json": b'{"names": ["plane", "ship", "car"], "x": {"y": null}}',
        "classes.txt": b"plane\nship\ncar\n",
    }[name]
    rng = random.Random(name)
    read = 0
    for _ in range(150):
        path = text(tmp_path / name, damaged(content, rng))
        for reader in (read_class_names, read_class_map):
            try:
                read += len(reader(path)) > 0
            except ValueError as error:
                check_sentence(error)
    assert read > 0
