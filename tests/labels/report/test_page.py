import json
import re

import numpy as np
import pytest
from PIL import Image

from geomtp.geometry import encode_rle
from geomtp.labels import ImageLabels, ReadReport, write_store
from geomtp.labels.masks.quality import FLAGS
from geomtp.labels.report.figures import SIZE_EDGES_PX, figures_of
from geomtp.labels.report.page import FLAG_MEANINGS, write_report
from geomtp.labels.report.pictures import picture_of
from geomtp.rasters import write_raster
from geomtp.types import ClassMap
from tests.labels.layouts import info

SIZE = (60, 80)


def mask(x1, y1, x2, y2):
    dense = np.zeros((1, *SIZE), dtype=bool)
    dense[0, y1:y2, x1:x2] = True
    return encode_rle(dense)[0]


def row(name, boxes, ids, scores=None, coverage=None, flags=None, split="train"):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    angle = np.full((len(boxes), 1), np.radians(15), np.float32)
    return ImageLabels(
        name, SIZE, split, boxes, np.array(ids, np.int64),
        tuple(mask(*box) for box in boxes.astype(int).tolist()),
        np.concatenate([centre, sides, angle], axis=1), np.array(ids, np.int64),
        scores=None if scores is None else np.array(scores, np.float32),
        coverage=None if coverage is None else np.array(coverage, np.float32), flags=flags,
    )  # fmt: skip


ROWS = [
    row("a.png", [[10, 10, 30, 20], [40, 30, 70, 50]], [0, 1], [0.9, 0.5], [0.8, 0.5],
        ((), ("spill_cut", "holes"))),
    row("b.png", [[5, 5, 10, 10]], [1], [0.0], [0.1], (("low_coverage", "box_instead"),), "val"),
    row("<c>.png", [], [], [], [], ()),
]  # fmt: skip


@pytest.fixture
def store(tmp_path):
    for labels in ROWS:
        Image.new("RGB", (80, 60), (100, 110, 120)).save(tmp_path / labels.image)
    return write_store(tmp_path / "store", ROWS, info(tmp_path, "ship & co", "hut"))


def test_the_counts(store):
    figures = figures_of(store)
    assert (figures.images, figures.empty_images) == (3, 1)
    assert figures.splits == {"train": 2, "val": 1}
    assert (figures.instances, figures.rotated, figures.flagged) == (3, 3, 2)
    assert figures.class_instances.tolist() == [1, 2]
    assert figures.class_images.tolist() == [1, 2]
    assert figures.class_flagged.tolist() == [0, 2]
    for k, sides in enumerate([[20], [30, 5]]):
        want = np.histogram(sides, SIZE_EDGES_PX)[0]
        np.testing.assert_array_equal(figures.class_sizes[k], want)
    assert figures.angles.tolist() == [0] * 10 + [3] + [0] * 7  # 15° lies in 10°…20°
    assert figures.flags == {"": 1, "spill_cut": 1, "holes": 1, "low_coverage": 1, "box_instead": 1}
    assert figures.scores[[0, 10, 17]].tolist() == [1, 1, 1]  # float32's 0.9 is a bit less
    content = figures.content(store.classes.names)
    assert content["mean_coverage"] == pytest.approx(1.4 / 3)


def test_the_examples(store):
    examples = figures_of(store).examples
    assert [(e.row, e.instance) for e in examples["best"]] == [(0, 0), (0, 1)]
    assert [(e.row, e.instance) for e in examples["worst"]] == [(0, 1), (0, 0)]
    assert [e.quality for e in examples["worst"]] == pytest.approx([0.25, 0.72])
    assert [(e.row, e.instance) for e in examples["replaced"]] == [(1, 0)]
    assert sorted((e.row, e.instance) for e in examples["random"]) == [(0, 0), (0, 1), (1, 0)]


def test_of_many_the_best_and_of_each_image_one_before_a_second(tmp_path):
    rng = np.random.default_rng(3)
    quality = rng.random((700, 4)).astype(np.float32)
    box = [[1, 1, 4, 4]] * 4
    rows = [row(f"{i}.png", box, [0] * 4, q, [1] * 4, ((),) * 4) for i, q in enumerate(quality)]
    figures = figures_of(write_store(tmp_path / "store", rows, info(tmp_path)))
    order = np.argsort(-quality.max(axis=1))[:12]
    assert [e.row for e in figures.examples["best"]] == order.tolist()
    order = np.argsort(quality.min(axis=1))[:12]
    assert [e.row for e in figures.examples["worst"]] == order.tolist()
    assert len({e.row for e in figures.examples["random"]}) == 12


