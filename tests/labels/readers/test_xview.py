import pytest

from geomtp.labels.readers.xview import XVIEW_CLASSES
from tests.labels.layouts import image, read, text


def feature(image_id="5.tif", type_id=18, bounds="10,20,30,40"):
    about = {"image_id": image_id, "type_id": type_id, "bounds_imcoords": bounds, "cat_id": 18}
    return {"type": "Feature", "properties": about, "geometry": {"type": "Polygon"}}


def parts(tmp_path, *features):
    image(tmp_path / "images/5.tif", 100, 120)
    image(tmp_path / "images/7.tif", 50, 60)
    content = {"type": "FeatureCollection", "features": list(features)}
    return tmp_path / "images", text(tmp_path / "xView_train.geojson", content)


def test_features_by_hand(tmp_path):
    features = (
        feature(),
        feature("7.tif", 94, "0,0,5,6"),
        feature(type_id=73, bounds="100,90,125,101"),  # beyond the border: clipped later
        feature("1395.tif"),
        feature("1395.tif"),
        feature(type_id=75),
    )
    found, report = read("xview", *parts(tmp_path, *features))
    assert list(found) == ["5.tif", "7.tif"]
    assert found["5.tif"].size_hw == (100, 120)
    assert [o.name for o in found["5.tif"].objects] == ["Small Car", "Building"]
    assert found["5.tif"].objects[0].box_xyxy == (10, 20, 30, 40)
    assert found["5.tif"].objects[1].where == "xView_train.geojson feature 2"
    assert found["7.tif"].objects[0].name == "Tower"
    assert dict(report.left_out) == {"no image": 2, "unknown type_id": 1}


def test_classes():
    assert len(XVIEW_CLASSES) == len(set(XVIEW_CLASSES.values())) == 60
    assert list(XVIEW_CLASSES) == sorted(XVIEW_CLASSES)
    names = list(XVIEW_CLASSES.values())
    assert (names[0], names[24], names[59]) == ("Fixed-wing Aircraft", "Motorboat", "Tower")
    assert XVIEW_CLASSES[62] == "Scraper/Tractor"


def test_an_image_that_no_feature_names_was_not_annotated(tmp_path):
    found, report = read("xview", *parts(tmp_path, feature(type_id=75)))
    assert {name: item.objects for name, item in found.items()} == {"5.tif": ()}
    assert dict(report.left_out) == {"unknown type_id": 1, "no annotation": 1}


@pytest.mark.parametrize(
    "bad",
    [
        feature("../5.tif"),
        feature("/etc/passwd"),
        feature(7),
        feature(bounds="1,2,3"),
        feature(bounds="1,2,3,four"),
        feature(bounds=[1, 2, 3, 4]),
        feature(type_id=[18]),
        {"properties": None},
        {"properties": {"image_id": "5.tif"}},
        {},
        7,
        None,
    ],
)
def test_malformed_features_are_named_and_counted(tmp_path, bad):
    found, report = read("xview", *parts(tmp_path, feature(), feature("7.tif"), bad))
    assert [len(item.objects) for item in found.values()] == [1, 1]
    assert report.left_out == (("malformed", 1),)
    assert report.examples[0].startswith("xView_train.geojson feature 2: expected image_id")
    with pytest.raises(ValueError, match="feature 2: expected image_id, type_id"):
        read("xview", *parts(tmp_path, feature(), feature(), bad), strict=True)


def test_other_files(tmp_path):
    images, path = parts(tmp_path)
    with pytest.raises(ValueError, match="no xView file: it has no list of features"):
        read("xview", images, text(path, {"features": 3}))
    with pytest.raises(ValueError, match="no valid JSON"):
        read("xview", images, text(path, "{"))
    with pytest.raises(FileNotFoundError, match="expected a json file"):
        read("xview", images, tmp_path / "none.geojson")
