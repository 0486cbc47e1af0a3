"""Masks that windows cut off become one instance; those of neighbours stay two."""

import numpy as np
import shapely

from geomtp.inference.objects.found_instances import FoundInstances, instances_of_scene
from tests.inference.scenes import predicted, write_scene
from tests.inference.stub_models import Rectangles


def test_instances_at_every_offset_and_across_many_windows(monkeypatch, tmp_path):
    pixels = np.zeros((200, 330), dtype=np.uint8)
    planted = {}
    for column in range(20):  # small ones at every offset from the windows' borders
        x, y = 16 * column + column % 5, 3 * column
        planted[(x, y, x + 9, y + 7)] = 10 + column
    planted[(4, 150, 325, 158)] = 99  # longer than five windows
    planted[(290, 70, 330, 140)] = 88  # higher than a window
    for (x1, y1, x2, y2), value in planted.items():
        pixels[y1:y2, x1:x2] = value
    scene = write_scene(tmp_path / "scene.tif", pixels)
    monkeypatch.setattr("geomtp.inference.windows.scene_grid.SUMS_BYTES", 1)
    (result,) = predicted(
        monkeypatch, Rectangles("instance"), tmp_path / "out", scene, window=64, score=0.1
    )
    import pyogrio

    frame = pyogrio.read_dataframe(result.vectors["instance"])
    bounds = [tuple(map(int, polygon.bounds)) for polygon in frame.geometry]
    assert sorted(bounds) == sorted(planted)
    areas = {b: polygon.area for b, polygon in zip(bounds, frame.geometry, strict=True)}
    assert all(areas[b] == (b[2] - b[0]) * (b[3] - b[1]) for b in planted)


def found(*rows):
    """Rows of: box of the mask, score, own, whole, what the window sees."""
    boxes, scores, own, whole, seen = zip(*rows, strict=True)
    polygons = np.empty(len(rows), dtype=object)
    polygons[:] = [shapely.box(*box) for box in boxes]
    labels = np.zeros(len(rows), dtype=np.int64)
    return FoundInstances(
        polygons, np.array(scores), labels, np.array(own), np.array(whole), np.array(seen, float)
    )


LEFT, RIGHT = (0, 0, 64, 64), (48, 0, 112, 64)


def test_of_two_views_the_owner_s_whole_mask_counts():
    merged = instances_of_scene(
        found(
            ((50, 10, 60, 20), 0.9, False, True, LEFT), ((51, 10, 61, 20), 0.6, True, True, RIGHT)
        ),
        0.5,
    )
    assert [polygon.bounds for polygon in merged.polygons] == [(51, 10, 61, 20)]
    assert merged.scores.tolist() == [0.9]


def test_pieces_agree_where_both_windows_look_and_are_joined():
    pieces = [
        ((10, 10, 64, 20), 0.7, True, False, LEFT),
        ((48, 10, 100, 20), 0.8, True, False, RIGHT),
    ]
    merged = instances_of_scene(found(*pieces), 0.5)
    assert [polygon.bounds for polygon in merged.polygons] == [(10, 10, 100, 20)]
    # Half of the second lies where the first window saw nothing: they agree by a third.
    pieces[1] = ((48, 15, 100, 25), 0.8, True, False, RIGHT)
    assert len(instances_of_scene(found(*pieces), 0.5)) == 2
    assert len(instances_of_scene(found(*pieces), 0.3)) == 1


def test_stored_columns_hold_holes_and_nothing():
    ring = shapely.box(0, 0, 9, 9).difference(shapely.box(3, 3, 5, 5))
    one = found(((0, 0, 1, 1), 0.5, True, True, LEFT))
    one.polygons[0] = ring
    back = FoundInstances.of_columns(one.columns())
    assert back.polygons[0].equals(ring)
    assert back.polygons[0].area == 77
    none = FoundInstances.joined([])
    assert len(FoundInstances.of_columns(none.columns()).polygons) == 0
    assert len(instances_of_scene(none, 0.5)) == 0
