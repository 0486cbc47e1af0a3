from collections import Counter

import pytest

from geomtp.labels import AnnotatedObject, Annotations, ReadNotes
from geomtp.labels.engine.class_maps import apply_class_map, classes_of_map, read_class_map
from tests.labels.layouts import text

MAP = "small-vehicle: car\nlarge-vehicle: car\nplane:\nship: ship\n"


def one(*names, instances=None, ignore=False):
    def objects(listed):
        return tuple(
            AnnotatedObject(name, f"a.txt line {i}", box_xyxy=(0.0, 0.0, 1.0, i), ignore=ignore)
            for i, name in enumerate(listed, start=1)
        )

    listed = None if instances is None else objects(instances)
    return Annotations("a.png", (10, 10), objects(names), listed, "a_map.png")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("map.yaml", MAP),
        ("map.yml", MAP.replace("plane:", "plane: null")),
        (
            "map.json",
            '{"small-vehicle": "car", "large-vehicle": "car", "plane": null, "ship": "ship"}',
        ),
    ],
)
def test_renaming_joining_and_dropping(tmp_path, name, content):
    names = read_class_map(text(tmp_path / name, content))
    assert list(names.items()) == [
        ("small-vehicle", "car"),
        ("large-vehicle", "car"),
        ("plane", None),
        ("ship", "ship"),
    ]
    assert classes_of_map(names).names == ("car", "ship")
    notes = ReadNotes()
    before = one("plane", "large-vehicle", "ship", "small-vehicle", instances=["ship", "plane"])
    (after,) = apply_class_map([before], names, notes)
    assert [o.name for o in after.objects] == ["car", "ship", "car"]
    assert [o.box_xyxy[3] for o in after.objects] == [2, 3, 4]
    assert [o.name for o in after.instances] == ["ship"]
    assert (after.image, after.semantic) == ("a.png", "a_map.png")
    report = notes.report(1, 0, Counter())
    assert report.left_out == (("dropped class", 2),)
    assert report.examples[0] == "a.txt line 1: class 'plane' is dropped"


def test_unmapped_classes(tmp_path):
    names = read_class_map(text(tmp_path / "map.yaml", MAP))
    images = [one("ship", "shipp", "large vehicle", "shipp"), one("zebra"), one("?", ignore=True)]
    with pytest.raises(ValueError) as error:
        list(apply_class_map(images, names, ReadNotes()))
    assert "3 unknown classes: 'shipp' (2 objects; did you mean 'ship'?)" in str(error.value)
    assert "'large vehicle' (1 objects; did you mean 'large-vehicle'?)" in str(error.value)
    kept = list(apply_class_map(images, names, ReadNotes(), unmapped="keep"))
    assert [o.name for o in kept[0].objects] == ["ship", "shipp", "large vehicle", "shipp"]
    notes = ReadNotes()
    kept = list(apply_class_map(images, names, notes, unmapped="drop"))
    assert [[o.name for o in image.objects] for image in kept] == [["ship"], [], ["?"]]
    with pytest.raises(ValueError, match="'error', 'keep' or 'drop', got 'skip'"):
        list(apply_class_map(images, names, notes, unmapped="skip"))


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.yaml", "ship: [a, b]", "'ship' must get a name"),
        ("m.yaml", "ship: yes", "in quotes"),
        ("m.yaml", "true: ship", "True is no class name"),
        ("m.yaml", "ship: ''", "expected names for the classes"),
        ("m.yaml", "ship:", "at least one that is kept"),
        ("m.yaml", "{}", "at least one that is kept"),
        ("m.yaml", "ship: a\nship: b", "a key occurs twice"),
        ("m.json", '{"ship": "a", "ship": "b"}', "'ship' occurs twice"),
        ("m.yaml", "- ship", "holds a list, expected lines 'key: value'"),
        ("m.json", "[1]", "holds a list"),
        ("m.yaml", "", "holds a NoneType"),
        ("m.yaml", "a: !!python/object:os.system x", "no valid YAML"),
        ("m.yaml", "a: &a {b: c}\nd: {<<: *a}", "no valid YAML"),
        ("m.yaml", 'a: !!timestamp "x"', "no valid YAML"),
        ("m.yaml", 'a: !!int ""', "no valid YAML"),
        ("m.yaml", "a: 2001-99-99", "no valid YAML"),
        ("m.yaml", "[" * 5000, "no valid YAML"),
        ("m.json", "[" * 100_000, "no valid YAML or JSON"),
        ("m.yaml", b"a: \xff\xfe", "no valid YAML"),
        ("m.yaml", "a: " + "9" * 5000, "no valid YAML"),
        ("m.yaml", "#" * (2**20 + 1), "larger than 1 MB"),
    ],
)
def test_files_of_no_use(tmp_path, name, content, complaint):
    with pytest.raises(ValueError, match=complaint) as error:
        read_class_map(text(tmp_path / name, content))
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a YAML or JSON file"):
        read_class_map(tmp_path / "none.yaml")
