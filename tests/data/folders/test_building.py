"""Label stores from folders as people lay them out."""

import json

import numpy as np
import pytest
from PIL import Image

from geomtp.data.folders import FolderStore, source_name
from geomtp.labels import change_map, semantic_map
from geomtp.labels.masks.run_lengths import rle_area
from tests.data.folders import layouts
from tests.data.folders.layouts import LEFT, RIGHT, mask, picture


def build(task, root, tmp_path, **settings):
    return FolderStore(task, **settings).build(root, tmp_path / "store")


def test_class_folders_are_split_class_by_class(tmp_path):
    root = layouts.class_folders(tmp_path / "my.photos", 10)
    store, said = build("scene", root, tmp_path)
    assert store.source == "my_photos"
    assert store.classes.names == ("field", "water")
    for split, count in (("train", 8), ("val", 2)):
        classes = [row.scene_class for row in store.subset(split)]
        assert (classes.count(0), classes.count(1)) == (count, count)
    assert all(row.image.startswith(("field/", "water/")[row.scene_class]) for row in store)
    assert "20 images (train 16, val 4, test 0), 3 channels, 64 × 48 (20)" in said
    assert "2 classes: field 10, water 10" in said
    assert store.mean[0] == pytest.approx(120, abs=5)


def test_folders_named_train_and_val_decide(tmp_path):
    root = tmp_path / "data"
    for part in ("train", "Validation", "test"):
        layouts.class_folders(root / part, 2)
    picture(root / "Validation/desert/1.png")
    store, said = build("scene", root, tmp_path)
    assert [len(store.subset(s)) for s in ("train", "val", "test")] == [4, 5, 4]
    assert store.subset("val")[0].image.startswith("Validation/")
    assert "NOT in training: desert" in said
    with pytest.raises(ValueError, match="folders of other classes: desert; the classes are field"):
        build("scene", root, tmp_path, classes=("field", "water"))
    store, _ = build("scene", root, tmp_path, classes=("water", "field", "desert"))
    assert store.classes.names == ("water", "field", "desert")
    alone = tmp_path / "alone"
    layouts.class_folders(alone / "train", 5)
    store, _ = build("scene", alone, tmp_path)
    assert [len(store.subset(s)) for s in ("train", "val")] == [8, 2]


def test_masks_of_class_numbers(tmp_path):
    root = tmp_path / "data"
    for i in range(5):
        picture(root / "images" / f"{i}.jpg", seed=i)
        mask(root / "masks" / f"{i}.png", {1: LEFT, 2: RIGHT, 255: (slice(44, 48), slice(0, 9))})
    store, said = build("semantic", root, tmp_path)
    assert store.classes.names == ("class 1", "class 2")
    found = semantic_map(store[0], store.image_root, values=store.info.semantic_values)
    assert [found[10, 10], found[20, 40], found[0, 0], found[46, 2]] == [1, 2, 0, 255]
    assert "class 1 21.2%" in said  # 25 · 26 of 48 · 64
    store, _ = build("semantic", root, tmp_path, classes=("house", "tree", "road"))
    assert store.classes.names == ("house", "tree", "road")
    with pytest.raises(ValueError, match=r"mean nothing: 2 \(3600 pixels\); known are 0 backgr"):
        build("semantic", root, tmp_path, classes=("house",))


def test_masks_of_two_values_and_of_odd_ones(tmp_path):
    root = layouts.masked_images(tmp_path / "data", value=255)
    store, _ = build("semantic", root, tmp_path)
    assert store.classes.names == ("foreground",)
    found = semantic_map(store[0], store.image_root, values=store.info.semantic_values)
    assert found.sum() == 25 * 26
    store, _ = build("semantic", root, tmp_path, classes=("house",))
    assert store.classes.names == ("house",)
    mask(root / "masks/0.png", {38: LEFT, 75: RIGHT})
    with pytest.raises(ValueError, match=r"38 \(650 pixels\), 75 .*but not 1, 2, 3.*--classes"):
        build("semantic", root, tmp_path)


