import math

import numpy as np
import pytest

from geomtp.labels import AnnotatedObject, Annotations
from geomtp.labels.engine.annotation_lines import annotations_of, line_of

RING = np.array([(0.1, 2), (1e-17, 1 / 3), (5, 6.5)])


def test_every_number_comes_back():
    objects = (
        AnnotatedObject("Brücke", "a.txt line 1", box_xyxy=(0.1, 2 / 3, 1e30, -0.0)),
        AnnotatedObject("b", "2", rbox_cxcywha=(1, 2, math.inf, 4, -1.5), difficulty=2),
        AnnotatedObject("c", "3", polygons=((RING, RING + 1), (RING,)), ignore=True),
        AnnotatedObject("d", "4", rle=b"62d0"),
    )
    before = Annotations("x/ä b.png", (3, 4), objects, objects[:1], "map.png")
    line = line_of(before)
    assert "\n" not in line
    after = annotations_of(line)
    assert (after.image, after.size_hw, after.semantic) == ("x/ä b.png", (3, 4), "map.png")
    assert after.instances == objects[:1]
    for have, want in zip(after.objects, objects, strict=True):
        if want.polygons is None:
            assert have == want
            continue
        assert (have.name, have.where, have.ignore) == (want.name, want.where, True)
        assert [len(polygon) for polygon in have.polygons] == [2, 1]
        np.testing.assert_array_equal(have.polygons[0][1], RING + 1)
        assert have.polygons[0][0].dtype == np.float64


def test_no_instances_are_kept_apart_from_an_empty_list():
    for instances in (None, ()):
        item = Annotations("a.png", (1, 1), (), instances)
        assert annotations_of(line_of(item)) == item


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"image": "a", "size_hw": [1]}'])
def test_other_lines_are_refused(line):
    with pytest.raises((ValueError, KeyError, TypeError)):
        annotations_of(line)
