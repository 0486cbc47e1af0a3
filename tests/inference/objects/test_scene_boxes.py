"""Objects longer than the overlap of windows come back in one piece, short ones as before."""

import math

import numpy as np
import pytest
import shapely
import torch

from geomtp.geometry import minimum_area_rbox, quads_from_rboxes, rboxes_from_boxes, rotated_iou
from geomtp.inference.objects.found_objects import FoundObjects
from geomtp.inference.objects.scene_boxes import boxes_of_scene
from geomtp.inference.windows.blocks import Grid
from geomtp.inference.windows.window_model import WindowModel
from geomtp.inference.work.block_work import Job, look_at_blocks
from geomtp.rasters import scene_of_array
from geomtp.types import Predictions
from tests.inference.stub_models import StubModel


class Clairvoyant(StubModel):
    """Knows the boxes planted in a scene whose two bands tell where each pixel lies.

    Of each it says the smallest box around what the window sees, a little off.
    """

    def __init__(self, planted, task="rotated", jitter=0.0):
        super().__init__((task,), names=("ship",), bands=2)
        self.outlines = shapely.polygons(quads_from_rboxes(planted).numpy())
        self.task, self.jitter = task, jitter
        self.generator = torch.Generator().manual_seed(0)

    def say(self, images, images_after):
        return [self._found(image) for image in images]

    def _found(self, image):
        x, y = (round(float(band[0, 0])) for band in image)
        height, width = image.shape[1:]
        seen = shapely.intersection(self.outlines, shapely.box(x, y, x + width, y + height))
        seen = seen[shapely.area(seen) > 20]
        corners = [torch.from_numpy(shapely.get_coordinates(part)) for part in seen]
        shift = torch.tensor([x, y])
        if self.task == "horizontal":
            boxes = [torch.cat([c.amin(0) - shift, c.amax(0) - shift]) for c in corners]
            boxes = torch.stack(boxes) if boxes else torch.zeros(0, 4)
            return Predictions(boxes=boxes, box_scores=torch.full((len(boxes),), 0.9),
                               box_labels=torch.zeros(len(boxes), dtype=torch.int64))  # fmt: skip
        boxes = [minimum_area_rbox(c - shift) for c in corners]
        boxes = torch.stack(boxes) if boxes else torch.zeros(0, 5)
        off = torch.randn(boxes.shape, generator=self.generator) * self.jitter
        boxes = boxes + off * torch.tensor([1, 1, 1, 1, 0.03])
        return Predictions(rboxes=boxes, rbox_scores=torch.full((len(boxes),), 0.9),
                           rbox_labels=torch.zeros(len(boxes), dtype=torch.int64))  # fmt: skip


def boxes_found(model, size_hw, overlap=16):
    """The merged boxes of a scene of ``size_hw``, by windows of 64 px."""
    height, width = size_hw
    place = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)
    blocks = {}
    with scene_of_array(place, channels=2, place=None) as scene:
        grid = Grid(size_hw, 64, 64 - overlap)
        job = Job((scene,), grid, WindowModel(model, "made", torch.device("cpu")))
        look_at_blocks(job, range(len(grid)), blocks.__setitem__, lambda seen, skipped: None)
    parts = [block.objects[model.task] for block in blocks.values()]
    return boxes_of_scene(FoundObjects.joined(parts, parts[0].boxes.shape[1]), 0.1)


def assert_same_boxes(found, planted, least):
    """As many, and each overlaps its own by ``least``."""
    assert len(found) == len(planted)
    ious = rotated_iou(planted, torch.from_numpy(found))
    assert sorted(ious.argmax(dim=1).tolist()) == list(range(len(planted)))
    assert float(ious.amax(dim=1).min()) >= least


