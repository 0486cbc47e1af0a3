import numpy as np
import pytest

from geomtp.labels.masks.components import holes_of, label_components


def picture(*rows):
    return np.array([[letter == "#" for letter in row] for row in rows])


def flood_fill(mask, diagonal):
    """Pixel by pixel, the slow way."""
    labels, count = np.zeros(mask.shape, int), 0
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)]
    steps += [(-1, -1), (-1, 1), (1, -1), (1, 1)] if diagonal else []
    for y, x in zip(*np.nonzero(mask), strict=True):
        if labels[y, x]:
            continue
        count += 1
        waiting = [(y, x)]
        while waiting:
            y, x = waiting.pop()
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            if inside and mask[y, x] and not labels[y, x]:
                labels[y, x] = count
                waiting += [(y + dy, x + dx) for dy, dx in steps]
    return labels, count


@pytest.mark.parametrize("diagonal", [True, False])
def test_labels_are_those_of_flood_filling(diagonal):
    rng = np.random.default_rng(0)
    for share in (0.1, 0.3, 0.41, 0.5, 0.6, 0.8):
        for size in ((1, 9), (9, 1), (17, 23), (40, 31)):
            mask = rng.random(size) < share
            want, count = flood_fill(mask, diagonal)
            found, number = label_components(mask, diagonal=diagonal)
            assert number == count
            np.testing.assert_array_equal(found, want)


def test_a_spiral_is_one_part():
    spiral = picture(
        "#######",
        "......#",
        "#####.#",
        "#...#.#",
        "#.###.#",
        "#.....#",
        "#######",
    )
    assert label_components(spiral, diagonal=False)[1] == 1
    assert label_components(~spiral, diagonal=False)[1] == 1


def test_corners_connect_only_when_asked():
    mask = picture("#.", ".#")
    assert [label_components(mask, diagonal=d)[1] for d in (True, False)] == [1, 2]


def test_nothing_and_everything():
    labels, count = label_components(np.zeros((3, 4), bool))
    assert (labels.tolist(), count) == ([[0] * 4] * 3, 0)
    labels, count = label_components(np.ones((3, 4), bool))
    assert (labels.tolist(), count) == ([[1] * 4] * 3, 1)


def test_holes_by_hand():
    mask = picture(
        "#######",
        "#..#.##",
        "##.####",
        "#######",
        ".######",
        "###.###",
    )
    assert holes_of(mask) == (2, 4)  # the notches at the border are no holes
    assert holes_of(picture(".#.", "#.#", ".#.")) == (1, 1)  # corners close a hole
    assert holes_of(np.zeros((2, 2), bool)) == (0, 0)
    assert holes_of(np.ones((2, 2), bool)) == (0, 0)
