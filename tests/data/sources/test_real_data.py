"""The small sources on the real data, where that lies beside the repository."""

from pathlib import Path

import numpy as np
import pytest

from geomtp.data.sources import SOURCES
from geomtp.data.sources.oam_buildings import parent_tile
from geomtp.labels import ImageLabels, PolygonSegmenter, change_map, semantic_map
from geomtp.labels.readers.geojson import read_geojson
from geomtp.rasters import Georeference, georeference, raster_info, read_window
from tests.labels.layouts import notes

DATA = Path(__file__).parents[4] / "shared" / "data"


def real(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"optional real data {name!r} is not there (looked in ../shared/data)")
    return DATA / name


def assert_mean_and_std(store):
    """The card's numbers are those of the training images."""
    channels = range(len(store.mean))
    counts = np.zeros((len(channels), 256))
    rows = store.subset("train")
    for path in (p for row in rows for p in (row.image, row.image_after) if p is not None):
        pixels = read_window(store.image_root / path, bands=channels)
        for channel in channels:
            counts[channel] += np.bincount(pixels[:, :, channel].reshape(-1), minlength=256)
    values = np.arange(256)
    mean = (counts * values).sum(axis=1) / counts.sum(axis=1)
    squares = (counts * values**2).sum(axis=1) / counts.sum(axis=1)
    np.testing.assert_allclose(store.mean, mean, atol=0.006)
    np.testing.assert_allclose(store.std, np.sqrt(squares - mean**2), atol=0.006)


def test_hit_uav(tmp_path):
    store, report = SOURCES["hit_uav"].build_with_report(real("hit_uav"), tmp_path / "out")
    assert [len(store.subset(split)) for split in ("train", "val", "test")] == [120, 40, 40]
    assert dict(report.objects) == {"Car": 1623, "Bicycle": 280, "Person": 75, "OtherVehicle": 14}
    assert report.left_out == ()
    assert_mean_and_std(store)


def test_oam_buildings(tmp_path):
    root = real("oam_buildings")
    store, report = SOURCES["oam_buildings"].build_with_report(root, tmp_path / "out")
    assert len(store) == 157
    train, val = (store.subset(split) for split in ("train", "val"))
    assert (len(train), len(val)) == (115, 42)
    assert not {parent_tile(r.image) for r in train} & {parent_tile(r.image) for r in val}
    assert report.objects == (("building", 961),)
    assert_mean_and_std(store)


@pytest.mark.parametrize("folder", ["geotiff_val-chips", "uganda_z21"])
def test_painted_buildings_equal_the_published_masks(folder):
    # The same tiles twice: as GeoTIFF with their own place, and as PNG placed by their names.
    root = real("oam_buildings")
    compared = 0
    for item in read_geojson(root / folder, root, notes(), class_name="building"):
        published = root / "geotiff_val-binarymasks" / f"{Path(item.image).stem}.mask.tif"
        if not published.exists():
            continue
        masks = PolygonSegmenter().segment(root / folder / item.image, item)
        labels = ImageLabels(
            item.image,
            item.size_hw,
            box_labels=np.zeros(len(masks), np.int64),
            rles=tuple(mask.rle for mask in masks),
        )
        want = read_window(published)[:, :, 0] > 0
        np.testing.assert_array_equal(semantic_map(labels, root) > 0, want)
        compared += 1
    assert compared == 29


def test_neon_trees(tmp_path):
    store, report = SOURCES["neon_trees"].build_with_report(real("neon_trees"), tmp_path / "out")
    assert [len(store.subset(split)) for split in ("train", "val")] == [18, 5]
    assert report.objects == (("Tree", 583),)
    assert_mean_and_std(store)


def test_eurosat_tiles(tmp_path):
    store = SOURCES["eurosat_tiles"].build(real("eurosat_tiles"), tmp_path / "out")
    assert (len(store.subset("train")), len(store.subset("val"))) == (800, 200)
    assert_mean_and_std(store)


def test_taizhou(tmp_path):
    store = SOURCES["taizhou"].build(real("cd_landsat") / "Taizhou", tmp_path / "out")
    for split, changed, unchanged in (("train", 2525, 6931), ("test", 1702, 10232)):
        maps = np.stack([change_map(row, store.image_root) for row in store.subset(split)])
        assert (len(maps), (maps == 1).sum(), (maps == 0).sum()) == (8, changed, unchanged)
    assert_mean_and_std(store)


def test_cloud_scenes(tmp_path):
    store = SOURCES["cloud_scenes"].build(real("cloud_l1c"), tmp_path / "out")
    values = store.info.semantic_values
    wanted = {
        "train": (0, 60488, 2698, 113029, 85929),
        "val": (0, 43494, 6176, 118023, 94451),
        "test": (0, 28583, 840, 183124, 49597),
    }
    for split, counts in wanted.items():
        maps = [semantic_map(r, store.image_root, values=values) for r in store.subset(split)]
        assert len(maps) == 16
        assert tuple(np.bincount(np.stack(maps).ravel())) == counts
    pixels = np.concatenate([read_window(store.image_root / r.image).reshape(-1, 6) for r in store])
    np.testing.assert_allclose(store.mean, pixels.astype(float).mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(store.std, pixels.astype(float).std(axis=0), atol=1e-4)


def test_a_landsat_pair_in_envi():
    path = real("cd_landsat") / "Taizhou" / "2000TM"
    info = raster_info(path)
    assert (info.size_hw, info.bands, info.dtype) == ((400, 400), 6, "uint8")
    assert info.georeference == Georeference(
        "EPSG:32651", (30.0, 0.0, 203_325.0, 0.0, -30.0, 3_604_935.0)
    )
    whole = read_window(path)
    np.testing.assert_array_equal(
        read_window(path, (7, 9, 50, 60), (5, 0)), whole[9:60, 7:50, [5, 0]]
    )


def test_four_bands_and_their_place():
    path = sorted((real("urban_tree_naip") / "images").glob("*.tif"))[0]
    assert read_window(path).shape == (256, 256, 4)
    place = georeference(path)
    assert place.crs == "EPSG:26911"
    assert place.transform[0] == pytest.approx(0.6)
