"""The public data sets on tiny copies of their layouts: counts, classes, boxes, maps, splits."""

import dataclasses
from collections import Counter

import numpy as np
import pytest

from geomtp.data.sources import PUBLIC
from geomtp.data.sources.change_patches import patch_starts
from geomtp.data.sources.xview import clip_box, clip_starts, clip_windows
from geomtp.labels import change_map, semantic_map
from geomtp.labels.tiles.tiling import Tiling
from geomtp.rasters import read_window
from tests.data.folders.layouts import picture
from tests.data.sources import public_layouts
from tests.data.sources.public_layouts import LAYOUTS, grey
from tests.labels.layouts import text

CLASS_COUNTS = {
    "eurosat": 10, "resisc45": 45, "xview": 60, "dior": 20, "dior_r": 20, "fair1m": 37,
    "dota_v1": 15, "dota_v2": 18, "spacenet_v1": 1, "loveda": 6, "oscd": 1, "whu_cd": 1,
    "levir_cd": 1, "cdd": 1,
}  # fmt: skip
"""Without the background of maps, which the reference counts as a class."""


def built(name, tmp_path):
    root = LAYOUTS[name](tmp_path / name)
    return PUBLIC[name].build_with_report(root, tmp_path / "out")


def splits(store):
    return dict(Counter(row.split for row in store))


def test_every_set_has_its_classes_in_order():
    assert {name: len(source.classes) for name, source in PUBLIC.items()} == CLASS_COUNTS
    first_and_last = {name: (s.classes.names[0], s.classes.names[-1]) for name, s in PUBLIC.items()}
    assert first_and_last["resisc45"] == ("airplane", "wetland")
    assert first_and_last["dior"] == first_and_last["dior_r"] == ("airplane", "windmill")
    assert first_and_last["fair1m"] == ("A220", "Warship")
    assert PUBLIC["dota_v1"].classes.names[9] == "storage-tank"  # the reference's "rect" classes
    assert PUBLIC["dota_v1"].classes.names[11] == "roundabout"
    assert PUBLIC["dota_v2"].classes.names[:15] == PUBLIC["dota_v1"].classes.names
    assert PUBLIC["xview"].classes.index("Building") == 48  # type_id 73
    assert PUBLIC["loveda"].classes.palette[3] == (159, 129, 183)  # barren
    assert PUBLIC["spacenet_v1"].classes.palette == ((255, 0, 0),)


def test_eurosat_and_its_share_of_published_folders(tmp_path):
    store, report = built("eurosat", tmp_path)
    assert splits(store) == {"train": 10, "val": 10}
    assert store[3].scene_class == 3
    assert store[3].image == "train/Highway/Highway_1.jpg"
    assert report.objects[0][1] == 2  # two images of each class
    for name in PUBLIC["eurosat"].classes.names:
        for i in range(10):
            picture(tmp_path / "full/2750" / name / f"{name}_{i}.jpg", size_hw=(8, 8))
    full = PUBLIC["eurosat"].build(tmp_path / "full", tmp_path / "full_out")
    assert splits(full) == {"train": 60, "val": 20, "test": 20}
    per_class = Counter((row.scene_class, row.split) for row in full)
    assert {per_class[k, "train"] for k in range(10)} == {6}


def test_resisc45_by_lists_and_by_folders(tmp_path):
    store, _ = built("resisc45", tmp_path)
    found = [(row.image, row.split, row.scene_class) for row in store]
    assert found == [
        ("all_img/airplane_001.jpg", "train", 0),
        ("all_img/wetland_700.jpg", "train", 44),
        ("all_img/lake_007.jpg", "val", 21),
    ]
    text(tmp_path / "resisc45/mtp/valid_labels_28_mtp.txt", "lake_007.jpg 45\n")
    with pytest.raises(ValueError, match="line 1 must be an image name and a number below 45"):
        PUBLIC["resisc45"].build(tmp_path / "resisc45", tmp_path / "out")
    for name in PUBLIC["resisc45"].classes.names:
        for i in range(5):
            picture(tmp_path / "full" / name / f"{name}_{i}.jpg", size_hw=(8, 8))
    full = PUBLIC["resisc45"].build(tmp_path / "full", tmp_path / "full_out")
    assert splits(full) == {"train": 45, "val": 180}