def test_equally_good_masks_are_not_compared(tmp_path):
    rows = [row("a.png", [[1, 1, 4, 4]] * 3, [0] * 3, [1, 1, 1])]
    examples = figures_of(write_store(tmp_path / "store", rows, info(tmp_path))).examples
    assert (examples["best"], examples["worst"], len(examples["random"])) == ([], [], 2)


def test_page_and_json(store, tmp_path):
    report = ReadReport(3, 1, (("hut", 2),), (("degenerate", 4),), ("x: <no area>",))
    said = write_report(store, tmp_path / "page", report, [("z.png", "cut off")])
    assert said == f"report: {tmp_path / 'page/report.html'}"
    content = json.loads((tmp_path / "page/report.json").read_text("utf-8"))
    assert content["classes"]["ship & co"]["instances"] == 1
    assert content["flags"]["box_instead"] == 1
    assert content["left_out"] == {"degenerate": 4}
    assert content["bad_images"] == [["z.png", "cut off"]]
    assert content["examples"]["replaced"][0] == {
        "image": "b.png", "instance": 0, "class": "hut", "box_xyxy": [5, 5, 10, 10], "score": 0,
        "coverage": pytest.approx(0.1), "flags": ["low_coverage", "box_instead"],
    }  # fmt: skip
    page = (tmp_path / "page/report.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 2 + 2 + 1 + 3
    assert not re.search(r'(src|href)="(?!data:)', page)  # nothing is fetched
    assert "ship &amp; co" in page
    assert "&lt;no area&gt;" in page
    assert "<c>" not in page
    for title in ("Classes", "Sizes and angles", "Quality", "Best masks", "Given up", "Random"):
        assert f"<h2>{title}</h2>" in page
    assert page.count("<svg") == page.count("</svg>") == 2 + 4


def test_a_store_without_masks_or_pictures(tmp_path):
    bare = ImageLabels(
        "gone.png", SIZE, boxes=np.array([[1, 2, 3, 4]], np.float32), box_labels=np.array([0])
    )
    store = write_store(tmp_path / "store", [bare, ImageLabels("x.png", SIZE)], info(tmp_path))
    write_report(store, tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "boxes only, no masks" in page
    assert "<h2>Quality</h2>" not in page
    assert "data:image" not in page


def test_every_flag_is_explained():
    assert set(FLAG_MEANINGS) == set(FLAGS)


def test_the_picture_shows_mask_and_box_where_they_are(tmp_path):
    Image.new("RGB", (80, 60), (100, 110, 120)).save(tmp_path / "a.png")
    red = ClassMap(("a",), ((255, 0, 0),))
    labels = ImageLabels(
        "a.png", SIZE, "train", np.array([[20, 20, 40, 40]], np.float32), np.array([0]),
        (mask(20, 20, 40, 40),), np.array([[30, 30, 30, 30, 0]], np.float32), np.array([0]),
        raw_rles=(mask(20, 20, 44, 40),),
    )  # fmt: skip
    picture = np.asarray(picture_of(labels, 0, tmp_path, red)).astype(int)
    assert picture.shape == (240, 486, 3)
    left, right = picture[:, :240], picture[:, 246:]
    # The window is 10…50 on both axes: six pixels of the picture per pixel of the image.
    assert (left == (100, 110, 120)).all()
    assert right[120, 120].tolist() == [178, 55, 60]  # half red
    assert right[120, 179].tolist() == [255, 0, 0]  # the mask's last pixels, before x 40
    assert right[30, 120].tolist() == [255, 0, 0]  # the rotated box: y 15
    assert right[8, 8].tolist() == [100, 110, 120]
    assert right[120, 203].tolist() == [255, 235, 59]  # the raw mask ends at x 44


@pytest.mark.parametrize("kind", ["grey", "uint16", "five"])
def test_pictures_of_any_kind(tmp_path, kind):
    bands = {"grey": 1, "uint16": 3, "five": 5}[kind]
    ramp = np.broadcast_to(np.arange(80)[None, :, None], (60, 80, bands))
    pixels = (ramp * 200).astype(np.uint16) if kind == "uint16" else ramp.astype(np.uint8)
    write_raster(tmp_path / "a.tif", np.ascontiguousarray(pixels), None)
    labels = row("a.tif", [[20, 20, 40, 40]], [0])
    picture = np.asarray(picture_of(labels, 0, tmp_path, ClassMap(("a",))))
    plain = picture[:, :240].astype(int)
    assert (plain[..., 0] == plain[..., 1]).all()
    if kind == "uint16":
        assert plain.max() - plain.min() > 240
