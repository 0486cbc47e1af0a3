"""The scores of a map against the scene it is of."""

import numpy as np
import pytest

from geomtp.data.scenes import Scene
from geomtp.data.scenes.embedded import place_on_map
from geomtp.demo.mapping import map_scores
from geomtp.rasters import write_raster


def test_a_map_is_scored_against_what_was_drawn(tmp_path):
    instances = np.array([[0, 0, 1, 1], [0, 0, 2, 2]], dtype=np.int32)
    scene = Scene(
        image=np.zeros((2, 4, 3), dtype=np.uint8),
        rboxes=np.zeros((2, 5), dtype=np.float32),
        labels=np.array([0, 1]),
        instances=instances,
        classes=("house", "pool", "court"),
    )
    drawn = np.array([[0, 1, 1, 1], [0, 0, 2, 0]], dtype=np.uint8)
    write_raster(tmp_path / "map.tif", drawn, place_on_map(0, 4))
    found = map_scores(tmp_path / "map.tif", scene)
    assert found.iou[:3] == pytest.approx((3 / 5, 2 / 3, 1 / 2))
    assert np.isnan(found.iou[3])
