"""Polygons of class maps: those of strips beside those of the whole map."""

import numpy as np
import pytest
import shapely
from rasterio.features import rasterize

from geomtp.geometry.class_regions import ClassRegions, class_regions


def joined(parts: list[ClassRegions]) -> ClassRegions:
    return ClassRegions(
        np.concatenate([part.polygons for part in parts]),
        np.concatenate([part.values for part in parts]),
    )


def in_strips(values: np.ndarray, height: int) -> ClassRegions:
    strips = (values[y : y + height] for y in range(0, len(values), height))
    return joined(list(class_regions(strips)))


def as_set(regions: ClassRegions) -> set[tuple[int, bytes]]:
    """Value and outline of each region, from whatever point its rings begin."""
    wkb = shapely.to_wkb(shapely.normalize(regions.polygons))
    return set(zip(regions.values.tolist(), wkb.tolist(), strict=True))


def blobs(seed: int, size_hw: tuple[int, int], grain: int) -> np.ndarray:
    """Patches of 0, 1, 2 and 255, ``grain`` pixels wide, with single pixels strewn in."""
    generator = np.random.default_rng(seed)
    coarse = generator.choice([0, 1, 2, 255], (size_hw[0] // grain + 1, size_hw[1] // grain + 1))
    values = np.kron(coarse, np.ones((grain, grain)))[: size_hw[0], : size_hw[1]]
    values[generator.random(size_hw) < 0.03] = 1
    return values.astype(np.uint8)


@pytest.mark.parametrize("grain", [1, 5])
def test_strips_give_the_regions_of_the_whole(grain):
    values = blobs(grain, (61, 47), grain)
    whole = in_strips(values, 61)
    assert shapely.is_valid(whole.polygons).all()
    for height in (1, 2, 7, 32):
        parts = in_strips(values, height)
        assert len(parts) == len(whole)
        assert shapely.is_valid(parts.polygons).all()
        # A point where a region touches itself may be told as part of a hole or of the outline.
        simple = as_set(parts) ^ as_set(whole)
        for value, _ in simple:
            ours = shapely.union_all(parts.polygons[parts.values == value])
            assert ours.equals(shapely.union_all(whole.polygons[whole.values == value]))
        assert len(simple) <= 0.1 * len(whole)


def test_regions_burn_back_to_the_map():
    values = blobs(3, (40, 50), 4)
    regions = in_strips(values, 9)
    pairs = list(zip(regions.polygons, regions.values.tolist(), strict=True))
    burnt = rasterize(pairs, values.shape, fill=0, dtype="uint8")
    np.testing.assert_array_equal(burnt, np.where(values == 255, 0, values))
    assert shapely.area(regions.polygons).sum() == np.isin(values, (1, 2)).sum()


def test_a_horseshoe_open_to_the_top_is_one_region():
    values = np.zeros((6, 5), np.uint8)
    values[:, [0, 4]] = 1  # two legs that meet in the last strip only
    values[5] = 1
    values[2, 2] = 1
    regions = in_strips(values, 2)
    assert sorted(shapely.area(regions.polygons).tolist()) == [1, 15]
    largest = regions.polygons[shapely.area(regions.polygons).argmax()]
    outline = shapely.Polygon([(0, 0), (1, 0), (1, 5), (4, 5), (4, 0), (5, 0), (5, 6), (0, 6)])
    assert largest.equals_exact(outline, 0, normalize=True)  # no points where strips met


def test_a_ring_across_strips_keeps_its_hole():
    values = np.ones((6, 6), np.uint8)
    values[2:4, 2:4] = 2
    regions = in_strips(values, 3)
    assert as_set(regions) == {
        (1, shapely.to_wkb(shapely.normalize(shapely.box(0, 0, 6, 6) - shapely.box(2, 2, 4, 4)))),
        (2, shapely.to_wkb(shapely.normalize(shapely.box(2, 2, 4, 4)))),
    }


def test_corners_do_not_join():
    values = np.array([[1, 0], [0, 1]], np.uint8)
    assert len(in_strips(values, 1)) == 2
    assert len(in_strips(values, 2)) == 2


def test_complete_regions_come_at_once():
    values = np.zeros((9, 3), np.uint8)
    values[0, 0], values[2:7, 1] = 1, 2
    parts = [len(part) for part in class_regions(values[y : y + 3] for y in (0, 3, 6))]
    assert parts == [1, 0, 1, 0]


def test_empty_maps():
    assert len(in_strips(np.zeros((5, 4), np.uint8), 2)) == 0
    assert len(joined(list(class_regions([])))) == 0


def test_strips_of_other_widths_are_refused():
    with pytest.raises(ValueError, match="of one width"):
        list(class_regions([np.ones((2, 3), np.uint8), np.ones((2, 4), np.uint8)]))
