"""A store of some classes of another one."""

import numpy as np
import pytest
from PIL import Image

from geomtp.labels import ImageLabels, semantic_map, write_store
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.store.chosen_classes import store_of_classes
from tests.labels.layouts import info


def squares(count):
    masks = np.zeros((count, 8, 8), bool)
    for i in range(count):
        masks[i, 2 * i : 2 * i + 2, :3] = True
    return tuple(rle_of_part(mask, (0, 0), (8, 8)) for mask in masks)


def objects():
    boxes = np.array([[0, 0, 3, 2], [0, 2, 3, 4], [0, 4, 3, 6]], np.float32)
    rboxes = np.array([[1.5, 1, 3, 2, 0], [1.5, 3, 3, 2, 0], [1.5, 5, 3, 2, 0.1]], np.float32)
    return {
        "boxes": boxes,
        "box_labels": np.array([0, 2, 1]),
        "rles": squares(3),
        "scores": np.array([0.1, 0.2, 0.3], np.float32),
        "flags": (("small",), (), ("odd",)),
        "rboxes": rboxes,
        "rbox_labels": np.array([2, 2, 0]),
    }


def test_objects_of_other_classes_go_and_ids_follow_the_order_asked_for(tmp_path):
    whole = write_store(
        tmp_path / "all", [ImageLabels("a.png", (8, 8), **objects())], info(tmp_path, *"abc")
    )
    store = store_of_classes(whole, ("c", "a"), tmp_path / "some")
    assert store.classes.names == ("c", "a")
    assert store.classes.palette == (whole.classes.palette[2], whole.classes.palette[0])
    (row,) = store
    np.testing.assert_array_equal(row.box_labels, [1, 0])
    np.testing.assert_array_equal(row.boxes, objects()["boxes"][:2])
    assert row.rles == squares(3)[:2]
    assert row.flags == (("small",), ())
    np.testing.assert_array_equal(row.scores, np.array([0.1, 0.2], np.float32))
    np.testing.assert_array_equal(row.rbox_labels, [0, 0, 1])
    painted = semantic_map(row, tmp_path)
    assert [int(painted[y, 0]) for y in (0, 2, 4, 6)] == [2, 1, 0, 0]


def test_pixels_of_other_classes_are_background(tmp_path):
    grey = np.array([[0, 1], [2, 255]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "map.png")
    whole = write_store(
        tmp_path / "all",
        [ImageLabels("a.png", (2, 2), semantic="map.png")],
        info(tmp_path, *"abc"),
    )
    store = store_of_classes(whole, ("c", "b"), tmp_path / "some")
    painted = semantic_map(store[0], tmp_path, values=store.info.semantic_values)
    np.testing.assert_array_equal(painted, [[0, 2], [1, 0]])


def test_images_of_other_classes_go_and_unlabelled_tasks_stay_so(tmp_path):
    rows = [ImageLabels(f"{k}.png", (8, 8), scene_class=k) for k in range(3)]
    whole = write_store(tmp_path / "all", rows, info(tmp_path, *"abc"))
    store = store_of_classes(whole, ("b", "c"), tmp_path / "some")
    assert [(row.image, row.scene_class) for row in store] == [("1.png", 0), ("2.png", 1)]
    assert store[0].boxes is None
    assert store[0].rbox_labels is None


@pytest.mark.parametrize(
    ("names", "said"), [(("d",), "known: a, b, c"), (("a", "a"), "repeated: a"), ((), "at least")]
)
def test_classes_that_are_not_there_are_told(tmp_path, names, said):
    whole = write_store(
        tmp_path / "all", [ImageLabels("a.png", (8, 8), scene_class=0)], info(tmp_path, *"abc")
    )
    with pytest.raises(ValueError, match=said):
        store_of_classes(whole, names, tmp_path / "some")
