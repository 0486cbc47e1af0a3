import math

import numpy as np
import pytest

from geomtp.geometry import decode_rle
from geomtp.labels import (
    AnnotatedObject,
    Annotations,
    BoxSegmenter,
    PolygonSegmenter,
    ReadNotes,
    Segmenter,
    build_store,
    classes_in,
    semantic_map,
)
from tests.labels.layouts import image, info, read, text
from tests.labels.readers.test_coco import RLE
from tests.labels.readers.test_dota import LINES

SIZE = (100, 120)


def build(tmp_path, objects, segmenter=None, names=("a", "b"), **kwargs):
    """The one row of a store made of ``objects``, and the report."""
    annotations = [Annotations("x.png", SIZE, tuple(objects))]
    store, report = build_store(
        annotations, segmenter, info(tmp_path, *names), tmp_path / "out", ReadNotes(), **kwargs
    )
    return store[0], report


def test_from_a_dota_folder_to_all_three_tasks(tmp_path):
    image(tmp_path / "images/P0001.png", *SIZE)
    text(tmp_path / "txt/P0001.txt", LINES)
    found, _ = read("dota", tmp_path / "images", tmp_path / "txt")
    about = info(tmp_path / "images", "plane", "storage tank", "large-vehicle")
    store, report = build_store(
        found.values(), BoxSegmenter(), about, tmp_path / "out", ReadNotes(),
        split_of=lambda name: {"P0001.png": "test"}[name],
    )  # fmt: skip
    row = store[0]
    assert (row.image, row.size_hw, row.split) == ("P0001.png", SIZE, "test")
    assert row.rbox_labels.tolist() == row.box_labels.tolist() == [2, 1, 0]
    np.testing.assert_allclose(row.rboxes[0], [30, 30, 40, 20, 0], atol=1e-5)
    # The last is a square on its sides (20, -10) and (10, 20).
    np.testing.assert_allclose(row.rboxes[2, :4], [75, 65, 500**0.5, 500**0.5], rtol=1e-6)
    assert row.boxes[0].tolist() == [10, 20, 50, 40]
    masks = decode_rle(row.rles, SIZE).numpy()
    assert masks[0].sum() == 800
    assert masks[0][20:40, 10:50].all()
    painted = semantic_map(row, store.image_root)
    assert [painted[30, 30], painted[70, 20], painted[65, 72], painted[0, 0]] == [3, 2, 1, 0]
    assert dict(report.objects) == {"large-vehicle": 1, "storage tank": 1, "plane": 1}
    assert (report.images, report.empty_images, report.left_out) == (1, 0, ())