def test_pairs_and_what_their_masks_mean(tmp_path):
    root = layouts.pairs(tmp_path / "data")
    store, said = build("change", root, tmp_path)
    row = store[0]
    assert (row.image, row.image_after, row.change) == (
        "before/0.png", "after/0.png", "masks/0.png"
    )  # fmt: skip
    found = change_map(row, store.image_root, values=store.info.change_values)
    assert (found.sum(), set(np.unique(found))) == (650, {0, 1})
    assert "unchanged 78.8%, changed 21.2%, unknown 0.0%" in said
    sparse = layouts.pairs(tmp_path / "sparse", folders=("train/A", "train/B", "train/label"))
    mask(sparse / "train/label/0.png", {1: LEFT, 255: RIGHT})
    store, _ = build("change", sparse, tmp_path)
    found = change_map(store[0], store.image_root, values=store.info.change_values)
    assert [found[10, 10], found[20, 40], found[0, 0]] == [1, 255, 0]
    mask(sparse / "train/label/0.png", {7: LEFT})
    with pytest.raises(ValueError, match=r"mean nothing: 7 \(650 pixels\); known are 0 unchanged"):
        build("change", sparse, tmp_path)


def test_files_that_do_not_match(tmp_path):
    root = layouts.pairs(tmp_path / "data")
    (root / "after/3.png").rename(root / "after/33.png")
    with pytest.raises(ValueError, match=r"1 files of .*before have no file.*after \(the second"):
        build("change", root, tmp_path)
    (root / "after/33.png").rename(root / "after/3.png")
    Image.new("L", (10, 20)).save(root / "masks/2.png")
    with pytest.raises(ValueError, match=r"must have one size.*before/2.png is 64 × 48.*10 × 20"):
        build("change", root, tmp_path)
    masked = layouts.masked_images(tmp_path / "masked")
    (masked / "images/0.png").unlink()
    with pytest.raises(ValueError, match=r"1 files of .*masks have no file of the same name in"):
        build("semantic", masked, tmp_path)
    Image.new("RGB", (64, 48)).save(masked / "masks/1.png")
    picture(masked / "images/0.png")
    with pytest.raises(ValueError, match=r"1.png must be a grey mask of 8 bits, found 3 bands"):
        build("semantic", masked, tmp_path)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("scene", "holds no class folders with images"),
        ("semantic", "must hold a folder with images, named images or image"),
        ("change", "must hold a folder with the first date, named before or a"),
        ("rotated", "holds no annotations: expected annotations.json"),
    ],
)
def test_other_layouts_are_named(tmp_path, task, message):
    (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match=message):
        build(task, tmp_path / "data", tmp_path)
    with pytest.raises(FileNotFoundError, match="none is no folder"):
        build(task, tmp_path / "none", tmp_path)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("layout", [layouts.coco, layouts.dota])
def test_objects(tmp_path, layout):
    root = layout(tmp_path / "data")
    store, said = build("rotated", root, tmp_path)
    assert [len(store.subset(s)) for s in ("train", "val")] == [5, 1]
    assert store.classes.names == ("house", "tank")
    np.testing.assert_allclose(store[0].rboxes[0, :4], [17, 17.5, 26, 25], atol=1e-4)
    assert store[0].rles is None
    assert "house 6, tank 6" in said
    store, _ = build("instance", root, tmp_path)
    assert store[0].boxes.tolist() == [[4, 5, 30, 30], [36, 10, 60, 40]]
    assert len(store[0].rles) == 2
    store, _ = build("semantic", root, tmp_path)
    found = semantic_map(store[0], store.image_root)
    assert [found[10, 10], found[20, 40], found[0, 0]] == [1, 2, 0]
    with pytest.raises(ValueError, match="unknown classes: 'tank'"):
        build("rotated", root, tmp_path, classes=("house",))


def test_coco_files_named_after_splits(tmp_path):
    root = tmp_path / "data"
    for split, names in (("train", ["a.png", "b.png"]), ("val", ["c.png"])):
        for name in names:
            picture(root / split / name)
        layouts.coco_json(root / f"annotations/instances_{split}2017.json", names)
    store, _ = build("instance", root, tmp_path)
    assert [(row.image, row.split) for row in store] == [
        ("train/a.png", "train"), ("train/b.png", "train"), ("val/c.png", "val")
    ]  # fmt: skip


def test_dota_below_split_folders(tmp_path):
    root = tmp_path / "data"
    for split in ("train", "val"):
        layouts.dota(root / split, 2)
    store, _ = build("rotated", root, tmp_path)
    assert [(row.image, row.split) for row in store][2] == ("val/images/0.png", "val")


def test_boxes_alone_make_no_semantic_map(tmp_path):
    root = layouts.coco(tmp_path / "data")
    path = root / "annotations.json"
    path.write_text(path.read_text().replace('"segmentation"', '"outline"'))
    with pytest.raises(ValueError, match="boxes without outlines make no semantic map"):
        build("semantic", root, tmp_path)
    store, _ = build("instance", root, tmp_path)
    assert len(store[0].rles) == 2


