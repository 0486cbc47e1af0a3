"""Scenes put together of tiles, their objects and their scores."""

import json

import numpy as np
import pytest
import torch

from geomtp.evaluation.scene_scores import SceneScores
from geomtp.evaluation.scene_truth import TileTruth, read_scene_labels
from geomtp.labels import ImageLabels, write_store
from geomtp.labels.annotations import AnnotatedObject
from geomtp.labels.tiles.tile_names import tile_name
from geomtp.labels.tiles.tiling import Tiling, objects_in_windows, tile_windows
from geomtp.types import ClassMap, Predictions, Targets
from tests.data.folders import layouts
from tests.data.stores import info_of
from tests.evaluation.test_run import evaluated
from tests.labels.layouts import text

CLASSES = ClassMap(("ship", "plane"))


def true(rboxes, labels):
    rboxes = torch.tensor(rboxes, dtype=torch.float32).reshape(-1, 5)
    return Targets(rboxes=rboxes, rbox_labels=torch.tensor(labels, dtype=torch.long))


def found(rboxes, scores, labels):
    targets = true(rboxes, labels)
    return Predictions(
        rboxes=targets.rboxes, rbox_scores=torch.tensor(scores), rbox_labels=targets.rbox_labels
    )


def of_tiles(tiles):
    truth = TileTruth()
    for name, targets in tiles.items():
        truth.add(name, targets)
    return truth.scenes()


def test_an_object_of_two_tiles_is_one():
    # Tiles of 100 px, the second 60 px further right; the second ship is cut in the first tile.
    scenes = of_tiles(
        {
            "s__100__0___0.png": true([[80, 50, 20, 10, 0], [94, 20, 12, 6, 0]], [0, 0]),
            "s__100__60___0.png": true(
                [[20, 50, 20, 10, 0], [36, 20, 16, 6, 0], [20, 50, 20, 10, 0]], [0, 0, 1]
            ),
            "t.png": true([], []),
            "u.png": Targets(),
        }
    )
    assert sorted(scenes) == ["s", "t"]
    assert scenes["s"].rboxes.tolist() == [
        [80, 50, 20, 10, 0],
        [96, 20, 16, 6, 0],  # the whole one
        [80, 50, 20, 10, 0],  # of another class
    ]
    assert scenes["s"].labels.tolist() == [0, 0, 1]
    assert len(scenes["t"].rboxes) == 0


def test_objects_upon_each_other_in_one_tile_stay_apart():
    twice = [[80, 50, 20, 10, 0], [80, 50, 20, 10, 0]]
    moved = [[20, 50, 20, 10, 0], [20, 50, 20, 10, 0]]
    scenes = of_tiles(
        {"s__100__0___0.png": true(twice, [0, 0]), "s__100__60___0.png": true(moved, [0, 0])}
    )
    assert scenes["s"].rboxes.tolist() == twice


def scene_of_boxes(count, size_hw, seed):
    """Objects that hardly touch: (count, 5), upright or turned."""
    rng = np.random.default_rng(seed)
    columns = size_hw[1] // 40
    x, y = np.arange(count) % columns * 40 + 20, np.arange(count) // columns * 40 + 20
    sides = rng.uniform((16, 6), (34, 14), (count, 2))
    return np.column_stack([x, y, sides, rng.uniform(-1.5, 1.5, count)])


@pytest.mark.parametrize("rates", [(1.0,), (0.5, 1.0)])
def test_what_was_cut_is_put_together_again(rates):
    size_hw, tiling = (300, 420), Tiling(128, 48, rates=rates)
    boxes = scene_of_boxes(70, size_hw, 0)
    labels = np.arange(70) % 2
    objects = [AnnotatedObject("a", "", rbox_cxcywha=tuple(box)) for box in boxes.tolist()]
    windows = tile_windows(size_hw, tiling)
    rows = objects_in_windows(objects, size_hw, windows, tiling.minimum_kept)
    tiles = {}
    for i, (x1, y1, x2, y2) in enumerate(windows.tolist()):
        inside = rows[rows[:, 0] == i, 1]
        in_tile = boxes[inside] - (x1, y1, 0, 0, 0)
        tiles[tile_name("s.png", (x1, y1, x2, y2))] = true(in_tile.tolist(), labels[inside])
    assert sum(len(targets.rboxes) for targets in tiles.values()) > 90
    scene = of_tiles(tiles)["s"]
    order = np.lexsort((scene.rboxes[:, 0].round(), scene.rboxes[:, 1].round()))
    np.testing.assert_allclose(scene.rboxes[order], boxes, atol=1e-4)
    assert scene.labels[order].tolist() == labels.tolist()


def test_scores_by_scene():
    """One ship, of which the second tile sees half and finds half: of the scene it is right."""
    scores = SceneScores(CLASSES, 0.1)
    ship, part = [90, 50, 20, 10, 0], [5, 50, 10, 10, 0]
    first = true([ship], [0])
    scores.add("s__100__0___0.png", found([ship], [0.9], [0]), first, (100, 100))
    scores.add("s__100__90___0.png", found([part], [0.8], [0]), true([], []), (100, 100))
    scores.add("t.png", found([ship], [0.7], [0]), Targets(), (100, 100))  # not labelled
    result = scores.result()
    assert result.rotated.ap50[0] == 1.0
    assert len(result.rotated.matches["ship"].scores) == 1
    assert result.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert result.facts["scenes"] == result.facts["objects"] == 1
    assert "put together" in result.facts["truth"]
    assert result.remarks == []


