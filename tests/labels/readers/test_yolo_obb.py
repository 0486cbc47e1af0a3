import numpy as np
import pytest

from geomtp.labels.readers.yolo_obb import read_class_names, read_yolo_obb
from tests.labels.layouts import image, notes, read, text

LINES = """0 0.25 0.5 0.5 0.5 0.5 0.75 0.25 0.75
1 0.1 0.1 0.2 0.05 0.25 0.2 0.15 0.25

1 0.9 0.9 1.1 0.9 1.1 1.0 0.9 1.0
"""


def folder(tmp_path, content=LINES, names="names: [plane, small ship]"):
    image(tmp_path / "images/train/a.png", 100, 120)
    text(tmp_path / "labels/train/a.txt", content)
    text(tmp_path / "data.yaml", f"path: /elsewhere\ntrain: images/train\n{names}\n")
    return tmp_path / "images", tmp_path / "labels"


def test_lines_by_hand(tmp_path):
    found, report = read("yolo_obb", *folder(tmp_path))
    item = found["train/a.png"]
    assert item.size_hw == (100, 120)
    assert [o.name for o in item.objects] == ["plane", "small ship", "small ship"]
    assert [o.where for o in item.objects] == ["a.txt line 1", "a.txt line 2", "a.txt line 4"]
    np.testing.assert_allclose(
        item.objects[0].polygons[0][0], [[30, 50], [60, 50], [60, 75], [30, 75]]
    )
    np.testing.assert_allclose(
        item.objects[1].polygons[0][0], [[12, 10], [24, 5], [30, 20], [18, 25]]
    )
    assert item.objects[2].polygons[0][0].max() == pytest.approx(132)  # beyond the image: it stays
    assert report.left_out == ()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("0 0.1 0.1 0.2", "a class index and eight coordinates, or four of a box, found 4 words"),
        ("0 0 0 1 0 1 1 0 one", "expected 9 numbers, found '0 0 0 1 0 1 1 0 one'"),
        ("0 0 0 1 one", "expected 5 numbers, found '0 0 0 1 one'"),
        ("1 30 40 10 10", "must be fractions of the image's width and height"),
        ("2 0 0 1 0 1 1 0 1", "the class index 2 has no name; known: 0…1"),
        ("0.5 0 0 1 0 1 1 0 1", "the class index 0.5 has no name"),
        ("nan 0 0 1 0 1 1 0 1", "the class index nan has no name"),
        ("0 10 20 50 20 50 40 10 40", "must be fractions of the image's width and height"),
        ("0 0 0 1 0 1 nan 0 1", "must be fractions"),
        ("0 0 0 1 0 1 1e400 0 1", "must be fractions"),
    ],
)
def test_malformed_lines_are_named_and_counted(tmp_path, line, complaint):
    parts = folder(tmp_path, f"{LINES}{line}\n")
    found, report = read("yolo_obb", *parts)
    assert len(found["train/a.png"].objects) == 3
    assert report.count("malformed") == 1
    assert report.examples[0].startswith("a.txt line 5: ")
    assert complaint in report.examples[0]
    with pytest.raises(ValueError, match=r"a\.txt line 5: "):
        read("yolo_obb", *parts, strict=True)


def test_upright_boxes_by_hand(tmp_path):
    found, _ = read("yolo_obb", *folder(tmp_path, "1 0.5 0.25 0.2 0.1\n"))
    (ship,) = found["train/a.png"].objects
    assert (ship.name, ship.polygons) == ("small ship", None)
    assert ship.box_xyxy == pytest.approx((48, 20, 72, 30))  # of 120 × 100


def test_an_index_without_a_name_stops_where_that_is_wanted(tmp_path):
    images, labels = folder(tmp_path, LINES.replace("1 0.9", "2 0.9"))
    with pytest.raises(ValueError, match=r"train/a\.txt, line 4: the class index 2 has no name"):
        list(read_yolo_obb(images, labels, notes(), stop_at_unnamed=True))
    (item,) = read_yolo_obb(images, labels, notes(), names={1: "x", 2: "y", 0: "z"})
    assert [o.name for o in item.objects] == ["z", "x", "y"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", "names:\n  - plane\n  - ship\n"),
        ("a.yml", "names: {1: ship, 0: plane}"),
        ("a.yaml", 'names: {"0": plane, "1": ship}\nnc: 2'),
        ("a.json", '{"names": ["plane", "ship"]}'),
        ("classes.txt", "plane\r\nship\r\n\r\n"),
        ("classes.txt", "\ufeffplane\nship"),
    ],
)
def test_names(tmp_path, name, content):
    assert read_class_names(text(tmp_path / name, content)) == {0: "plane", 1: "ship"}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.yaml", "nc: 2", "names no classes"),
        ("a.yaml", "names: 7", "names no classes"),
        ("a.yaml", "names: [plane, plane]", "two classes the same name"),
        ("a.yaml", "names: {0: plane, '0': ship}", "two classes the same name or index"),
        ("a.yaml", "names: [plane, no]", "need quotes"),
        ("a.yaml", "names: [plane, null]", "need quotes"),
        ("a.yaml", "names: [plane, [ship]]", "expected names by index"),
        ("a.yaml", "names: {-1: plane}", "expected names by index"),
        ("a.yaml", "names: {plane: 0}", "expected names by index"),
        ("a.yaml", "names: [plane", "no valid YAML"),
        ("a.yaml", "- plane", "holds a list, expected lines"),
        ("classes.txt", "plane\n\nship", "expected names by index"),
        ("classes.txt", b"pl\xe4ne", "no text in UTF-8"),
        ("classes.txt", "", "names no classes"),
    ],
)
def test_names_of_no_use(tmp_path, name, content, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_class_names(text(tmp_path / name, content))


def test_where_names_are_looked_for(tmp_path):
    images, labels = folder(tmp_path, "1 0 0 1 0 1 1 0 1")
    nearer = text(labels / "classes.txt", "car\nbus\n")  # lies among the annotations: is none
    found, report = read("yolo_obb", images, labels)
    assert found["train/a.png"].objects[0].name == "bus"
    assert report.left_out == ()
    nearer.unlink()
    assert read("yolo_obb", images, labels)[0]["train/a.png"].objects[0].name == "small ship"
    found, _ = read("yolo_obb", images / "train", labels / "train")
    assert found["a.png"].objects[0].name == "small ship"
    own = text(tmp_path / "own.txt", "x\ny\n")
    assert next(read_yolo_obb(images, labels, notes(), names=own)).objects[0].name == "y"
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(FileNotFoundError, match=r"put a data\.yaml or a classes\.txt in it"):
        read("yolo_obb", images, labels)
    with pytest.raises(FileNotFoundError, match=r"own2\.txt does not exist"):
        next(read_yolo_obb(images, labels, notes(), names=tmp_path / "own2.txt"))