def coco_changed(root, change):
    """The COCO layout, its json changed in place."""
    path = layouts.coco(root) / "annotations.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return root


def test_one_object_without_an_outline_leaves_the_others_theirs(tmp_path):
    def triangles(content):
        for item in content["annotations"]:
            x, y, width, height = item["bbox"]
            item["segmentation"] = [[x, y, x + width, y, x, y + height]]
        content["annotations"][1]["segmentation"] = []

    root = coco_changed(tmp_path / "data", triangles)
    store, said = build("instance", root, tmp_path)
    rows = {row.image: row for row in store}
    areas = [rle_area(rle) for rle in rows["images/0.png"].rles]
    assert areas[0] == pytest.approx(26 * 25 / 2, abs=30)  # the triangle
    assert areas[1] == 24 * 30  # the box
    assert areas[1] != rle_area(rows["images/1.png"].rles[1])
    assert (
        "look again: 1 objects have no outline: their boxes, filled, are taken as masks "
        "(images/0.png, annotations.json annotation 1)" in said
    )
    with pytest.raises(ValueError, match=r"no semantic map \(1, such as annotations.json annot"):
        build("semantic", root, tmp_path)


def test_images_of_another_size_than_the_json_says(tmp_path):
    def one(content):
        content["images"][2] |= {"width": 48, "height": 64}

    store, said = build("horizontal", coco_changed(tmp_path / "data", one), tmp_path)
    assert len(store) == 5
    assert "annotations.json image 2: 2.png is 64 × 48 px, the json says 48 × 64" in said

    def everywhere(content):
        for image in content["images"]:
            image["width"] = 128

    with pytest.raises(ValueError, match=r"an image, such as annotations.json image 0: 0.png is"):
        build("horizontal", coco_changed(tmp_path / "other", everywhere), tmp_path)


def test_a_json_without_lists_is_refused(tmp_path):
    root = coco_changed(tmp_path / "data", lambda content: content.update(images={"a": 1}))
    with pytest.raises(ValueError, match="is no COCO json: it needs the lists images"):
        build("instance", root, tmp_path)


def test_what_changed_has_the_name_that_is_given(tmp_path):
    root = layouts.pairs(tmp_path / "data")
    assert build("change", root, tmp_path)[0].classes.names == ("changed",)
    assert build("change", root, tmp_path, classes=("built",))[0].classes.names == ("built",)
    with pytest.raises(ValueError, match="--classes names what changed, one name, found a, b"):
        build("change", root, tmp_path, classes=("a", "b"))


def test_one_value_makes_no_several_classes(tmp_path):
    root = layouts.masked_images(tmp_path / "data", value=255)
    with pytest.raises(ValueError, match="nothing but 0 and 255, which is one class, not a, b"):
        build("semantic", root, tmp_path, classes=("a", "b"))


def test_two_pictures_of_one_name_are_not_mixed_up(tmp_path):
    root = layouts.masked_images(tmp_path / "data")
    picture(root / "images" / "2.jpg")
    with pytest.raises(ValueError, match=r"images holds several files for 2: 2.jpg, 2.png; keep"):
        build("semantic", root, tmp_path)


def test_an_image_belongs_to_one_split(tmp_path):
    root = layouts.coco(tmp_path / "data")
    (root / "annotations.json").unlink()
    layouts.coco_json(root / "annotations" / "train.json", [f"{i}.png" for i in range(4)])
    layouts.coco_json(root / "annotations" / "val.json", ["3.png", "4.png"])
    with pytest.raises(ValueError, match=r"1 images below .* several places, such as images/3.png"):
        build("horizontal", root, tmp_path)


def test_a_list_of_classes_beside_masks_is_no_annotation(tmp_path):
    root = layouts.masked_images(tmp_path / "data", folders=("images", "labels"))
    (root / "labels" / "classes.txt").write_text("house\n")
    assert build("semantic", root, tmp_path)[0].classes.names == ("class 1",)


def test_names_of_sources():
    assert source_name("my data.v2") == "my_data_v2"
    assert source_name("…") == "data"


@pytest.mark.parametrize("layout", [layouts.coco, layouts.dota])
def test_horizontal_boxes_come_as_annotated_and_without_masks(tmp_path, layout):
    store, said = build("horizontal", layout(tmp_path / "data"), tmp_path)
    assert store.classes.names == ("house", "tank")
    assert "2 classes: house 6, tank 6" in said
    for row in store:
        assert row.boxes.tolist() == [[4, 5, 30, 30], [36, 10, 60, 40]]
        assert row.rles is None