def test_dior_and_dior_r(tmp_path):
    store, _ = built("dior", tmp_path)
    assert [(row.image, row.split) for row in store] == [
        ("JPEGImages-trainval/00001.jpg", "train"),
        ("JPEGImages-trainval/00002.jpg", "val"),
        ("JPEGImages-test/11726.jpg", "test"),
    ]
    assert store[0].boxes.tolist() == [[10, 20, 50, 60]]
    assert store[0].box_labels.tolist() == [store.classes.index("ship")]
    turned = PUBLIC["dior_r"].build(tmp_path / "dior", tmp_path / "turned")
    side = 20 * np.sqrt(2)
    np.testing.assert_allclose(turned[2].rboxes[0, :4], [30, 40, side, side], rtol=1e-5)
    assert abs(abs(turned[2].rboxes[0, 4]) - np.pi / 4) < 1e-5
    (tmp_path / "dior/Annotations/Horizontal Bounding Boxes/00002.xml").unlink()
    _, report = PUBLIC["dior"].build_with_report(tmp_path / "dior", tmp_path / "again")
    assert report.count("no annotation") == 1


def test_xview_is_clipped_as_in_the_reference(tmp_path):
    store, report = built("xview", tmp_path)
    assert report.count("no image") == 1  # 1395.tif
    assert report.count("unknown type_id") == 6
    assert {row.size_hw for row in store} == {(416, 416)}
    scenes = {row.image.rpartition("_")[0] for row in store}
    assert Counter(name.split("/")[0] for name in scenes) == {"train": 5, "val": 1}
    rows = {row.image: row for row in store if row.image.startswith(sorted(scenes)[0])}
    # Windows start at x 0, 184 and y 0, 84: the upper right one holds the car alone, the lower left
    # one the building alone, the lower right one no centre.
    stem = sorted(scenes)[0]
    assert sorted(rows) == [f"{stem}_{n}.png" for n in range(3)]
    upper_left, upper_right, lower_left = (rows[f"{stem}_{n}.png"] for n in range(3))
    assert upper_left.boxes.tolist() == [[10, 20, 50, 60]]  # the car's centre x 420 is outside
    assert upper_right.boxes.tolist() == [[216, 30, 256, 70]]
    assert lower_left.boxes.tolist() == [[0, 396, 30, 415]]  # cut a pixel short below
    assert lower_left.box_labels.tolist() == [48]
    original = read_window(tmp_path / "xview/train_images" / f"{stem.split('/')[1]}.tif")
    np.testing.assert_array_equal(
        read_window(store.image_root / f"{stem}_1.png"), original[:416, 184:600]
    )


def test_windows_and_boxes_of_clips():
    assert clip_starts(416) == [0]
    assert clip_starts(300) == [0]
    assert clip_starts(417) == [0, 1]
    assert clip_starts(3000) == [int(2584 * i / 7) for i in range(8)]
    centre_on_edge = np.array([[406.0, 0, 426, 10]])  # centre x 416 belongs to the next window
    assert [w[0] for w, _ in clip_windows(centre_on_edge, (416, 832))] == [416]
    assert clip_box(np.array([400.0, -5, 430, 416]), (0, 0, 416, 416)) == (400, 0, 415, 415)


