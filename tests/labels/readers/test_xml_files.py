import numpy as np
import pytest

from tests.labels.layouts import image, read, text


def voc_object(name="Tree", box=(10, 20, 50, 60), extra=""):
    x1, y1, x2, y2 = box
    return f"""<object><name>{name}</name>{extra}<bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>
      <xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"""


def annotation(*objects):
    return (
        "<annotation><folder>f</folder><filename>other.tif</filename>"
        f"<size><width>120</width><height>100</height></size>{''.join(objects)}</annotation>"
    )


DIOR_OBJECT = """<object><name>Expressway-Service-area</name><pose>Unspecified</pose>
  <type>robndbox</type><robndbox>
    <x_left_top>10</x_left_top><y_left_top>20</y_left_top>
    <x_right_top>50</x_right_top><y_right_top>10</y_right_top>
    <x_right_bottom>60</x_right_bottom><y_right_bottom>50</y_right_bottom>
    <x_left_bottom>20</x_left_bottom><y_left_bottom>60</y_left_bottom>
  </robndbox><angle>0</angle></object>"""

FAIR1M = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <source><filename>1.tif</filename><origin>GF2/GF3</origin></source>
  <research><version>1.0</version></research>
  <size><width>120</width><height>100</height><depth>3</depth></size>
  <objects>
    <object><coordinate>pixel</coordinate><type>rectangle</type><description>None</description>
      <possibleresult><name>Small Car</name></possibleresult>
      <points><point>10.000000,20.000000</point><point>30.000000,20.000000</point>
        <point>30.000000,28.000000</point><point>10.000000,28.000000</point>
        <point>10.000000,20.000000</point></points></object>
    <object><coordinate>pixel</coordinate>
      <possibleresult><name>other-airplane</name></possibleresult>
      <points><point>1, 2</point><point>5, 2</point><point>5, 9</point><point>1, 9</point>
      </points></object>
  </objects>
</annotation>"""


def one(tmp_path, form, content, **kwargs):
    image(tmp_path / "images/a.png")
    text(tmp_path / "xml/a.xml", content)
    found, report = read(form, tmp_path / "images", tmp_path / "xml", **kwargs)
    return found.get("a.png"), report


def test_voc(tmp_path):
    extra = "<pose>Unspecified</pose><truncated>0</truncated><difficult>1</difficult>"
    item, report = one(
        tmp_path, "voc", annotation(voc_object(), voc_object("Big Tree", (1.5, 2, 3, 4), extra))
    )
    assert item.size_hw == (100, 120)
    assert [o.name for o in item.objects] == ["Tree", "Big Tree"]
    assert item.objects[0].box_xyxy == (10, 20, 50, 60)
    assert item.objects[1].box_xyxy == (1.5, 2, 3, 4)
    assert [o.difficulty for o in item.objects] == [0, 1]
    assert report.left_out == ()


def test_dior_oriented_and_horizontal_names_in_lower_case(tmp_path):
    item, _ = one(tmp_path, "dior", annotation(DIOR_OBJECT, voc_object("Airplane")))
    oriented, horizontal = item.objects
    assert (oriented.name, horizontal.name) == ("expressway-service-area", "airplane")
    corners = [[10, 20], [50, 10], [60, 50], [20, 60]]
    np.testing.assert_array_equal(oriented.polygons[0][0], corners)
    assert horizontal.box_xyxy == (10, 20, 50, 60)


def test_fair1m_points_and_hyphens(tmp_path):
    item, report = one(tmp_path, "fair1m", FAIR1M)
    assert [o.name for o in item.objects] == ["Small-Car", "other-airplane"]
    np.testing.assert_array_equal(
        item.objects[0].polygons[0][0], [[10, 20], [30, 20], [30, 28], [10, 28]]
    )
    assert len(item.objects[1].polygons[0][0]) == 4
    assert report.left_out == ()


def test_a_file_without_objects_is_an_image_without_objects(tmp_path):
    item, report = one(tmp_path, "voc", annotation())
    assert item.objects == ()
    assert report.left_out == ()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (annotation(voc_object(box=("a", 1, 2, 3))), "<bndbox/xmin> must be a number, found 'a'"),
        (annotation(voc_object(name="")), "<name> is missing or empty"),
        (annotation("<object><name>x</name></object>"), "<bndbox/xmin> is missing or empty"),
    ],
)
def test_malformed_objects_are_named(tmp_path, content, complaint):
    item, report = one(tmp_path, "voc", content)
    assert item.objects == ()
    assert report.examples == (f"a.xml object 1: {complaint}",)
    with pytest.raises(ValueError, match=r"a\.xml object 1"):
        one(tmp_path, "voc", content, strict=True)


@pytest.mark.parametrize(
    "change",
    [
        ("<point>30.000000,28.000000</point>", "<point>30.0;28.0</point>"),
        ("<coordinate>pixel</coordinate><type>", "<coordinate>longlat</coordinate><type>"),
        ("<name>Small Car</name>", "<nome>Small Car</nome>"),
    ],
)
def test_malformed_fair1m_objects_are_named(tmp_path, change):
    item, report = one(tmp_path, "fair1m", FAIR1M.replace(*change))
    assert [o.name for o in item.objects] == ["other-airplane"]
    assert report.count("malformed") == 1


BOMB = """<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><object><name>&b;</name></object></annotation>"""
OUTSIDE = """<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>
<annotation><object><name>&x;</name></object></annotation>"""


@pytest.mark.parametrize(
    "content",
    [
        annotation(voc_object())[:-40],
        "",
        "no xml at all",
        "<html></html>",
        BOMB,
        OUTSIDE,
        b"\xff\xfe\x00\x01",
        '<?xml version="1.0" encoding="klingon"?>' + annotation(),
        b'<?xml version="1.0" encoding="utf-8"?><annotation>\xe4</annotation>',
    ],
    ids=["cut", "empty", "text", "html", "bomb", "file", "bytes", "encoding", "latin"],
)
def test_unusable_files_are_no_empty_images(tmp_path, content):
    item, report = one(tmp_path, "voc", content)
    assert item is None
    assert report.count("malformed") == 1
    assert report.examples[0].startswith("a.xml: ")
    assert "root:" not in str(report)  # nothing of another file is shown


def test_other_encodings_are_read(tmp_path):
    content = '<?xml version="1.0" encoding="utf-16"?>' + annotation(voc_object("Bäume"))
    item, _ = one(tmp_path, "voc", content.encode("utf-16"))
    assert item.objects[0].name == "Bäume"


def test_the_file_name_written_inside_is_not_followed(tmp_path):
    content = annotation(voc_object()).replace("other.tif", "../../../etc/passwd")
    item, _ = one(tmp_path, "voc", content)
    assert item.image == "a.png"
