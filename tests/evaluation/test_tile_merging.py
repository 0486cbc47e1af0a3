"""Tiles merged into scenes, against the reference and by hand."""

import torch

from geomtp.evaluation.tile_merging import SceneMerger, covered_share
from geomtp.geometry import quads_from_rboxes
from geomtp.types import Predictions
from tests.golden_cases import GoldenCase


def of_boxes(rboxes, scores, labels):
    return Predictions(
        rboxes=torch.as_tensor(rboxes).float().reshape(-1, 5),
        rbox_scores=torch.as_tensor(scores).float(),
        rbox_labels=torch.as_tensor(labels).long(),
    )


def test_the_reference_s_merging():
    case = GoldenCase.read("dota_merge")
    config, z = case.info["config"], case.arrays
    merger = SceneMerger(config["iou_thr"])
    tiles = {
        (int(i), int(x), int(y))
        for i, (x, y) in zip(z["tile_image"], z["tile_origin"], strict=True)
    }
    for i, x, y in sorted(tiles):
        rows = (z["tile_image"] == i) & (z["tile_origin"] == (x, y)).all(axis=1)
        found = of_boxes(z["tile_box"][rows], z["tile_score"][rows], z["tile_label"][rows])
        merger.add(f"test/P{i:04d}__256__{x}___{y}.png", found, (256, 256))
    names = [name for name, _ in merger.scenes()]
    assert names == [f"test/P{i:04d}" for i in range(len(names))]
    count = 0
    for i, (_, found) in enumerate(merger.scenes()):
        for label in range(config["num_classes"]):
            mine, theirs = found.rbox_labels == label, (z["merged_image"] == i)
            theirs &= z["merged_label"] == label
            count += int(mine.sum())
            scores = torch.from_numpy(z["merged_score"][theirs])
            torch.testing.assert_close(found.rbox_scores[mine], scores, atol=0.006, rtol=0)
            quads = quads_from_rboxes(found.rboxes[mine]).reshape(-1, 8).float()
            merged = torch.from_numpy(z["merged_qbox"][theirs])
            torch.testing.assert_close(quads, merged, atol=0.02, rtol=0)
    assert count == case.scalar("num_after") == 77


def test_merging_by_hand():
    merger = SceneMerger(0.1)
    # The same object seen by two tiles of 100 px, the second 60 px further right, and by one of
    # twice the size; another of another class at the same place.
    merger.add("s__100__0___0.png", of_boxes([[80, 50, 20, 10, 0]], [0.7], [0]), (100, 100))
    merger.add("s__100__60___0.png", of_boxes([[21, 50, 20, 10, 0]], [0.9], [0]), (100, 100))
    merger.add("s__200__0___0.png", of_boxes([[80, 50, 20, 10, 0]], [0.8], [1]), (120, 160))
    merger.add("whole.png", of_boxes([], [], []), (30, 40))
    (name, found), (other, nothing) = merger.scenes()
    assert (name, other) == ("s", "whole")
    assert found.rboxes.tolist() == [[81, 50, 20, 10, 0], [80, 50, 20, 10, 0]]
    assert found.rbox_labels.tolist() == [0, 1]
    assert found.rbox_scores.tolist() == torch.tensor([0.9, 0.8]).tolist()
    assert len(nothing.rboxes) == 0
    assert merger.size_hw("s") == (120, 160)
    assert merger.size_hw("whole") == (30, 40)


def test_merging_does_not_depend_on_the_order_of_tiles():
    tiles = {
        "s__100__0___0.png": of_boxes([[80, 50, 20, 10, 0]], [0.5], [0]),
        "s__100__60___0.png": of_boxes([[21, 50, 20, 10, 0]], [0.5], [0]),
    }
    merged = []
    for names in (list(tiles), list(tiles)[::-1]):
        merger = SceneMerger(0.1)
        for name in names:
            merger.add(name, tiles[name], (100, 100))
        merged.append(next(merger.scenes())[1].rboxes.tolist())
    assert merged == [[[80, 50, 20, 10, 0]]] * 2  # of equal scores the first tile's


def test_gaps_between_tiles():
    assert covered_share([(0, 0, 100, 100), (60, 0, 160, 100)]) == 1
    assert covered_share([(0, 0, 100, 100), (100, 100, 200, 200)]) == 0.5
    assert covered_share([(100, 0, 200, 50)]) == 0.5
    merger, nothing = SceneMerger(), of_boxes([], [], [])
    for name in ("b__9__0___0.png", "b__9__9___0.png", "a__9__9___0.png"):
        merger.add(name, nothing, (9, 9))
    assert merger.with_gaps() == ["a"]