@pytest.mark.parametrize("name", ["dota_v1", "dota_v2"])
def test_dota_is_cut_at_one_size_or_several(tmp_path, name):
    root = LAYOUTS[name](tmp_path / "data")
    source = dataclasses.replace(PUBLIC[name], tiling=Tiling(128, 28))
    store, report = source.build_with_report(root, tmp_path / "out")
    tiles = {row.image for row in store}
    assert "train/P_train__128__0___0.tif" in tiles
    assert "train/P_train__128__172___72.tif" in tiles
    assert splits(store) == {"train": 2, "val": 6, "test": 6}  # of train only those with objects
    last = next(row for row in store if row.image == "train/P_train__128__172___72.tif")
    np.testing.assert_allclose(last.rboxes, [[98, 88, 40, 20, 0]], atol=1e-5)
    assert store.classes.names[last.rbox_labels[0]] == ("plane", "helipad")[name == "dota_v2"]
    test = store.subset("test")[0]
    assert test.rboxes is None  # not labelled, which is not the same as empty
    assert report.images == 14
    several = dataclasses.replace(source, tiling=Tiling(128, 60, (0.5, 1.0, 1.5)))
    tiles = {row.image for row in several.build(root, tmp_path / "several")}
    assert {name.split("__")[1] for name in tiles} == {"256", "128", "85"}


@pytest.mark.parametrize(
    ("empty_tiles", "counts"),
    [
        ("none", {"train": 2, "val": 2, "test": 6}),
        ("val", {"train": 2, "val": 6, "test": 6}),
        ("all", {"train": 6, "val": 6, "test": 6}),
    ],
)
def test_tiles_without_objects_are_kept_where_asked_for(tmp_path, empty_tiles, counts):
    root = LAYOUTS["dota_v1"](tmp_path / "data")
    source = dataclasses.replace(PUBLIC["dota_v1"], tiling=Tiling(128, 28), empty_tiles=empty_tiles)
    store = source.build(root, tmp_path / "out")
    assert splits(store) == counts
    for row in store.subset("val"):  # labelled: what a detector finds there counts against it
        assert row.rboxes.shape == (len(row.rbox_labels), 5)
        assert (store.image_root / row.image).is_file()
    objects = {row.image: len(row.rboxes) for row in store if row.split != "test"}
    assert sum(objects.values()) == sum(1 for count in objects.values() if count) == 4


def test_tiles_of_the_reference_without_objects(tmp_path):
    for name, line in (("a", "1 2 30 2 30 12 1 12 ship 0\n"), ("b", ""), ("c", "")):
        for split in ("trainval", "val")[: 1 + (name == "c")]:
            tile = f"{name}__64__0___0"
            picture(tmp_path / "ss" / split / "images" / f"{tile}.png", size_hw=(64, 64))
            text(tmp_path / "ss" / split / "annfiles" / f"{tile}.txt", line)
    kept = {}
    for empty_tiles in ("none", "val", "all"):
        source = dataclasses.replace(PUBLIC["dota_v2"], empty_tiles=empty_tiles)
        store = source.build(tmp_path / "ss", tmp_path / empty_tiles)
        kept[empty_tiles] = {row.image.split("/")[-1][0]: row.split for row in store}
    assert kept == {
        "none": {"a": "train"},
        "val": {"a": "train", "c": "val"},
        "all": {"a": "train", "b": "train", "c": "val"},
    }


def test_dota_in_the_tiles_of_the_reference(tmp_path):
    line = "1 2 30 2 30 12 1 12 ship 0\n"
    for split, names in (("trainval", ("a", "b")), ("val", ("b",)), ("test", ("c",))):
        for name in names:
            tile = f"{name}__64__0___0"
            picture(tmp_path / "ms" / split / "images" / f"{tile}.png", size_hw=(64, 64))
            text(tmp_path / "ms" / split / "annfiles" / f"{tile}.txt", line)
    store = PUBLIC["dota_v1"].build(tmp_path / "ms", tmp_path / "out")
    assert [(row.image.split("/")[0], row.split) for row in store] == [
        ("trainval", "train"), ("trainval", "val"), ("test", "test")
    ]  # fmt: skip
    assert store[0].rbox_labels.tolist() == [store.classes.index("ship")]


def test_grey_images_of_dota_have_three_bands_and_tiles_are_not_cut_twice(tmp_path):
    root = public_layouts.dota_v1(tmp_path / "data")
    grey(root / "train/images/P_train.png", np.full((200, 300), 77))
    store = PUBLIC["dota_v1"].build(root, tmp_path / "out")
    tile = store.image_root / store[0].image
    assert read_window(tile).shape[2] == 3
    tile.write_bytes(b"kept")
    lost = store.image_root / store.subset("test")[0].image
    lost.unlink()
    PUBLIC["dota_v1"].build(root, tmp_path / "out")
    assert tile.read_bytes() == b"kept"
    assert lost.is_file()


