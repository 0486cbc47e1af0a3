import math
import tracemalloc

import numpy as np
import pytest

from geomtp.geometry import decode_rle, encode_rle
from geomtp.labels import ObjectMask
from geomtp.labels.masks.quality import FLAGS, CheckedMask, QualityRules, check_masks
from geomtp.labels.masks.run_lengths import rle_area, rle_of_part

SIZE = (60, 80)
BOX = (30, 20, 20, 10, 0)  # x 20…40, y 15…25: 200 pixels; grown by 2 px: x 18…42, y 13…27


def mask_of(*parts_xyxy, without=()):
    mask = np.zeros(SIZE, bool)
    for x1, y1, x2, y2 in parts_xyxy:
        mask[y1:y2, x1:x2] = True
    for x1, y1, x2, y2 in without:
        mask[y1:y2, x1:x2] = False
    return mask


def check(mask, box=BOX, score=0.75, rules=None):
    raw = ObjectMask(encode_rle(mask[None])[0], score, "rh")
    checked = check_masks([raw], np.array([box], float), SIZE, rules)[0]
    assert (checked.raw_rle, checked.prompt) == (raw.rle, "rh")
    return checked, decode_rle([checked.rle], SIZE)[0].numpy()


def test_a_good_mask_stays_as_it_is():
    mask = mask_of((20, 15, 38, 25))
    checked, kept = check(mask)
    np.testing.assert_array_equal(kept, mask)
    assert checked.rle == checked.raw_rle
    assert (checked.flags, checked.score) == ((), 0.75)
    assert (checked.coverage, checked.spill) == (0.9, 0.0)
    assert (checked.components, checked.holes) == (1, 0)


def test_what_lies_within_the_margin_is_no_spill():
    mask = mask_of((18, 13, 42, 27))
    checked, kept = check(mask)
    assert (checked.flags, checked.coverage, checked.spill) == ((), 1.0, 0.0)
    assert kept.sum() == 24 * 14


def test_small_spill_is_cut():
    checked, kept = check(mask_of((20, 15, 40, 25), (40, 18, 50, 20)))  # 8 × 2 beyond x = 42
    assert checked.flags == ("spill_cut",)
    assert checked.spill == pytest.approx(16 / 220)
    np.testing.assert_array_equal(kept, mask_of((20, 15, 40, 25), (40, 18, 42, 20)))
    assert checked.score == 0.75


def test_spill_far_from_the_box_is_counted():
    checked, kept = check(mask_of((20, 15, 40, 25), (60, 40, 70, 50)))
    assert checked.spill == pytest.approx(100 / 300)
    assert (checked.flags, checked.components) == (("spill_cut",), 1)
    assert kept.sum() == 200


def test_mostly_spill_gives_way_to_the_box():
    checked, kept = check(mask_of((20, 15, 40, 25), (40, 30, 70, 40)))
    assert checked.flags == ("large_spill", "box_instead")
    assert (checked.spill, checked.coverage, checked.score) == (0.6, 1.0, 0.0)
    np.testing.assert_array_equal(kept, mask_of((20, 15, 40, 25)))


def test_stray_components_are_dropped():
    large, small, large_enough = (20, 15, 30, 25), (35, 15, 38, 18), (35, 20, 40, 22)
    checked, kept = check(mask_of(large, small, large_enough))  # 100, 9 and 10 pixels
    assert checked.flags == ("strays_dropped",)
    assert (checked.components, checked.coverage) == (3, 119 / 200)
    np.testing.assert_array_equal(kept, mask_of(large, large_enough))


def test_coverage_flags_and_replaces():
    rates = {70: (), 69: ("low_coverage",), 40: ("low_coverage",)}
    rates[39] = ("low_coverage", "box_instead")
    for pixels, flags in rates.items():
        mask = np.zeros(SIZE, bool)
        columns, rest = divmod(pixels, 10)
        mask[15:25, 20 : 20 + columns] = True
        mask[15 : 15 + rest, 20 + columns] = True
        checked, kept = check(mask)
        assert (checked.flags, checked.coverage) == (flags, pixels / 200)
        assert kept.sum() == (200 if "box_instead" in flags else pixels)


