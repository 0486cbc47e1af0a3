"""What every card must say, and the small sources on made-up copies of their layouts."""

import numpy as np
import pytest
from PIL import Image

from geomtp.data.sources import SOURCES
from geomtp.data.sources.held_out import held_out
from geomtp.data.sources.oam_buildings import parent_tile
from geomtp.labels import change_map, semantic_map
from geomtp.rasters import read_window, tile_georeference, write_raster
from tests.labels.layouts import image, text
from tests.labels.readers.test_geojson import collection, feature, square
from tests.labels.readers.test_xml_files import annotation, voc_object


@pytest.mark.parametrize("name", SOURCES)
def test_cards(name, tmp_path):
    source = SOURCES[name]
    assert source.name == name
    about = source.info(tmp_path)
    assert len(about.mean) == len(about.std)
    assert about.licence
    for word in ("sensor", "metres per pixel", "classes", "counts", "licence", "layout"):
        assert f"- {word}: " in type(source).__doc__, f"the card of {name} does not say: {word}"


def test_hit_uav(tmp_path):
    names = ["Person", "Car", "Bicycle", "OtherVehicle", "DontCare"]
    for i, split in enumerate(("train", "val", "test")):
        image(tmp_path / f"{split}/{i}.jpg", 512, 640)
        content = {
            "images": [{"id": 40, "width": 640, "height": 512, "filename": f"{i}.jpg"}],
            "categories": [{"id": j, "name": name} for j, name in enumerate(names)],
            "annotations": [
                {"id": 0, "image_id": 40, "category_id": 1, "bbox": [100, 200, 20, 40, 0.5]},
                {"id": 1, "image_id": 40, "category_id": 4, "bbox": [300, 200, 20, 40, 0.0]},
            ],
        }
        text(tmp_path / f"annotations/{split}.json", content)
    store, report = SOURCES["hit_uav"].build_with_report(tmp_path, tmp_path / "out")
    assert [(row.image, row.split) for row in store] == [
        ("train/0.jpg", "train"), ("val/1.jpg", "val"), ("test/2.jpg", "test")
    ]  # fmt: skip
    row = store[0]
    assert row.rbox_labels.tolist() == [1]
    np.testing.assert_allclose(row.rboxes, [[100, 200, 40, 20, 0.5 - np.pi / 2]], rtol=1e-6)
    assert abs(int((semantic_map(row, store.image_root) == 2).sum()) - 800) < 30
    assert dict(report.left_out) == {"ignored": 3}


def test_oam_buildings(tmp_path):
    parents = [(309_600 + i, 261_600) for i in range(10)]
    for x, y in parents:
        image(tmp_path / f"uganda_z19_20/OAM-{x}-{y}-19.png", 256, 256)
        image(tmp_path / f"uganda_z21/OAM-{4 * x + 1}-{4 * y + 2}-21.png", 256, 256)
    x, y = parents[3]
    # 10 pixels of the zoom 19 tile are 40 of the one at zoom 21 that starts at (64, 128) in it.
    building = feature(tile_georeference(f"t-{x}-{y}-19"), square(70, 140, 10))
    text(tmp_path / "uganda_z19_20/labels.geojson", collection(building))
    text(tmp_path / "uganda_z21/labels.geojson", collection(building))
    store = SOURCES["oam_buildings"].build(tmp_path, tmp_path / "out")
    assert len(store) == 20
    found = {row.image: row for row in store if len(row.boxes)}
    coarse = found[f"uganda_z19_20/OAM-{x}-{y}-19.png"]
    fine = found[f"uganda_z21/OAM-{4 * x + 1}-{4 * y + 2}-21.png"]
    np.testing.assert_allclose(coarse.boxes, [[70, 140, 80, 150]], atol=1)
    np.testing.assert_allclose(fine.boxes, [[24, 48, 64, 88]], atol=1)
    np.testing.assert_allclose(fine.rboxes[0, :4], [44, 68, 40, 40], atol=0.05)
    splits = {}
    for row in store:
        splits.setdefault(parent_tile(row.image), set()).add(row.split)
    assert all(len(split) == 1 for split in splits.values())
    assert sum(split == {"val"} for split in splits.values()) == 2


def test_neon_trees(tmp_path):
    for i in range(10):
        image(tmp_path / f"HARV_{i:03}.tif", 400, 400)
        objects = [voc_object("Tree\\" if i == 5 else "Tree", (10, 20, 50, 60))]
        text(tmp_path / f"HARV_{i:03}.xml", annotation(*objects))
    store = SOURCES["neon_trees"].build(tmp_path, tmp_path / "out")
    assert (len(store.subset("train")), len(store.subset("val"))) == (8, 2)
    row = store[5]
    assert row.boxes.tolist() == [[10, 20, 50, 60]]
    assert row.rles is None
    assert row.rboxes[0, :4].tolist() == [30, 40, 40, 40]


