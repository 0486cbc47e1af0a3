import numpy as np
import pytest
from PIL import Image

from geomtp.labels.segmenters import image_pixels
from geomtp.labels.segmenters.image_pixels import ImagePixels
from geomtp.rasters import write_raster

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


def test_windows_of_pictures_and_rasters(tmp_path, monkeypatch):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    write_raster(tmp_path / "a.tif", RGB)
    for limit in (0, 10**9):  # read by window; held in memory
        monkeypatch.setattr(image_pixels, "_WHOLE_BYTES", limit)
        for name in ("a.png", "a.tif"):
            found = ImagePixels(tmp_path / name, (20, 30)).read((5, 2, 12, 20))
            np.testing.assert_array_equal(found, RGB[2:20, 5:12])


def test_grey_two_and_four_bands(tmp_path):
    Image.fromarray(RGB[:, :, 0]).save(tmp_path / "grey.png")
    write_raster(tmp_path / "two.tif", RGB[:, :, :2])
    write_raster(tmp_path / "four.tif", np.concatenate([RGB, RGB[:, :, :1]], axis=2))
    for name in ("grey.png", "two.tif"):
        found = ImagePixels(tmp_path / name, (20, 30)).read((0, 0, 30, 20))
        np.testing.assert_array_equal(found, np.repeat(RGB[:, :, :1], 3, axis=2))
    found = ImagePixels(tmp_path / "four.tif", (20, 30)).read((0, 0, 30, 20))
    np.testing.assert_array_equal(found, RGB)


def test_deep_pixels_are_stretched_band_by_band(tmp_path):
    ramp = np.linspace(1000, 3000, 101).reshape(1, 101)
    deep = np.stack([ramp, 2 * ramp, ramp * 0 + 7], axis=2).astype(np.uint16)
    write_raster(tmp_path / "deep.tif", deep)
    found = ImagePixels(tmp_path / "deep.tif", (1, 101)).read((0, 0, 101, 1))
    want = np.clip((np.arange(101) - 2) / 96 * 255, 0, 255)
    np.testing.assert_allclose(found[0, :, 0], want, atol=0.51)
    np.testing.assert_array_equal(found[0, :, 1], found[0, :, 0])
    assert not found[0, :, 2].any()


def test_annotations_of_another_size(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="30 wide and 20 high, its annotations are for 20 × 30"):
        ImagePixels(tmp_path / "a.png", (30, 20))
