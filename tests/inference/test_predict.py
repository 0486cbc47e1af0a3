"""Maps and objects of scenes by windows are those of the whole."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import torch
from PIL import Image

from tests.inference.scenes import UTM, noise, predicted, values_of, write_scene
from tests.inference.stub_models import Blur, Difference, Rectangles


def whole(model, pixels):
    """What ``model`` says of all of (H, W) at once."""
    image = (torch.from_numpy(pixels.astype(np.float32))[None, None] - 128) / 64
    return model.predict(image, [pixels.shape], "made")[0]


@pytest.mark.parametrize("overlap", [0.25, 0.5])
@pytest.mark.parametrize("size_hw", [(300, 450), (40, 200), (50, 50), (131, 97)])
def test_windows_leave_no_seam(monkeypatch, tmp_path, size_hw, overlap):
    pixels = noise(*size_hw)
    scene = write_scene(tmp_path / "scene.tif", pixels, **UTM)
    (result,) = predicted(monkeypatch, Blur(), tmp_path / "out", scene, window=64, overlap=overlap)
    found = values_of(result.maps["semantic"])
    expected = whole(Blur(), pixels).semantic.numpy()
    inner = tuple(slice(Blur.RADIUS, side - Blur.RADIUS) for side in size_hw)
    np.testing.assert_array_equal(found[inner], expected[inner])
    assert set(np.unique(found)) == {0, 1, 2}


def test_blocks_leave_no_seam(monkeypatch, tmp_path):
    pixels = noise(400, 300, seed=1)
    scene = write_scene(tmp_path / "scene.tif", pixels)
    monkeypatch.setattr("geomtp.inference.windows.scene_grid.SUMS_BYTES", 1)  # blocks of two cells
    (result,) = predicted(monkeypatch, Blur(), tmp_path / "out", scene, window=64)
    expected = whole(Blur(), pixels).semantic.numpy()
    inner = (slice(Blur.RADIUS, -Blur.RADIUS),) * 2
    np.testing.assert_array_equal(values_of(result.maps["semantic"])[inner], expected[inner])
    assert result.summary["settings"]["cells_per_block"] == 2
    assert result.summary["windows"] == 8 * 6  # each of them seen once


def test_views_of_all_kinds_agree_with_one(monkeypatch, tmp_path):
    pixels = np.full((120, 200), 60, dtype=np.uint8)
    pixels[40:90, 60:140] = 190
    scene = write_scene(tmp_path / "scene.tif", pixels)
    flips = ("horizontal", "vertical", "diagonal")
    model = Blur()
    (result,) = predicted(
        monkeypatch, model, tmp_path / "out", scene, window=64, flips=flips, scales=(1.0, 2.0)
    )
    expected = whole(Blur(), pixels).semantic.numpy()
    found = values_of(result.maps["semantic"])
    assert (found != expected).mean() < 0.02  # another size moves a blurred edge by a pixel
    assert model.windows == 4 * result.summary["windows"]


@pytest.mark.parametrize("task", ["rotated", "horizontal"])
def test_objects_at_every_offset_are_found_once(monkeypatch, tmp_path, task):
    rng = np.random.default_rng(3)
    pixels = np.zeros((330, 330), dtype=np.uint8)
    planted = []
    for row in range(20):  # every offset from a window's border, in x and in y
        for column in range(20):
            x, y = 16 * column + (row % 6), 16 * row + (column % 7)
            w, h = (12, 6) if rng.random() < 0.5 else (6, 12)
            value = int(rng.integers(1, 255))
            pixels[y : y + h, x : x + w] = value
            planted.append((x, y, x + w, y + h, int(value >= 128)))
    scene = write_scene(tmp_path / "scene.tif", pixels)
    monkeypatch.setattr("geomtp.inference.windows.scene_grid.SUMS_BYTES", 1)
    (result,) = predicted(monkeypatch, Rectangles(task), tmp_path / "out", scene, window=64)
    frame = pyogrio.read_dataframe(result.vectors[task])
    bounds = frame.geometry.bounds.round().astype(int)
    found = sorted(zip(*bounds.to_numpy().T.tolist(), frame["class_id"].tolist(), strict=True))
    assert found == sorted(planted)
    assert result.summary[task]["objects"] == 400


def test_what_has_no_data_gives_none(monkeypatch, tmp_path):
    pixels = noise(200, 300)
    pixels[pixels == 7] = 8
    pixels[:, 150:] = 7
    scene = write_scene(tmp_path / "scene.tif", pixels, nodata=7, **UTM)
    model = Blur()
    (result,) = predicted(monkeypatch, model, tmp_path / "out", scene, window=64)
    found = values_of(result.maps["semantic"])
    np.testing.assert_array_equal(found == 255, pixels == 7)
    assert result.summary["semantic"]["pixels without data"] == (pixels == 7).sum()
    assert result.summary["windows_without_data"] == 4 * 2
    assert model.windows == result.summary["windows"] == 4 * 4
    with rasterio.open(result.maps["semantic"]) as file:
        assert file.nodata == 255


def test_change_between_two_dates_on_other_grids(monkeypatch, tmp_path):
    before = np.full((200, 260), 100, dtype=np.uint8)
    after = before.copy()
    after[60:100, 120:200] = 220
    first = write_scene(tmp_path / "before.tif", before, **UTM)
    # The same ground from 10 pixels further left and 20 further up.
    moved = np.full((240, 300), 100, dtype=np.uint8)
    moved[20:220, 10:270] = after
    place = UTM["transform"] @ UTM["transform"].translation(-10, -20)
    second = write_scene(tmp_path / "after.tif", moved, crs=UTM["crs"], transform=place)
    (result,) = predicted(monkeypatch, Difference(), tmp_path / "out", first, second, window=64)
    np.testing.assert_array_equal(values_of(result.maps["change"]), after == 220)
    assert result.name == "before--after"
    # the second date, 45 % of it covered by red where it changed
    shown = np.asarray(Image.open(result.preview)).astype(int)
    red = np.array((255, 40, 40))
    np.testing.assert_allclose(shown[80, 160], 220 * 0.55 + red * 0.45, atol=1)
    assert (shown[80, 20] == 100).all()
    assert result.summary["change"]["classes"]["changed"]["pixels"] == 40 * 80


def test_the_map_is_a_cog_with_palette_names_and_place(monkeypatch, tmp_path):
    scene = write_scene(tmp_path / "scene.tif", noise(1100, 700), **UTM)
    (result,) = predicted(monkeypatch, Blur(), tmp_path / "out", scene, window=256)
    classes = Blur().config.sources["made"].classes
    with rasterio.open(result.maps["semantic"]) as file:
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.overviews(1) == [2, 4]
        assert file.crs.to_epsg() == 32632
        assert file.transform == UTM["transform"]
        assert [file.colormap(1)[i + 1][:3] for i in range(2)] == list(classes.palette)
        assert [file.tags()[f"CLASS_{i}"] for i in range(3)] == ["background", "ship", "plane"]
    aside = (tmp_path / "out" / "scene_semantic.tif.aux.xml").read_text()
    assert "<Category>plane</Category>" in aside
    figures = json.loads((tmp_path / "out" / "scene_summary.json").read_text())
    classes = figures["semantic"]["classes"]
    assert sum(entry["pixels"] for entry in classes.values()) == 1100 * 700
    # a quarter of a square metre each; UTM's scale at its middle line is 0.9996
    area = sum(entry["area_m2"] for entry in classes.values())
    assert area == pytest.approx(1100 * 700 / 4 / 0.9996**2, rel=1e-5)
    assert result.preview.is_file()
