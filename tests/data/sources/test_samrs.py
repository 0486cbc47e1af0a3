import numpy as np
import pytest
from PIL import Image

from geomtp.data.sources import SOURCES
from geomtp.geometry import encode_rle
from geomtp.labels import semantic_map
from tests.labels.layouts import image, text
from tests.labels.readers.test_xml_files import DIOR_OBJECT, annotation

MASKS = np.zeros((2, 60, 80), dtype=bool)
MASKS[0, 10:20, 10:40] = True
MASKS[1, 30:50, 5:15] = True
QUADS = "10 10 40 10 40 20 10 20 {} 0\n50 30 70 30 70 40 50 40 {} 1\n0 0 5 5 0 0 5 5 {} 0\n"


def instances(categories, listed):
    """A COCO json as SAMRS has it: ids from 0, run-lengths, four-number boxes."""
    annotations = [
        {
            "id": i,
            "image_id": image_id,
            "category_id": category,
            "segmentation": {"size": [60, 80], "counts": rle.decode()},
            "bbox": [10, 10, 30, 10],
            "area": 300,
            "iscrowd": 0,
        }
        for image_id in range(len(listed))
        for i, (category, rle) in enumerate(zip((2, 0), encode_rle(MASKS), strict=True))
    ]
    return {
        "images": [
            {"id": i, "file_name": name, "width": 80, "height": 60} for i, name in enumerate(listed)
        ],
        "categories": [{"id": i, "name": name} for i, name in enumerate(categories)],
        "annotations": annotations,
    }


def grey(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((60, 80), 255, dtype=np.uint8)
    pixels[MASKS[0]] = 2
    pixels[MASKS[1]] = 0
    Image.fromarray(pixels).save(path)


def make_txt_set(root, prefix, classes):
    """The layout of SOTA and FAST with one training and one validation image."""
    for name in ("P1", "P2"):
        image(root / f"trainval/images/{name}.png", 60, 80)
        grey(root / f"trainval/rhbox_segs_init/gray/{name}.png")
        text(root / f"trainval/rbbtxts/{name}.txt", QUADS.format(*classes[:3]))
    for split, names in (("train", ["P1.png"]), ("valid", ["P2.png"])):
        path = root / f"trainval/{prefix}_{split}_ins_segmentation.json"
        text(path, instances(classes, names))


@pytest.mark.parametrize(("name", "prefix"), [("sota", "sota_rbb"), ("fast", "fast")])
def test_sets_with_text_boxes(tmp_path, name, prefix):
    source = SOURCES[name]
    make_txt_set(tmp_path / "data", prefix, source.classes.names)
    store, report = source.build_with_report(tmp_path / "data", tmp_path / "out")
    assert (len(store.subset("train")), len(store.subset("val"))) == (1, 1)
    row = store.subset("val")[0]
    assert row.image == "trainval/images/P2.png"
    assert row.semantic == "trainval/rhbox_segs_init/gray/P2.png"
    assert row.rbox_labels.tolist() == [0, 1]
    np.testing.assert_allclose(row.rboxes, [[25, 15, 30, 10, 0], [60, 35, 20, 10, 0]], atol=1e-5)
    assert row.box_labels.tolist() == [2, 0]
    assert row.boxes.tolist() == [[10, 10, 40, 20], [5, 30, 15, 50]]
    assert row.rles == tuple(encode_rle(MASKS))
    painted = semantic_map(row, store.image_root)
    assert [painted[0, 0], painted[15, 20], painted[40, 10]] == [0, 3, 1]
    assert dict(report.left_out) == {"degenerate": 2}  # crossing corners without area
    assert (store.source, store.mean[0], store.std[2]) == (name, 123.675, 57.375)


def test_sior_with_xml_boxes(tmp_path):
    root, source = tmp_path / "data", SOURCES["sior"]
    for name in ("00001", "00002"):
        image(root / f"JPEGImages-trainval/{name}.jpg", 60, 80)
        grey(root / f"hbox_segs_trainvaltest_init/gray/{name}.png")
        text(root / f"Annotations/Oriented Bounding Boxes/{name}.xml", annotation(DIOR_OBJECT))
    for split, listed in (("train", ["00001.jpg"]), ("valid", ["00002.jpg"])):
        content = instances(source.classes.names, listed)
        text(root / f"sior_{split}_ins_segmentation.json", content)
    store = source.build(root, tmp_path / "out")
    row = store.subset("train")[0]
    assert row.image == "JPEGImages-trainval/00001.jpg"
    assert [source.classes.names[i] for i in row.rbox_labels] == ["expressway-service-area"]
    assert row.box_labels.tolist() == [2, 0]


def test_incomplete_images_are_left_out_and_counted(tmp_path):
    source = SOURCES["sota"]
    make_txt_set(tmp_path / "data", "sota_rbb", source.classes.names)
    (tmp_path / "data/trainval/rbbtxts/P1.txt").unlink()
    store, report = source.build_with_report(tmp_path / "data", tmp_path / "out")
    assert [row.image for row in store] == ["trainval/images/P2.png"]
    assert report.count("incomplete") == 1
    assert "P1.txt does not exist" in str(report)


def test_an_image_in_both_splits_is_kept_once(tmp_path):
    source = SOURCES["fast"]
    make_txt_set(tmp_path / "data", "fast", source.classes.names)
    text(
        tmp_path / "data/trainval/fast_valid_ins_segmentation.json",
        instances(source.classes.names, ["P1.png", "P2.png"]),
    )
    store, report = source.build_with_report(tmp_path / "data", tmp_path / "out")
    assert [(row.image[-6:], row.split) for row in store] == [
        ("P1.png", "train"),
        ("P2.png", "val"),
    ]
    assert report.count("malformed") == 1
    with pytest.raises(ValueError, match="listed in both splits"):
        source.build(tmp_path / "data", tmp_path / "out", strict=True)


def test_missing_parts_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected the data of 'sota'"):
        SOURCES["sota"].build(tmp_path / "none", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="sota_rbb_train_ins_segmentation"):
        SOURCES["sota"].build(tmp_path, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "count", "first", "last"),
    [
        ("sota", 18, "large-vehicle", "helipad"),
        ("sior", 20, "airplane", "windmill"),
        ("fast", 37, "A220", "Warship"),
    ],
)
def test_class_lists_and_shared_palette(name, count, first, last):
    classes = SOURCES[name].classes
    assert (len(classes), classes.names[0], classes.names[-1]) == (count, first, last)
    assert classes.palette[:3] == ((0, 127, 255), (0, 63, 0), (0, 127, 63))
    assert classes.palette == SOURCES["fast"].classes.palette[:count]
    assert classes.palette[-1] == {18: (128, 63, 63), 20: (191, 63, 0), 37: (0, 191, 64)}[count]
