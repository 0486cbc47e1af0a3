import numpy as np
import pytest
from PIL import Image

from geomtp.labels.channel_statistics import measure_mean_std
from geomtp.rasters import write_raster


def test_over_all_pixels_of_images_of_different_sizes(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in ((5, 9), (30, 4), (7, 7))]
    for i, pixels in enumerate(images):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    flat = np.concatenate([pixels.reshape(-1, 3) for pixels in images]).astype(float)
    mean, std = measure_mean_std(tmp_path, ["0.png", "1.png", "2.png"], 3)
    np.testing.assert_allclose(mean, flat.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(std, flat.std(axis=0), atol=1e-3)
    again = measure_mean_std(tmp_path, ["2.png", "0.png", "1.png", "1.png"], 3)
    assert again == (mean, std)


def test_a_sample_the_middle_and_what_cannot_be_read(tmp_path):
    pixels = np.zeros((1030, 1030), dtype=np.uint8)
    pixels[3:-3, 3:-3] = 9
    Image.fromarray(pixels).save(tmp_path / "large.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    assert measure_mean_std(tmp_path, ["large.png", "bad.png"], 3) == ((9.0,) * 3, (1.0,) * 3)
    with pytest.raises(ValueError, match=r"none of 1 images can be read .*, such as"):
        measure_mean_std(tmp_path, ["bad.png"], 3)
    names = [f"{i}.png" for i in range(20)]
    for name in names:
        Image.fromarray(np.full((2, 2), 7, np.uint8)).save(tmp_path / name)
    assert measure_mean_std(tmp_path, names, 1, sample=5) == ((7.0,), (1.0,))


def test_too_few_channels_are_said(tmp_path):
    write_raster(tmp_path / "a.tif", np.zeros((4, 4, 1), np.uint8), None)
    with pytest.raises(ValueError, match="cannot be read with 3 channels"):
        measure_mean_std(tmp_path, ["a.tif"], 3)
    assert measure_mean_std(tmp_path, ["a.tif"], 1) == ((0.0,), (1.0,))
