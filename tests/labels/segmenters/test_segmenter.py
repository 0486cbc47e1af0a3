import math

import numpy as np
import pytest
import torch

from geomtp.geometry import decode_rle, masks_from_rboxes
from geomtp.labels import AnnotatedObject, Annotations, BoxSegmenter, ObjectMask, PolygonSegmenter
from geomtp.labels.masks.run_lengths import rle_area
from tests.labels.readers.test_coco import RLE

SIZE = (60, 80)


def annotations(*objects):
    return Annotations("a.png", SIZE, objects)


def polygon(*rings):
    return AnnotatedObject("a", "here", polygons=(tuple(np.array(r, float) for r in rings),))


def masks(found):
    return decode_rle([mask.rle for mask in found], SIZE).numpy()


def test_boxes_are_filled_like_dense_masks():
    rng = np.random.default_rng(0)
    low, high = [-10, -10, 1, 1, -4], [90, 70, 50, 50, 4]
    rows = rng.uniform(low, high, (40, 5))
    objects = [AnnotatedObject("a", "here", rbox_cxcywha=tuple(row)) for row in rows.tolist()]
    found = BoxSegmenter().segment(None, annotations(*objects))
    np.testing.assert_array_equal(masks(found), masks_from_rboxes(torch.tensor(rows), SIZE).numpy())


def test_a_box_by_hand():
    objects = (
        AnnotatedObject("a", "here", box_xyxy=(10, 20, 14, 26)),
        AnnotatedObject("a", "here", rbox_cxcywha=(20, 20, 6, 4, math.pi / 2)),
        AnnotatedObject("a", "here", rbox_cxcywha=(0, 0, 6, 4, 0)),
    )
    square, upright, corner = masks(BoxSegmenter().segment(None, annotations(*objects)))
    assert square[20:26, 10:14].all()
    assert upright[17:23, 18:22].all()
    assert corner[0:2, 0:3].all()
    assert [square.sum(), upright.sum(), corner.sum()] == [24, 24, 6]


def test_polygons_by_hand_with_holes_triangles_and_parts():
    ring = [(10, 10), (30, 10), (30, 30), (10, 30)]
    hole = [(15, 15), (20, 15), (20, 20), (15, 20)]
    triangle = [(0, 0), (8, 0), (0, 8)]
    parts = AnnotatedObject(
        "a", "here", polygons=((np.array(ring, float),), (np.array(triangle, float) + 40,))
    )
    found = masks(
        PolygonSegmenter().segment(None, annotations(polygon(ring, hole), polygon(triangle), parts))
    )
    assert found[0][10:30, 10:30].sum() == found[0].sum() == 400 - 25
    assert not found[0][15:20, 15:20].any()
    assert found[1][0, :7].all()
    assert abs(found[1].sum() - 32) <= 4  # centres on the diagonal may fall on either side
    assert found[2].sum() == 400 + found[1].sum()


def test_polygons_that_leave_the_image_are_cut():
    whole = polygon([(-50, -50), (200, -50), (200, 200), (-50, 200)])
    outside = polygon([(100, 10), (120, 10), (120, 20), (100, 20)])
    found = PolygonSegmenter().segment(None, annotations(whole, outside))
    assert [rle_area(mask.rle) for mask in found] == [60 * 80, 0]


def test_a_mask_is_its_own_mask():
    item = AnnotatedObject("a", "here", rle=RLE)
    found = PolygonSegmenter().segment(None, Annotations("a.png", (100, 120), (item,)))
    assert found == [ObjectMask(RLE, score=1.0, prompt="")]


def test_a_box_is_no_outline():
    with pytest.raises(ValueError, match="use the segmenter 'box'"):
        PolygonSegmenter().segment(None, annotations(AnnotatedObject("a", "x", (0, 0, 1, 1))))


def test_no_objects():
    assert BoxSegmenter().segment(None, annotations()) == []
    assert PolygonSegmenter().segment(None, annotations()) == []