def test_an_empty_mask_gives_way_to_the_box():
    checked, kept = check(mask_of())
    assert checked.flags == ("empty", "box_instead")
    assert (checked.coverage, checked.spill, checked.components, checked.holes) == (0, 0, 0, 0)
    assert kept.sum() == 200


def test_holes_are_counted_and_large_ones_flagged():
    pinhole, courtyard = (22, 17, 23, 18), (25, 18, 29, 21)
    checked, _ = check(mask_of((20, 15, 40, 25), without=[pinhole]))
    assert (checked.flags, checked.holes) == ((), 1)
    mask = mask_of((20, 15, 40, 25), without=[pinhole, courtyard])
    checked, kept = check(mask)
    assert (checked.flags, checked.holes) == (("holes",), 2)
    np.testing.assert_array_equal(kept, mask)


def test_a_turned_box_cuts_along_its_own_sides():
    everything = np.ones(SIZE, bool)
    rules = QualityRules(margin_px=0, margin_share=0, most_spill=1)
    turn = 0.5
    box = (40, 30, 20, 10, turn)
    checked, kept = check(everything, box, rules=rules)
    y, x = np.nonzero(kept)
    x, y = x + 0.5 - 40, y + 0.5 - 30
    along = x * math.cos(turn) + y * math.sin(turn)
    across = y * math.cos(turn) - x * math.sin(turn)
    assert max(abs(along)) <= 10
    assert max(abs(across)) <= 5
    assert checked.coverage == 1
    assert checked.spill == 1 - kept.sum() / 4800
    assert 195 <= kept.sum() <= 205


def test_boxes_at_the_border_and_without_a_pixel():
    beyond = (0, 20, 20, 10, 0)  # half of it lies in the image
    checked, kept = check(mask_of((0, 15, 5, 25)), beyond)
    assert (checked.flags, checked.coverage) == ((), 0.5)
    checked, kept = check(mask_of((0, 0, 1, 1)), (30.9, 20.9, 0.1, 0.1, 0))
    assert checked.flags == ("large_spill", "low_coverage", "box_instead")
    assert kept.sum() == 0


def test_everything_is_deterministic_and_in_order():
    rng = np.random.default_rng(1)
    boxes = rng.uniform([0, 0, 5, 5, -1.5], [80, 60, 40, 20, 1.5], (30, 5))
    masks = [ObjectMask(encode_rle(rng.random((1, *SIZE)) < 0.7)[0], i / 30) for i in range(30)]
    together = check_masks(masks, boxes, SIZE)
    alone = [check_masks([m], b[None], SIZE)[0] for m, b in zip(masks, boxes, strict=True)]
    assert together == alone
    assert all(isinstance(item, CheckedMask) for item in together)
    assert {flag for item in together for flag in item.flags} <= set(FLAGS)
    assert check_masks([], np.zeros((0, 5)), SIZE) == []


def test_only_windows_of_large_scenes_are_decoded():
    size, boxes = (8000, 8000), np.array([[6000, 5000, 60, 30, 0.5]] * 20)
    part = rle_of_part(np.ones((30, 40), bool), (5980, 4985), size)
    tracemalloc.start()
    checked = check_masks([ObjectMask(part)] * 20, boxes, size)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(checked) == 20
    assert rle_area(checked[0].rle) > 900
    assert peak < 8e6  # a full mask has 64 MB


def test_mistakes_get_a_sentence():
    with pytest.raises(ValueError, match="one rotated box of five numbers for each of 1 masks"):
        check_masks([ObjectMask(b"")], np.zeros((2, 5)), SIZE)
    with pytest.raises(ValueError, match=r"most_spill is a share of 0…1, found 2"):
        QualityRules(most_spill=2)
    with pytest.raises(ValueError, match="does not describe a mask"):
        check_masks([ObjectMask(encode_rle(np.ones((1, 9, 9), bool))[0])], np.ones((1, 5)), SIZE)