def test_the_labels_of_dotas_version_are_taken(tmp_path):
    root = public_layouts.dota_v1(tmp_path / "data")
    for split in ("train", "val"):
        (root / split / "labelTxt").rename(root / split / "labelTxt-v1.0")
        line = "10 20 50 20 50 60 10 60 airport 0\n"
        text(root / split / "labelTxt-v2.0" / f"P_{split}.txt", line)
    assert dict(PUBLIC["dota_v1"].build_with_report(root, tmp_path / "a")[1].objects).keys() == {
        "plane"
    }
    assert dict(PUBLIC["dota_v2"].build_with_report(root, tmp_path / "b")[1].objects).keys() == {
        "airport"
    }


def test_fair1m_joins_its_parts(tmp_path):
    store, report = built("fair1m", tmp_path)
    assert {row.image: row.split for row in store} == {
        "train/part1_images_7__800__0___0.tif": "train",
        "train/part2_images_7__800__0___0.tif": "train",
        "val/7__800__0___0.tif": "val",
        "test/7__800__0___0.tif": "test",
    }
    assert report.objects == (("Dry-Cargo-Ship", 3),)
    row = store.subset("val")[0]
    np.testing.assert_allclose(row.rboxes, [[29, 19, 40, 20, 0]], atol=1e-5)


def test_spacenet_polygons_become_maps(tmp_path):
    store, _ = built("spacenet_v1", tmp_path)
    assert splits(store) == {"train": 5, "val": 2}
    with_building = [row for row in store if "img0" not in row.image]
    for row in (with_building[0], with_building[-1]):
        found = semantic_map(row, store.image_root, values=store.info.semantic_values)
        expected = np.zeros((70, 80), np.uint8)
        expected[40:60, 30:40] = 1
        np.testing.assert_array_equal(found, expected)
    empty = next(row for row in store if "img0." in row.image)
    values = store.info.semantic_values
    assert not semantic_map(empty, store.image_root, values=values).any()
    again = PUBLIC["spacenet_v1"].build(tmp_path / "out", tmp_path / "again")  # as the reference
    assert splits(again) == {"train": 5, "val": 2}


def test_loveda_in_both_layouts(tmp_path):
    store, _ = built("loveda", tmp_path)
    assert splits(store) == {"train": 1, "val": 1, "test": 1}
    found = semantic_map(store[0], store.image_root, values=store.info.semantic_values)
    assert [int(found[5, x]) for x in (0, 16, 32, 48)] == [255, 0, 6, 1]
    assert store[2].semantic is None
    for part, source in (("trainval", "Train/Urban"), ("test", "Test/Urban")):
        (tmp_path / "joined" / part).mkdir(parents=True)
        for old, new in (("images_png", "images"), ("masks_png", "labels")):
            folder = tmp_path / "loveda" / source / old
            if folder.is_dir():
                folder.rename(tmp_path / "joined" / part / new)
    joined = PUBLIC["loveda"].build(tmp_path / "joined", tmp_path / "joined_out")
    assert [(row.image, row.semantic) for row in joined] == [
        ("trainval/images/0.png", "trainval/labels/0.png"),
        ("test/images/2.png", None),
    ]


def test_levir_is_cut_and_small_pairs_are_not(tmp_path):
    store, _ = built("levir_cd", tmp_path)
    assert splits(store) == {"train": 4, "val": 4, "test": 4}
    rows = {row.image: row for row in store}
    upper, lower = rows["train/A/train_1_0_1.png"], rows["train/A/train_1_1_1.png"]
    assert upper.image_after == "train/B/train_1_0_1.png"
    values = store.info.change_values
    assert change_map(upper, store.image_root, values=values).all()
    assert not change_map(lower, store.image_root, values=values).any()
    whole = read_window(tmp_path / "levir_cd/train/B/train_1.png")
    np.testing.assert_array_equal(
        read_window(store.image_root / upper.image_after), whole[:256, 256:]
    )
    again = PUBLIC["levir_cd"].build(store.image_root, tmp_path / "again")
    assert again.image_root == store.image_root
    assert len(again) == 12


