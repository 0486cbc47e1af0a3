import numpy as np
import pytest

from geomtp.rasters import raster_info, read_window, write_raster


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_what_is_written_is_read(tmp_path, dtype):
    pixels = (np.random.default_rng(0).random((40, 300, 5)) * 200).astype(dtype)
    write_raster(tmp_path / "a.tif", pixels)
    np.testing.assert_array_equal(read_window(tmp_path / "a.tif"), pixels)
    assert raster_info(tmp_path / "a.tif").dtype == dtype


def test_a_map_without_bands(tmp_path):
    write_raster(tmp_path / "a.tif", np.eye(8, dtype=np.uint8))
    np.testing.assert_array_equal(read_window(tmp_path / "a.tif")[:, :, 0], np.eye(8))


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path):
    write_raster(tmp_path / "a.tif", np.ones((4, 4), np.uint8))
    with pytest.raises((TypeError, ValueError, OSError)):
        write_raster(tmp_path / "a.tif", np.full((4, 4), "text"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    assert read_window(tmp_path / "a.tif").min() == 1


def test_wrong_shapes_and_folders(tmp_path):
    with pytest.raises(ValueError, match=r"got \(3,\)"):
        write_raster(tmp_path / "a.tif", np.zeros(3))
    with pytest.raises(ValueError, match="not empty"):
        write_raster(tmp_path / "a.tif", np.zeros((0, 4)))
    with pytest.raises(OSError, match="cannot be written"):
        write_raster(tmp_path / "none" / "a.tif", np.zeros((2, 2), np.uint8))
