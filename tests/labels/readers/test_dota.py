import numpy as np
import pytest

from tests.labels.layouts import image, read, text

LINES = """imagesource:GoogleEarth
gsd:0.146343590398
10 20 50 20 50 40 10 40 large-vehicle 0
10.5 60.0 30.5 60.0 30.5 80.0 10.5 80.0 storage tank 1
60 60 80 50 90 70 70 80 plane
"""


def test_lines_by_hand(tmp_path):
    image(tmp_path / "images/P0001.png", 100, 120)
    text(tmp_path / "txt/P0001.txt", LINES)
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    item = found["P0001.png"]
    assert item.size_hw == (100, 120)
    assert [o.name for o in item.objects] == ["large-vehicle", "storage tank", "plane"]
    assert [o.difficulty for o in item.objects] == [0, 1, 0]
    assert item.objects[1].where == "P0001.txt line 4"
    np.testing.assert_array_equal(
        item.objects[0].polygons[0][0], [[10, 20], [50, 20], [50, 40], [10, 40]]
    )
    assert report.left_out == ()


def test_bom_windows_line_ends_blank_lines_and_exponents(tmp_path):
    image(tmp_path / "images/a.png")
    lines = "\ufeffimagesource:x\r\n\r\n1e1 20 50 20 50 40 10 40 ship 0\r\n"
    text(tmp_path / "txt/a.txt", lines.encode())
    found, _ = read("dota", tmp_path / "images", tmp_path / "txt")
    assert found["a.png"].objects[0].name == "ship"
    assert found["a.png"].objects[0].polygons[0][0][0].tolist() == [10, 20]


def test_an_empty_file_is_an_image_without_objects_a_missing_one_is_not(tmp_path):
    image(tmp_path / "images/empty.png")
    image(tmp_path / "images/unlabelled.png")
    text(tmp_path / "txt/empty.txt", "")
    text(tmp_path / "txt/orphan.txt", "")
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    assert set(found) == {"empty.png"}
    assert found["empty.png"].objects == ()
    assert (report.count("no annotation"), report.count("no image")) == (1, 1)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("10 20 50 20 50 40 10 ship", "found 8 words"),
        ("10 20 50 20 50 40 10 forty ship 0", "expected eight coordinates, found '10 20"),
        ("10,20,50,20,50,40,10,40,ship,0", "found 1 words"),
    ],
)
def test_malformed_lines_are_named_and_counted(tmp_path, line, complaint):
    image(tmp_path / "images/a.png")
    text(tmp_path / "txt/a.txt", f"10 20 50 20 50 40 10 40 ship 0\n{line}\n")
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    assert len(found["a.png"].objects) == 1
    assert report.count("malformed") == 1
    assert "a.txt line 2: " in report.examples[0]
    assert complaint in report.examples[0]
    with pytest.raises(ValueError, match=r"a\.txt line 2: expected"):
        read("dota", tmp_path / "images", tmp_path / "txt", strict=True)


@pytest.mark.parametrize("content", ["ship".encode("utf-16"), b"\xff\xfe\x00", b"10 \xe4\xf6 20"])
def test_what_is_no_text_is_no_empty_image(tmp_path, content):
    image(tmp_path / "images/a.png")
    text(tmp_path / "txt/a.txt", content)
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    assert found == {}
    assert report.examples == ("a.txt: it is no text in UTF-8",)


def test_subfolders_match_and_doubles_are_refused(tmp_path):
    image(tmp_path / "images/x/a.png")
    image(tmp_path / "images/y/a.jpg")
    text(tmp_path / "txt/y/a.txt", "")
    assert set(read("dota", tmp_path / "images", tmp_path / "txt")[0]) == {"y/a.jpg"}
    image(tmp_path / "images/y/a.tif")
    with pytest.raises(ValueError, match=r"several images for y/a: y/a\.jpg, y/a\.tif"):
        read("dota", tmp_path / "images", tmp_path / "txt")


def test_missing_folders_and_damaged_images(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the folder of the images"):
        read("dota", tmp_path / "images", tmp_path / "txt")
    image(tmp_path / "images/a.png")
    with pytest.raises(FileNotFoundError, match=r"expected one of \.txt files"):
        read("dota", tmp_path / "images", tmp_path / "txt")
    (tmp_path / "txt").mkdir()
    with pytest.raises(FileNotFoundError, match="is the format right"):
        read("dota", tmp_path / "images", tmp_path / "txt")
    text(tmp_path / "txt/a.txt", "")
    text(tmp_path / "images/a.png", b"no picture")
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    assert found == {}
    assert report.count("damaged image") == 1


def test_unknown_formats_are_listed(tmp_path):
    with pytest.raises(ValueError, match="unknown annotation format 'yolo'; known: coco, dior"):
        read("yolo", tmp_path, tmp_path)


@pytest.mark.parametrize(
    "header",
    [
        "imagesource:GoogleEarth\ngsd:0.146343590398\n",  # version 1.0
        "imagesource:GF2\r\ngsd:null\r\n",
        "imagesource:\ngsd:None\n",
        "imagesource: Google Earth\ngsd: 0.5\n",
        "",
    ],
)
def test_all_versions(tmp_path, header):
    """Versions 1.5 and 2.0 add classes, among them container-crane, and difficulty 2."""
    image(tmp_path / "images/P0001.png", 100, 120)
    lines = [
        "10.0 20.0 50.0 20.0 50.0 40.0 10.0 40.0 container-crane 0",
        "10 20 50 20 50 40 10 40 ground-track-field 1",
        "10 20 50 20 50 40 10 40 airport 2",
        "-5 20 50 20 50 40 -5 40 helipad 0 ",
    ]
    text(tmp_path / "txt/P0001.txt", header + "\n".join(lines))
    found, report = read("dota", tmp_path / "images", tmp_path / "txt")
    objects = found["P0001.png"].objects
    assert [o.name for o in objects] == [
        "container-crane",
        "ground-track-field",
        "airport",
        "helipad",
    ]
    assert [o.difficulty for o in objects] == [0, 1, 2, 0]
    assert objects[3].polygons[0][0][0].tolist() == [-5, 20]
    assert report.left_out == ()