def test_jpeg_maps_of_cdd_are_thresholded(tmp_path):
    store, _ = built("cdd", tmp_path)
    assert splits(store) == {"train": 1, "val": 1, "test": 1}
    row = store[0]
    assert row.change == "train/OUT/00001.jpg"
    found = change_map(row, store.image_root, values=store.info.change_values)
    assert set(np.unique(found)) == {0, 1}
    assert int(found.sum()) == 32 * 64


def test_whu_is_cut_into_as_many_patches_as_the_reference_has(tmp_path):
    assert len(patch_starts(32_507, 256)) * len(patch_starts(15_354, 256)) == 7_620
    assert patch_starts(600, 256) == [0, 256, 344]
    store, _ = built("whu_cd", tmp_path)
    assert splits(store) == {"train": 10, "val": 2, "test": 3}  # of 15: 70, 10, 20 %
    values = store.info.change_values
    shares = [change_map(row, store.image_root, values=values).mean() for row in store]
    assert sorted(shares) == [0] * 10 + [10 / 256] * 5


def test_oscd_patches(tmp_path):
    store, _ = built("oscd", tmp_path)
    found = [(row.image, row.split, row.size_hw) for row in store]
    assert len(found) == 7
    assert found[0] == ("train/A/paris_0_0.png", "train", (96, 96))
    assert found[-1] == ("test/A/rio_0_0.png", "test", (90, 96))
    values = store.info.change_values
    last = change_map(store[5], store.image_root, values=values)
    assert int(last.sum()) == 100
    assert last[-10:, -10:].all()
    # The sizes of the published cities (width, height) give the reference's numbers of patches.
    train = "471x525 360x395 517x461 582x522 390x408 563x352 688x639 785x799 788x1015 776x718 902x772 540x695 1070x1180 858x557"  # noqa: E501
    test = "431x469 426x451 241x385 353x426 639x688 458x476 634x774 716x824 545x558 544x730"
    for sizes, count in ((train, 827), (test, 385)):
        sides = [tuple(map(int, size.split("x"))) for size in sizes.split()]
        assert sum(len(patch_starts(w, 96)) * len(patch_starts(h, 96)) for w, h in sides) == count


@pytest.mark.parametrize("name", PUBLIC)
def test_a_missing_folder_and_another_layout_are_told(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=f"is no folder: expected the data of '{name}'"):
        PUBLIC[name].build(tmp_path / "none", tmp_path / "out")
    picture(tmp_path / "other" / "holiday" / "beach.jpg")
    with pytest.raises(FileNotFoundError, match=f"does not hold '{name}': expected .*holiday"):
        PUBLIC[name].build(tmp_path / "other", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_files_without_partner_and_of_another_size_are_named(tmp_path):
    root = public_layouts.cdd(tmp_path / "cdd")
    picture(root / "val/B/00002.jpg", size_hw=(64, 64))
    with pytest.raises(ValueError, match=r"must hold files of the same names.*00002"):
        PUBLIC["cdd"].build(root, tmp_path / "out")
    (root / "val/B/00002.jpg").unlink()
    picture(root / "val/B/00001.jpg", size_hw=(64, 32))
    with pytest.raises(ValueError, match=r"must have one height and width: .*val/B/00001\.jpg"):
        PUBLIC["cdd"].build(root, tmp_path / "out")
    root = public_layouts.loveda(tmp_path / "loveda")
    grey(root / "Train/Urban/masks_png/0.png", np.ones((32, 64)))
    with pytest.raises(ValueError, match="they must be equal"):
        PUBLIC["loveda"].build(root, tmp_path / "out")
    (root / "Train/Urban/masks_png/0.png").unlink()
    with pytest.raises(FileNotFoundError, match="is missing: the class map of Train/Urban"):
        PUBLIC["loveda"].build(root, tmp_path / "out")
