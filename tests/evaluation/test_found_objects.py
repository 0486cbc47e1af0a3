"""Which objects were found, how well an image was done, and which were done worst."""

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.evaluation.found_objects import matches_of
from geomtp.evaluation.prediction_maps import MapFolder, coloured
from geomtp.evaluation.worst_cases import WorstCases, quality_of
from geomtp.types import ClassMap, Predictions, Targets

TRUE = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]])


def boxes(rows, scores, labels):
    return Predictions(
        boxes=torch.tensor(rows), box_scores=torch.tensor(scores), box_labels=torch.tensor(labels)
    )


def test_one_detection_for_one_object():
    found = boxes(
        [[0.0, 0, 10, 9], [0, 0, 10, 10], [20, 0, 30, 10], [60, 0, 70, 10], [40, 0, 50, 10]],
        [0.9, 0.8, 0.7, 0.6, 0.4],  # the last is not sure enough
        [0, 0, 0, 1, 0],
    )
    targets = Targets(boxes=TRUE, box_labels=torch.tensor([0, 1, 0]))
    (matches,) = matches_of(found, targets).values()
    assert matches.truth.tolist() == [0, -1, 1, -1]  # the second comes too late
    assert matches.confusion(2).tolist() == [[1, 0, 1], [1, 0, 0], [1, 1, 0]]
    assert matches.f1 == pytest.approx(2 * 1 / (4 + 3))
    assert quality_of(found, targets, 2) == matches.f1


def test_nothing_to_find():
    nothing = boxes(np.zeros((0, 4), np.float32).tolist() or [[0.0] * 4], [0.1], [0])
    targets = Targets(boxes=torch.zeros(0, 4), box_labels=torch.zeros(0, dtype=torch.long))
    (matches,) = matches_of(nothing, targets).values()
    assert matches.f1 == 1.0
    assert matches.confusion(1).sum() == 0


def test_rotated_boxes_are_matched_by_their_own_overlap():
    box = torch.tensor([[20.0, 20.0, 20.0, 4.0, 0.0]])
    turned = torch.tensor([[20.0, 20.0, 20.0, 4.0, 1.5]])
    one, score = torch.tensor([0]), torch.tensor([0.9])
    targets = Targets(rboxes=box, rbox_labels=one)
    same = Predictions(rboxes=box, rbox_scores=score, rbox_labels=one)
    other = Predictions(rboxes=turned, rbox_scores=score, rbox_labels=one)
    assert matches_of(same, targets)["rotated"].confusion(1).tolist() == [[1, 0], [0, 0]]
    assert matches_of(other, targets)["rotated"].confusion(1).tolist() == [[0, 1], [1, 0]]


def test_quality_of_maps_and_scenes():
    truth = torch.tensor([[1, 1], [0, 255]], dtype=torch.uint8)
    logits = torch.nn.functional.one_hot(torch.tensor([[1, 0], [0, 1]]), 2).permute(2, 0, 1)
    semantic = Predictions(semantic_logits=logits.float())
    assert quality_of(semantic, Targets(semantic=truth), 1) == pytest.approx(0.5)  # 1/2 and 1/2
    change = Predictions(change_logits=logits.float())
    assert quality_of(change, Targets(change=truth), 1) == pytest.approx(2 / 3)
    still = Predictions(change_logits=torch.stack([torch.ones(2, 2), torch.zeros(2, 2)]))
    zeros = torch.zeros(2, 2, dtype=torch.uint8)
    assert quality_of(still, Targets(change=zeros), 1) == 1.0
    scene = Predictions(scene_logits=torch.tensor([0.0, np.log(3.0)]))
    assert quality_of(scene, Targets(scene_class=1), 2) == pytest.approx(0.75)
    unlabelled = quality_of(scene, Targets(), 2)
    assert np.isnan(unlabelled)


def test_the_worst_are_kept(tmp_path):
    drawn = []

    def draw(name):
        drawn.append(name)
        return Image.new("RGB", (4, 4))

    worst = WorstCases(2)
    for name, quality in (("a", 0.9), ("b", 0.2), ("c", 0.5), ("d", 0.7), ("e", float("nan"))):
        worst.add(name, quality, lambda name=name: draw(name))
    assert drawn == ["a", "b", "c"]  # the others were never among the worst
    worst.add("0", 0.5, lambda: draw("0"))  # of equals those that come first by name
    worst.add("cc", 0.5, lambda: draw("cc"))
    assert drawn == ["a", "b", "c", "0"]
    (tmp_path / "09.png").touch()
    assert worst.write(tmp_path) == [
        {"image": "b", "quality": 0.2, "picture": f"{tmp_path.name}/01.png"},
        {"image": "0", "quality": 0.5, "picture": f"{tmp_path.name}/02.png"},
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01.png", "02.png"]


def test_maps_hold_values_and_colours(tmp_path):
    values = torch.tensor([[0, 1], [2, 2]], dtype=torch.uint8)
    picture = coloured(values, ((0, 0, 0), (255, 0, 0), (0, 9, 0)))
    assert np.asarray(picture).tolist() == values.tolist()
    assert picture.convert("RGB").getpixel((1, 0)) == (255, 0, 0)
    folder = MapFolder(tmp_path, ClassMap(("a", "b")), ("x/1.png", "x/1.tif"))
    found = Predictions(change_logits=torch.tensor([[[1.0]], [[2.0]]]))
    for name in ("x/1.tif", "x/1.png"):  # the order in which they come does not matter
        folder.write(name, found, Image.new("RGB", (4, 4)))
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == [
        "1.png", "1.tif.png", "1.tif_change.png", "1_change.png",
    ]  # fmt: skip
    assert np.asarray(Image.open(tmp_path / "x" / "1_change.png")).tolist() == [[1]]
