"""Annotation files with random damage: read, or refused in a sentence; never anything else."""

import json
import random

import pytest

from geomtp.labels import BoxSegmenter, ImageLabels, build_store, classes_in, read_annotations
from geomtp.labels import semantic_map as paint
from geomtp.rasters import tile_georeference
from tests.labels.layouts import image, info, text
from tests.labels.test_coco import RLE, coco
from tests.labels.test_dota import LINES
from tests.labels.test_geojson import TILE, collection, feature, square
from tests.labels.test_xml_files import DIOR_OBJECT, FAIR1M, annotation, voc_object

PLACE = tile_georeference(TILE)
FILES = {
    "dota": ("a.txt", LINES),
    "voc": ("a.xml", annotation(voc_object(), voc_object())),
    "dior": ("a.xml", annotation(DIOR_OBJECT, voc_object())),
    "fair1m": ("a.xml", FAIR1M),
    "coco": (
        "a.json",
        json.dumps(
            coco(
                [
                    {"bbox": [10, 20, 30, 40], "segmentation": [[0, 0, 10, 0, 10, 10]]},
                    {"bbox": [50, 60, 30, 10, 0.25], "category_id": 7},
                    {"segmentation": {"size": [100, 120], "counts": RLE.decode()}},
                ]
            )
        ),
    ),
    "geojson": (
        "a.geojson",
        json.dumps(collection(feature(PLACE, square(9, 9, 40), square(20, 20, 5)))),
    ),
}
WORDS = [
    b"nan",
    b"inf",
    b"-",
    b"1e400",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"\0",
    b"\xff",
    b"<",
    b"&x;",
    b"../",
]


def damaged(content, rng):
    """The content with a few bytes cut out, doubled, overwritten or replaced by a nasty word."""
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.randint(1, 12))
        middle = rng.choice(
            [b"", content[start:end] * 2, rng.randbytes(end - start), rng.choice(WORDS)]
        )
        content = content[:start] + middle + content[end:] or b"x"
    return content


@pytest.mark.parametrize("form", FILES)
def test_random_damage(tmp_path, form):
    name, content = FILES[form]
    image(tmp_path / "images/a.png", 100, 120)
    image(tmp_path / f"images/{TILE}.png", 256, 256)
    folder = tmp_path / "annotations"
    rng = random.Random(form)
    outcomes = set()
    for round_ in range(120):
        path = text(folder / name, damaged(content.encode(), rng))
        target = path if form in ("coco", "geojson") else folder
        try:
            found, notes = read_annotations(form, tmp_path / "images", target)
            about = info(tmp_path / "images", *classes_in(found).names)
            store, _ = build_store(found, BoxSegmenter(), about, tmp_path / f"{round_}", notes)
        except ValueError:
            outcomes.add("refused")
            continue
        outcomes.add("read")
        for row in store:
            assert isinstance(row, ImageLabels)
            assert paint(row, store.image_root).shape == row.size_hw
    assert outcomes == {"read", "refused"}