LINES = """imagesource:GoogleEarth
gsd:0.5
80 45 100 45 100 55 80 55 ship 0
10 10 30 10 30 20 10 20 plane 1
50 50 50 50 50 50 50 50 ship 0
"""


def test_labels_of_scenes_are_read(tmp_path):
    text(tmp_path / "labelTxt" / "s.txt", LINES)
    images = ["val/s__100__0___0.tif", "val/s__100__60___0.tif"]
    scenes = read_scene_labels(tmp_path, images, CLASSES)
    assert list(scenes) == ["val/s"]
    objects = scenes["val/s"]
    assert objects.rboxes[:, :4].tolist() == [[90, 50, 20, 10], [20, 15, 20, 10]]
    assert objects.labels.tolist() == [0, 1]
    assert objects.ignored.tolist() == [False, True]
    scores = SceneScores(CLASSES, 0.1, scenes)
    upright = objects.rboxes.tolist()
    scores.add(images[0], found(upright, [0.9, 0.95], [0, 1]), Targets(), (100, 100))
    result = scores.result()
    assert result.rotated.ap50[0] == 1.0
    assert np.isnan(result.rotated.ap50[1])  # the only plane is difficult
    assert result.facts["objects that are not counted (difficult)"] == 1


def test_labels_of_fair1m_are_read(tmp_path):
    points = "".join(f"<point>{p}</point>" for p in ("0,0", "20,0", "20,10", "0,10", "0,0"))
    content = (
        "<annotation><objects><object><coordinate>pixel</coordinate><possibleresult>"
        f"<name>Small Car</name></possibleresult><points>{points}</points></object></objects>"
        "</annotation>"
    )
    text(tmp_path / "7.xml", content)
    objects = read_scene_labels(tmp_path, ["7__800__0___0.tif"], ClassMap(("Small-Car",)))["7"]
    assert objects.rboxes[:, :4].tolist() == [[10, 5, 20, 10]]


def test_mistakes_about_label_files(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no folder: expected the label files"):
        read_scene_labels(tmp_path / "none", ["a.png"], CLASSES)
    with pytest.raises(FileNotFoundError, match=r"no label file for 1 of 1 scenes, such as a\.txt"):
        read_scene_labels(tmp_path, ["v/a__9__0___0.png"], CLASSES)
    text(tmp_path / "a.txt", LINES.replace("ship", "shop"))
    with pytest.raises(ValueError, match=r"'shop' .*did you mean 'ship'"):
        read_scene_labels(tmp_path, ["a.png"], CLASSES)
    text(tmp_path / "more" / "a.txt", LINES)
    with pytest.raises(ValueError, match="two label files are called a"):
        read_scene_labels(tmp_path, ["a.png"], CLASSES)


def tiles_store(folder):
    """Two tiles of one scene, that share the ship, and one that is a scene by itself."""
    ship, moved = [50, 24, 20, 10, 0.1], [10, 24, 20, 10, 0.1]
    rows = []
    for name, rbox in (("s__64__0___0", ship), ("s__64__40___0", moved), ("t", ship)):
        layouts.picture(folder / f"{name}.png")
        rboxes, label = np.array([rbox], dtype=np.float32), np.array([0])
        rows.append(ImageLabels(f"{name}.png", (48, 64), "val", rboxes=rboxes, rbox_labels=label))
    info = info_of(folder)
    write_store(folder, rows, type(info)(info.source, CLASSES, folder, info.mean, info.std))
    return folder


def test_tiles_are_scored_by_scene_as_it_is_typed(tmp_path):
    data = tiles_store(tmp_path / "data")
    result = evaluated(tmp_path, data, "rotated", CLASSES.names)
    protocol = json.loads((tmp_path / "out" / "result.json").read_text())["protocol"]
    assert protocol["rotated boxes scored by"] == "scene"
    assert (protocol["scenes"], protocol["objects"]) == (2, 2)
    (row, _) = result.report.tasks["rotated"].rows
    assert row["objects"] == 2
    result = evaluated(tmp_path, data, "rotated", CLASSES.names, score_by="image")
    assert result.report.tasks["rotated"].rows[0]["objects"] == 3
    assert result.report.facts["protocol"]["rotated boxes scored by"] == "image"
    for name in "st":
        text(tmp_path / "labels" / f"{name}.txt", LINES)
    labels = {"scene_labels": tmp_path / "labels"}
    result = evaluated(tmp_path, data, "rotated", CLASSES.names, **labels)
    assert result.report.facts["protocol"]["truth"] == "the label files of the scenes"
    assert [row["objects"] for row in result.report.tasks["rotated"].rows] == [2, 0]
    with pytest.raises(ValueError, match="leave out --score-by image and --limit"):
        evaluated(tmp_path, data, "rotated", CLASSES.names, **labels, limit=1)
    with pytest.raises(ValueError, match="scenes are merged of rotated boxes, and the model has s"):
        evaluated(tmp_path, data, "semantic", CLASSES.names, **labels)
