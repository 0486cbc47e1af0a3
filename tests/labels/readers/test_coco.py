import numpy as np
import pytest

from geomtp.geometry import encode_rle
from geomtp.labels.masks.run_lengths import counts_from_rle
from tests.labels.layouts import image, read, text

MASK = np.zeros((100, 120), dtype=bool)
MASK[10:30, 5:25] = True
RLE = encode_rle(MASK[None])[0]
CATEGORIES = [{"id": 3, "name": "ship"}, {"id": 7, "name": "plane"}]


def coco(annotations, images=None, **others):
    images = images or [{"id": 1, "file_name": "a.png", "width": 120, "height": 100}]
    listed = [{"id": i, "image_id": 1, "category_id": 3, **a} for i, a in enumerate(annotations)]
    return {"images": images, "annotations": listed, "categories": CATEGORIES, **others}


def one(tmp_path, annotations, **kwargs):
    image(tmp_path / "images/a.png")
    path = text(tmp_path / "a.json", coco(annotations))
    found, report = read("coco", tmp_path / "images", path, **kwargs)
    return found["a.png"].objects, report


def test_boxes_of_four_and_of_five_numbers(tmp_path):
    objects, report = one(
        tmp_path,
        [
            {"bbox": [10, 20, 30, 40]},
            {"bbox": [50, 60, 30, 10, 0.25], "category_id": 7, "difficult": True},
        ],
    )
    assert objects[0].box_xyxy == (10, 20, 40, 60)
    assert objects[0].rbox_cxcywha is None
    assert objects[1].rbox_cxcywha == (50, 60, 30, 10, 0.25)
    assert [(o.name, o.difficulty) for o in objects] == [("ship", 0), ("plane", 1)]
    assert report.left_out == ()


def test_polygons_and_run_lengths(tmp_path):
    counts = counts_from_rle(RLE).tolist()
    objects, _ = one(
        tmp_path,
        [
            {"segmentation": [[0, 0, 10, 0, 10, 10], [20, 20, 30, 20, 30, 30, 20, 30, 20, 20]]},
            {"segmentation": {"size": [100, 120], "counts": RLE.decode()}},
            {"segmentation": {"size": [100, 120], "counts": counts}, "bbox": [5, 10, 20, 20]},
            {"segmentation": [], "bbox": [1, 2, 3, 4]},
        ],
    )
    assert [len(polygon[0]) for polygon in objects[0].polygons] == [3, 4]
    assert objects[1].rle == objects[2].rle == RLE
    assert objects[3].polygons is None
    assert objects[3].rle is None


def test_crowds_and_ignored_ones_are_marked(tmp_path):
    box = {"bbox": [1, 2, 3, 4]}
    marks = [{"iscrowd": 1}, {"ignore": 1}, {"ignored": True}, {"iscrowd": 0, "ignore": 0}]
    objects, _ = one(tmp_path, [box | mark for mark in marks])
    assert [o.ignore for o in objects] == [True, True, True, False]


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"bbox": [1, 2, 3]}, "four or five numbers, found 3"),
        ({"bbox": [1, 2, "x", 4]}, "could not convert"),
        ({"bbox": [1, 2, 3, 4], "category_id": 99}, "category_id 99 is of no category"),
        ({}, "neither bbox nor segmentation"),
        ({"bbox": [1, 2, 3, 4], "image_id": 5}, "image_id is of no image"),
        ({"bbox": [1, 2, 3, 4], "image_id": [1]}, "names no image_id"),
        ({"segmentation": [[1, 2, 3, 4]]}, "three points or more, found 2"),
        ({"segmentation": [[1, 2, 3, 4, 5]]}, "pairs of coordinates, found 5"),
        ({"segmentation": {"counts": "62d0"}}, "it has no 'size'"),
        ({"segmentation": {"size": 7, "counts": "62d0"}}, "not iterable"),
        ({"bbox": [10**400, 2, 3, 4]}, "too large"),
        ({"bbox": [1, 2, 3, 4], "category_id": []}, "unhashable"),
        ({"segmentation": "text"}, "a list or a run-length, found str"),
        ({"segmentation": {"size": [100, 120], "counts": "zz"}}, "not a compressed run-length"),
        ({"segmentation": {"size": [100, 120], "counts": [5, -1]}}, "none of them negative"),
        ({"segmentation": {"size": [100, 120], "counts": [5, 6]}}, "not of the image's size"),
        ({"segmentation": {"size": [50, 50], "counts": "62d0"}}, "its mask has size [50, 50]"),
    ],
)
def test_malformed_annotations_are_named(tmp_path, entry, complaint):
    objects, report = one(tmp_path, [{"bbox": [1, 2, 3, 4]}, entry])
    assert len(objects) == 1
    assert report.count("malformed") == 1
    assert report.examples[0].startswith("a.json annotation 1: ")
    assert complaint in report.examples[0]
    with pytest.raises(ValueError, match=r"a\.json annotation 1"):
        one(tmp_path, [{"bbox": [1, 2, 3, 4]}, entry], strict=True)


@pytest.mark.parametrize(
    "name", ["../secret.png", "/etc/passwd", "x/../../secret.png", "C:\\a.png", "..\\a.png", "a\0b"]
)
def test_names_that_leave_the_image_folder_are_refused(tmp_path, name):
    image(tmp_path / "secret.png")
    image(tmp_path / "images/a.png")
    path = text(tmp_path / "a.json", coco([], images=[{"id": 1, "file_name": name}]))
    found, report = read("coco", tmp_path / "images", path)
    assert found == {}
    assert "must lie below the image folder" in report.examples[0]


def test_backslashes_and_the_key_filename(tmp_path):
    image(tmp_path / "images/x/a.png")
    path = text(tmp_path / "a.json", coco([], images=[{"id": 1, "filename": "x\\a.png"}]))
    assert set(read("coco", tmp_path / "images", path)[0]) == {"x/a.png"}


def test_missing_images_and_ids_are_noted(tmp_path):
    image(tmp_path / "images/a.png")
    listed = [
        {"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}, {"file_name": "a.png"}, 5,
        {"id": 3}, {"id": 4, "file_name": 7}, {"id": [1], "file_name": "a.png"},
        {"id": 1, "file_name": "a.png"},
    ]  # fmt: skip
    path = text(tmp_path / "a.json", coco([], images=listed))
    found, report = read("coco", tmp_path / "images", path)
    assert set(found) == {"a.png"}
    assert (report.count("no image"), report.count("malformed")) == (1, 6)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "is no valid JSON"),
        (b"\xff\xfe{", "is no valid JSON"),
        ("[" * 100_000, "is no valid JSON"),
        ("[]", "holds a list, expected a JSON object"),
        ("{}", "it needs the lists images, annotations and categories"),
        ('{"images": 5, "annotations": [], "categories": []}', "it needs the lists"),
    ],
)
def test_what_is_no_coco_json(tmp_path, content, complaint):
    image(tmp_path / "images/a.png")
    with pytest.raises(ValueError, match=complaint):
        read("coco", tmp_path / "images", text(tmp_path / "a.json", content))


def test_missing_json(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a json file of annotations"):
        read("coco", tmp_path, tmp_path / "none.json")