def rank_and_file(length, angle, count=20, spacing=14, step=2.5):
    """Boxes side by side, each ``step`` further on than the one before: every offset."""
    along, across = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    rows = []
    for k in range(count):
        aside, ahead = spacing * (k - count / 2), step * (k - count / 2)
        x, y = (200 + aside * b + ahead * a for a, b in zip(along, across, strict=True))
        rows.append([x, y, length, 8, angle])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("length", [12, 20, 40, 63, 70, 130])
@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, -1.2, -math.pi / 2])
def test_boxes_of_any_length_at_every_offset_come_back_whole(length, angle):
    planted = rank_and_file(length, angle)
    found = boxes_found(Clairvoyant(planted), (400, 400))
    assert_same_boxes(found.rboxes_cxcywha, planted, 0.9)


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2])
def test_pieces_that_windows_place_a_little_off_are_joined(angle):
    planted = rank_and_file(130, angle, spacing=18)
    found = boxes_found(Clairvoyant(planted, jitter=0.5), (400, 400))
    assert_same_boxes(found.rboxes_cxcywha, planted, 0.5)


def test_long_objects_one_behind_the_other_stay_two():
    planted = torch.tensor([[90.0 + 74 * k, 200 + k, 70, 8, 0.0] for k in range(4)]).double()
    assert_same_boxes(boxes_found(Clairvoyant(planted), (400, 400)).rboxes_cxcywha, planted, 0.95)


def test_long_horizontal_boxes_come_back_whole():
    planted = rank_and_file(130, 0.0)
    found = boxes_found(Clairvoyant(planted, "horizontal"), (400, 400))
    assert_same_boxes(rboxes_from_boxes(torch.from_numpy(found.boxes_xyxy)).numpy(), planted, 0.99)


LEFT, RIGHT = (0, 0, 64, 64), (48, 0, 112, 64)


def found(*rows):
    """Rows of: horizontal box, score, class, near, cut, what the window sees; none is its own."""
    boxes, scores, labels, near, cut, seen = zip(*rows, strict=True)
    own = np.zeros(len(rows), dtype=bool)
    return FoundObjects(np.array(boxes, float), np.array(scores), np.array(labels), own,
                        np.array(near), np.array(cut), np.array(seen, float))  # fmt: skip


def merged(*rows):
    result = boxes_of_scene(found(*rows), 0.5)
    return list(zip(result.boxes_xyxy.astype(int).tolist(), result.scores.tolist(), strict=True))


def test_what_a_window_between_would_have_seen_whole_is_not_joined():
    pieces = [
        ((52, 10, 64, 20), 0.7, 0, False, True, LEFT),
        ((48, 10, 58, 20), 0.8, 0, True, True, RIGHT),
    ]
    assert merged(*pieces) == [([48, 10, 58, 20], 0.8)]  # 16 px long, as much as both see


def test_a_piece_goes_where_a_window_saw_the_whole():
    piece = ((48, 10, 58, 20), 0.9, 0, True, True, RIGHT)
    assert merged(((30, 10, 58, 20), 0.4, 0, True, False, LEFT), piece) == [([30, 10, 58, 20], 0.4)]
    other = ((30, 10, 58, 20), 0.4, 1, True, False, LEFT)  # of another class
    assert merged(other, piece) == [([48, 10, 58, 20], 0.9), ([30, 10, 58, 20], 0.4)]


def test_pieces_of_one_class_make_one_box_with_the_surer_score():
    pieces = [
        ((10, 10, 64, 20), 0.7, 0, False, True, LEFT),
        ((48, 10, 100, 20), 0.8, 0, True, True, RIGHT),
    ]
    assert merged(*pieces) == [([10, 10, 100, 20], 0.8)]
    assert merged(pieces[0]) == []  # not near its window's cell, and nobody agrees
    other = (*pieces[1][:2], 1, *pieces[1][3:])
    assert merged(pieces[0], other) == [([48, 10, 100, 20], 0.8)]


def test_a_scene_without_boxes():
    assert len(boxes_of_scene(FoundObjects.joined([], 5), 0.1)) == 0
