import math

import numpy as np
import pytest
from PIL import Image

from geomtp.geometry import decode_rle
from geomtp.labels import AnnotatedObject, Annotations, BoxSegmenter
from geomtp.labels.segmenters.grabcut import GrabCutRules, GrabCutSegmenter

pytest.importorskip("cv2", reason="needs the extra 'grabcut'")

SIZE = (120, 160)
ROOF, GROUND = (200, 90, 60), (60, 110, 50)


def truth(*parts_xyxy):
    mask = np.zeros(SIZE, bool)
    for x1, y1, x2, y2 in parts_xyxy:
        mask[y1:y2, x1:x2] = True
    return mask


def turned(rbox):
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    cos, sin = math.cos(rbox[4]), math.sin(rbox[4])
    along = (x - rbox[0]) * cos + (y - rbox[1]) * sin
    across = (y - rbox[1]) * cos - (x - rbox[0]) * sin
    return (abs(along) <= rbox[2] / 2) & (abs(across) <= rbox[3] / 2)


def segment(folder, mask, *rboxes, noise=12, colours=(ROOF, GROUND), rules=None):
    rng = np.random.default_rng(0)
    pixels = np.where(mask[:, :, None], *[np.array(c) for c in colours])
    pixels = pixels + rng.normal(0, noise, pixels.shape)
    path = folder / "a.png"
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)
    objects = tuple(AnnotatedObject("a", "1", rbox_cxcywha=rbox) for rbox in rboxes)
    annotations = Annotations("a.png", SIZE, objects)
    found = GrabCutSegmenter(rules).segment(path, annotations)
    boxes = BoxSegmenter().segment(path, annotations)
    masks = decode_rle([item.rle for item in found], SIZE).numpy()
    return found, masks, decode_rle([item.rle for item in boxes], SIZE).numpy()


def iou(a, b):
    return (a & b).sum() / (a | b).sum()


def test_a_building_with_a_notch(tmp_path):
    """An L of 60 × 40 without a quarter: the box has IoU 0.75."""
    mask = truth((40, 40, 100, 60), (40, 60, 70, 80))
    found, masks, boxes = segment(tmp_path, mask, (70, 60, 60, 40, 0))
    assert iou(boxes[0], mask) == 0.75
    assert iou(masks[0], mask) > 0.95
    assert (found[0].score, found[0].prompt) == (1.0, "")


def test_a_turned_building_with_a_notch(tmp_path):
    box = (80, 60, 70, 40, 0.5)
    notch = turned((80 + 20 * math.cos(0.5), 60 + 20 * math.sin(0.5), 30, 60, 0.5))
    half = turned(box) & ~(notch & (np.mgrid[: SIZE[0], : SIZE[1]][0] > 62))
    _, masks, boxes = segment(tmp_path, half, box)
    assert iou(boxes[0], half) < 0.85
    assert iou(masks[0], half) > 0.94


def test_a_filled_box_stays_filled(tmp_path):
    """Nothing is added outside, and noise at the border takes nothing away."""
    box = (80, 60, 60, 30, -0.4)
    _, masks, boxes = segment(tmp_path, turned((80, 60, 66, 36, -0.4)), box, noise=20)
    np.testing.assert_array_equal(masks[0], boxes[0])


def test_without_contrast_the_box_stays(tmp_path):
    mask = truth((40, 40, 100, 60), (40, 60, 70, 80))
    _, masks, boxes = segment(tmp_path, mask, (70, 60, 60, 40, 0), colours=(ROOF, ROOF))
    assert iou(masks[0], boxes[0]) > 0.97


def test_an_answer_that_leaves_a_side_is_not_believed(tmp_path):
    """The object fills half of a box that is far too long: no tight box."""
    found, masks, boxes = segment(tmp_path, truth((40, 50, 75, 75)), (75, 62.5, 70, 25, 0))
    np.testing.assert_array_equal(masks[0], boxes[0])
    assert found[0].score == 0
    loose = GrabCutRules(side_share=0)
    found, masks, _ = segment(tmp_path, truth((40, 50, 75, 75)), (75, 62.5, 70, 25, 0), rules=loose)
    assert found[0].score == 1
    assert iou(masks[0], truth((40, 50, 75, 75))) > 0.85


def test_objects_at_the_border_small_ones_and_the_whole_image(tmp_path):
    mask = truth((0, 40, 30, 80), (100, 100, 160, 120))
    boxes = [
        (10, 60, 40, 40, 0),  # from x = -10
        (130, 110, 60, 20, 0),
        (50.5, 20.5, 1, 1, 0),
        (80, 60, 160, 120, 0),
        (50, 20, 0.2, 0.2, 0),  # no pixel's centre
    ]
    found, masks, filled = segment(tmp_path, mask, *boxes)
    np.testing.assert_array_equal(masks[0], truth((0, 40, 30, 80)))
    np.testing.assert_array_equal(masks[1], truth((100, 100, 160, 120)))
    for i in (2, 3, 4):
        np.testing.assert_array_equal(masks[i], filled[i])
    assert [item.score for item in found] == [1.0] * 5


def test_shrinking_large_objects_costs_little(tmp_path):
    mask = truth((40, 40, 100, 60), (40, 60, 70, 80))
    small = GrabCutRules(largest_px=60)
    _, masks, _ = segment(tmp_path, mask, (70, 60, 60, 40, 0), rules=small)
    assert iou(masks[0], mask) > 0.93


def test_the_result_does_not_depend_on_what_came_before(tmp_path):
    mask = truth((40, 40, 100, 60), (40, 60, 70, 80))
    one, other = (70, 60, 60, 40, 0), (60, 60, 50, 50, 0.3)
    together, _, _ = segment(tmp_path, mask, other, one, one, noise=60)
    alone, _, _ = segment(tmp_path, mask, one, noise=60)
    assert together[1:] == alone * 2


def test_without_objects_or_opencv(monkeypatch):
    assert GrabCutSegmenter().segment(None, Annotations("a.png", SIZE, ())) == []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match=r"needs OpenCV: pip install geomtp\[grabcut\]"):
        GrabCutSegmenter()