def test_eurosat_tiles_are_cut_from_their_sheets(tmp_path):
    source = SOURCES["eurosat_tiles"]
    for number, name in enumerate(source.classes.names):
        sheet = np.zeros((640, 640, 3), np.uint8)
        sheet[192:256, 448:512] = 20 * number + 20  # row 3, column 7
        path = tmp_path / "data" / f"canvas_{name}_10x10.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(sheet).save(path)
    store = source.build(tmp_path / "data", tmp_path / "out")
    assert (len(store.subset("train")), len(store.subset("val"))) == (800, 200)
    for number, name in enumerate(source.classes.names):
        rows = {row.image: row for row in store if row.scene_class == number}
        assert len(rows) == 100
        assert sum(row.split == "val" for row in rows.values()) == 20
        tile = read_window(store.image_root / f"{name}/037.png")
        assert abs(int(tile.mean()) - (20 * number + 20)) < 3
        assert f"{name}/037.png" in rows
    Image.new("RGB", (640, 600)).save(tmp_path / "data/canvas_River_10x10.jpg")
    with pytest.raises(ValueError, match="the sheet of River must hold 10 × 10 tiles"):
        source.build(tmp_path / "data", tmp_path / "again")


def test_taizhou_is_cut_into_blocks(tmp_path):
    root = tmp_path / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    dates = {}
    for date in ("2000", "2003"):
        dates[date] = rng.integers(0, 255, (400, 400, 6), dtype=np.uint8)
        write_raster(root / f"{date}TM", dates[date])  # told by content, not by name
    changed, unchanged = np.zeros((2, 400, 400), np.uint8)
    changed[110, 5], unchanged[120, 7] = 255, 255
    Image.fromarray(changed).save(root / "change.bmp")
    Image.fromarray(unchanged).save(root / "unchanged.bmp")
    store, report = SOURCES["taizhou"].build_with_report(root, tmp_path / "out")
    assert report.objects == (("changed", 1),)
    assert (len(store.subset("train")), len(store.subset("test"))) == (8, 8)
    assert all(int(row.image[-5]) < 2 for row in store.subset("train"))
    row = next(row for row in store if row.image == "2000/1_0.tif")
    for date, path in (("2000", row.image), ("2003", row.image_after)):
        block = read_window(store.image_root / path)
        np.testing.assert_array_equal(block, dates[date][100:200, :100])
    found = change_map(row, store.image_root)
    assert [int(found[at]) for at in ((10, 5), (20, 7), (0, 0))] == [1, 0, 255]


def test_held_out_places_do_not_depend_on_order_or_repetition():
    places = [f"place {i}" for i in range(50)]
    chosen = held_out(places, 0.2)
    assert len(chosen) == 10
    assert held_out([*reversed(places), *places], 0.2) == chosen
    assert len(held_out(["a", "b"], 0.2)) == 1


def test_parent_tiles():
    assert parent_tile("x/OAM-1238424-1046544-21.png") == "309606-261636"
    assert parent_tile("OAM-619213-523273-20.png") == "309606-261636"
    assert parent_tile("OAM-309606-261636-19.png") == "309606-261636"


def cloud_scenes(root, side=256):
    root.mkdir()
    rng = np.random.default_rng(0)
    scenes = {}
    for name in ("landsat5", "landsat7", "sentinel2"):
        pixels = rng.random((side, side, 6), dtype=np.float32)
        mask = rng.choice([0, 1, 3, 4], (side, side, 1)).astype(np.uint8)
        np.savez(root / f"{name}.npz", img=pixels, msk=mask)
        scenes[name] = pixels, mask
    return scenes


def test_cloud_scenes_are_cut_into_tiles(tmp_path):
    scenes = cloud_scenes(tmp_path / "data")
    store = SOURCES["cloud_scenes"].build(tmp_path / "data", tmp_path / "out")
    assert [len(store.subset(split)) for split in ("train", "val", "test")] == [4, 4, 4]
    row = next(row for row in store.subset("test") if row.image == "images/sentinel2__128_0.tif")
    pixels, mask = scenes["sentinel2"]
    np.testing.assert_array_equal(read_window(store.image_root / row.image), pixels[128:, :128])
    found = semantic_map(row, store.image_root, values=store.info.semantic_values)
    for value, class_id in ((0, 1), (1, 2), (3, 3), (4, 4)):
        np.testing.assert_array_equal(found == class_id, mask[128:, :128, 0] == value)


def test_a_file_that_holds_no_cloud_scene_is_refused(tmp_path):
    cloud_scenes(tmp_path / "data", 128)
    np.savez(tmp_path / "data" / "landsat7.npz", img=np.zeros((128, 128, 3), np.float32))
    with pytest.raises(ValueError, match=r"landsat7\.npz does not hold the arrays img and msk"):
        SOURCES["cloud_scenes"].build(tmp_path / "data", tmp_path / "out")
    (tmp_path / "data" / "landsat7.npz").unlink()
    with pytest.raises(FileNotFoundError, match="expected landsat5, landsat7"):
        SOURCES["cloud_scenes"].build(tmp_path / "data", tmp_path / "out")