def test_boxes_are_those_around_the_masks(tmp_path):
    turned = AnnotatedObject("a", "1", rbox_cxcywha=(60, 50, 40, 20, math.pi / 4))
    row, _ = build(tmp_path, [turned], BoxSegmenter())
    mask = decode_rle(row.rles, SIZE).numpy()[0]
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    assert row.boxes[0].tolist() == [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
    assert abs(mask.sum() - 800) < 30


def test_without_a_segmenter_there_are_boxes_and_no_masks(tmp_path):
    objects = [
        AnnotatedObject("b", "1", box_xyxy=(-10, 20, 30, 40)),
        AnnotatedObject("a", "2", rbox_cxcywha=(60, 50, 40, 20, math.pi / 2)),
    ]
    row, _ = build(tmp_path, objects)
    assert row.rles is None
    assert row.semantic is None
    np.testing.assert_allclose(row.boxes, [[0, 20, 30, 40], [50, 30, 70, 70]], atol=1e-4)
    assert row.box_labels.tolist() == [1, 0]
    # The horizontal box is clipped before it becomes a rotated one.
    np.testing.assert_allclose(row.rboxes[0], [15, 30, 30, 20, 0], atol=1e-5)


def test_rotated_boxes_partly_outside_stay_as_they_are(tmp_path):
    row, report = build(
        tmp_path, [AnnotatedObject("a", "1", rbox_cxcywha=(-2, 50, 40, 20, 0.5))], BoxSegmenter()
    )
    np.testing.assert_allclose(row.rboxes[0], [-2, 50, 40, 20, 0.5], rtol=1e-6)
    assert row.boxes[0][0] == 0
    assert report.left_out == ()


def test_stored_angles_stay_below_a_quarter_turn(tmp_path):
    row, _ = build(
        tmp_path, [AnnotatedObject("a", "1", rbox_cxcywha=(60, 50, 40, 20, math.pi / 2 - 1e-9))]
    )
    assert row.rboxes[0, 4] == -np.float32(math.pi / 2)
    assert row.rboxes[0, 2:4].tolist() == [40, 20]


def test_what_is_left_out_is_counted_and_explained(tmp_path):
    objects = [
        AnnotatedObject("a", "good", box_xyxy=(10, 10, 20, 20)),
        AnnotatedObject("a", "flat", box_xyxy=(10, 10, 10, 20)),
        AnnotatedObject("a", "nan", rbox_cxcywha=(math.nan, 5, 5, 5, 0)),
        AnnotatedObject("a", "far", box_xyxy=(200, 10, 220, 20)),
        AnnotatedObject("zebra", "crowd", box_xyxy=(1, 1, 5, 5), ignore=True),
        AnnotatedObject("a", "thin", rbox_cxcywha=(30.0, 50, 0.2, 0.2, 0)),  # covers no centre
    ]
    row, report = build(tmp_path, objects, BoxSegmenter())
    assert dict(report.left_out) == {"degenerate": 2, "outside": 1, "ignored": 1, "empty mask": 1}
    assert len(row.boxes) == len(row.rles) == 1
    assert len(row.rboxes) == 2  # the two lists are independent
    assert "x.png, far: the object lies outside the image of 120 × 100" in report.examples
    lines = str(report).splitlines()
    assert lines[0] == "1 images (0 without objects), 2 objects"
    assert lines[2].startswith("left out: degenerate 2, ")
    assert report.count("malformed") == 0


def test_an_image_without_objects_is_a_row(tmp_path):
    row, report = build(tmp_path, [], BoxSegmenter())
    assert (row.boxes.shape, row.rboxes.shape, row.rles) == ((0, 4), (0, 5), ())
    assert (report.images, report.empty_images) == (1, 1)


def test_no_image_at_all_is_an_error_with_the_reasons(tmp_path):
    notes = ReadNotes()
    notes.left_out("no image", "a.txt", "no image of that name")
    with pytest.raises(ValueError, match=r"no annotated image was found(.|\n)*no image 1"):
        build_store([], None, info(tmp_path), tmp_path / "out", notes)
    assert not (tmp_path / "out").exists()


UNKNOWN = [
    AnnotatedObject("large_vehicle", "1", box_xyxy=(10, 10, 20, 20)),
    AnnotatedObject("large_vehicle", "2", box_xyxy=(10, 10, 20, 20)),
    AnnotatedObject("qqq", "3", box_xyxy=(10, 10, 20, 20)),
    AnnotatedObject("ship", "4", box_xyxy=(10, 10, 20, 20)),
]


class _Never(Segmenter):
    def segment(self, image, annotations):
        raise AssertionError("nothing may be segmented before the classes are known")


def test_unknown_classes_are_counted_before_any_work_is_done(tmp_path):
    with pytest.raises(ValueError) as raised:
        build(tmp_path, UNKNOWN, _Never(), ("ship", "large-vehicle"))
    message = str(raised.value)
    assert message.startswith(
        "2 unknown classes: 'large_vehicle' (2 objects; did you mean 'large-vehicle'?), "
        "'qqq' (1 objects); known: ship, large-vehicle."
    )
    assert not (tmp_path / "out").exists()


def test_unknown_classes_are_skipped_when_asked(tmp_path):
    row, report = build(tmp_path, UNKNOWN, names=("ship",), unknown="skip")
    assert row.rbox_labels.tolist() == [0]
    assert report.count("unknown class") == 3


def test_instances_that_are_listed_apart(tmp_path):
    annotations = Annotations(
        "x.png",
        SIZE,
        objects=(AnnotatedObject("a", "1", rbox_cxcywha=(60, 50, 40, 20, 0.1)),) * 2,
        instances=(AnnotatedObject("b", "2", rle=RLE),),
        semantic="map.png",
    )
    store, _ = build_store([annotations], None, info(tmp_path), tmp_path / "out", ReadNotes())
    row = store[0]
    assert (row.rbox_labels.tolist(), row.box_labels.tolist()) == ([0, 0], [1])
    assert row.boxes.tolist() == [[5, 10, 25, 30]]
    assert (row.rles, row.semantic) == ((RLE,), "map.png")


def test_a_segmenter_failing_leaves_no_store(tmp_path):
    with pytest.raises(ValueError, match="use the segmenter 'box'"):
        build(tmp_path, [AnnotatedObject("a", "1", box_xyxy=(1, 1, 5, 5))], PolygonSegmenter())
    assert not (tmp_path / "out").exists()


def test_the_classes_that_occur(tmp_path):
    objects = (*UNKNOWN, AnnotatedObject("aaa", "5", ignore=True))
    assert classes_in([Annotations("x.png", SIZE, objects)]).names == (
        "large_vehicle", "qqq", "ship"
    )  # fmt: skip
