import numpy as np
from PIL import Image

from geomtp.inference.outputs.preview import write_preview
from geomtp.rasters import open_scene
from geomtp.types import ClassMap
from tests.inference.scenes import write_scene


def preview_of(folder, pixels):
    path = write_scene(folder / "scene.tif", pixels.transpose(2, 0, 1))
    with open_scene(str(path), channels=pixels.shape[2]) as scene:
        write_preview(folder / "preview.png", scene, {}, {}, ClassMap(()), 64)
    return np.asarray(Image.open(folder / "preview.png"))


def test_photographs_are_shown_as_they_are_and_bands_of_satellites_stretched(tmp_path):
    dim = np.random.default_rng(0).integers(60, 81, (64, 64, 6), dtype=np.uint8)
    np.testing.assert_array_equal(preview_of(tmp_path, dim[..., :3]), dim[..., :3])
    shown = preview_of(tmp_path, dim)
    assert shown.shape == (64, 64, 3)
    low, high = np.percentile(dim[..., 0], (2, 98))
    wanted = np.clip((dim[..., 0] - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(shown[..., 0], wanted)
