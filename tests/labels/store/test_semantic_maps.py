import numpy as np
import pytest
from PIL import Image

from geomtp.geometry import encode_rle
from geomtp.labels import ImageLabels, change_map, semantic_map

SIZE = (50, 70)


def random_labels(seed, count=30, with_boxes=True):
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, *SIZE), dtype=bool)
    for mask in masks:
        x, y = rng.integers(0, 60), rng.integers(0, 40)
        patch = mask[y : y + rng.integers(1, 25), x : x + rng.integers(1, 25)]
        patch[:] = rng.random(patch.shape) < rng.choice([0.5, 1.0])
    masks[:, 0, 0] |= ~masks.any(axis=(1, 2))
    boxes = [
        (np.flatnonzero(m.any(0))[0], np.flatnonzero(m.any(1))[0],
         np.flatnonzero(m.any(0))[-1] + 1, np.flatnonzero(m.any(1))[-1] + 1)
        for m in masks
    ]  # fmt: skip
    labels = rng.integers(0, 7, count)
    return masks, ImageLabels(
        "a.png",
        SIZE,
        boxes=np.array(boxes, np.float32) if with_boxes else None,
        box_labels=labels,
        rles=tuple(encode_rle(masks)),
    )


def paint_densely(masks, labels):
    """Larger objects first; of equal ones the later on top."""
    canvas = np.zeros(SIZE, dtype=np.uint8)
    for i in sorted(range(len(masks)), key=lambda i: (-masks[i].sum(), i)):
        canvas[masks[i]] = labels.box_labels[i] + 1
    return canvas


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("with_boxes", [True, False])
def test_painting_and_windows_against_dense_masks(tmp_path, seed, with_boxes):
    masks, labels = random_labels(seed, with_boxes=with_boxes)
    whole = paint_densely(masks, labels)
    painted = semantic_map(labels, tmp_path)
    assert painted.dtype == np.uint8
    np.testing.assert_array_equal(painted, whole)
    for x1, y1, x2, y2 in ((0, 0, 1, 1), (10, 5, 40, 50), (33, 20, 70, 21)):
        window = semantic_map(labels, tmp_path, (x1, y1, x2, y2))
        np.testing.assert_array_equal(window, whole[y1:y2, x1:x2])


def test_smaller_ones_lie_on_top_and_of_equal_ones_the_later(tmp_path):
    masks = np.zeros((4, *SIZE), dtype=bool)
    masks[0, 10:14, 10:14] = True  # small, listed first
    masks[1, 5:30, 5:30] = True
    masks[2, 40:44, 40:44] = masks[3, 42:46, 42:46] = True  # equal areas
    labels = ImageLabels("a.png", SIZE, box_labels=np.arange(4), rles=tuple(encode_rle(masks)))
    painted = semantic_map(labels, tmp_path)
    assert [painted[12, 12], painted[20, 20], painted[43, 43], painted[40, 40]] == [1, 2, 4, 3]
    assert painted[0, 0] == 0


def test_of_equal_areas_the_higher_score_lies_on_top(tmp_path):
    masks = np.zeros((4, *SIZE), dtype=bool)
    masks[0, 10:14, 10:14] = masks[1, 12:16, 12:16] = masks[2, 11:15, 11:15] = True
    masks[3, 0:40, 0:40] = True  # larger, whatever its score
    scores = np.array([0.9, 0.2, 0.9, 1], np.float32)
    labels = ImageLabels(
        "a.png", SIZE, box_labels=np.arange(4), rles=tuple(encode_rle(masks)), scores=scores
    )
    painted = semantic_map(labels, tmp_path)
    # The second and third cover 12…14: the third wins by score; it is later than its equal.
    assert [painted[13, 13], painted[10, 10], painted[15, 15], painted[5, 5]] == [3, 1, 2, 4]
    window = semantic_map(labels, tmp_path, (9, 9, 20, 20))
    np.testing.assert_array_equal(window, painted[9:20, 9:20])


def test_no_objects_are_background(tmp_path):
    labels = ImageLabels("a.png", SIZE, box_labels=np.zeros(0, np.int64), rles=())
    assert (semantic_map(labels, tmp_path) == 0).all()


def test_grey_maps_are_shifted_by_one(tmp_path):
    grey = np.full(SIZE, 255, dtype=np.uint8)
    grey[3, 4], grey[5, 6] = 0, 17
    Image.fromarray(grey).save(tmp_path / "g.png")
    labels = ImageLabels("a.png", SIZE, semantic="g.png")
    whole = semantic_map(labels, tmp_path)
    assert [whole[0, 0], whole[3, 4], whole[5, 6]] == [0, 1, 18]
    np.testing.assert_array_equal(semantic_map(labels, tmp_path, (4, 3, 20, 10)), whole[3:10, 4:20])


def test_palette_maps_keep_their_indices(tmp_path):
    image = Image.new("P", (70, 50), 255)
    image.putpalette([7, 8, 9] * 256)
    image.putpixel((4, 3), 2)
    image.save(tmp_path / "g.png")
    found = semantic_map(ImageLabels("a.png", SIZE, semantic="g.png"), tmp_path)
    assert [found[3, 4], found[0, 0]] == [3, 0]


def test_what_cannot_be_a_map(tmp_path):
    Image.new("RGB", (70, 50)).save(tmp_path / "rgb.png")
    with pytest.raises(ValueError, match="a grey map of 8 bits, found 3 bands of uint8"):
        semantic_map(ImageLabels("a.png", SIZE, semantic="rgb.png"), tmp_path)
    Image.new("L", (71, 50)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match=r"has size \(50, 71\), its image \(50, 70\)"):
        semantic_map(ImageLabels("a.png", SIZE, semantic="wide.png"), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        semantic_map(ImageLabels("a.png", SIZE, semantic="none.png"), tmp_path)
    with pytest.raises(ValueError, match="neither a grey map nor masks"):
        semantic_map(ImageLabels("a.png", SIZE), tmp_path)
    with pytest.raises(ValueError, match="must lie inside"):
        semantic_map(random_labels(0)[1], tmp_path, (0, 0, 71, 5))


def test_values_of_grey_maps_by_a_table(tmp_path):
    grey = np.zeros((50, 70), np.uint8)
    grey[3, 4], grey[5, 6], grey[7, 8] = 10, 20, 99
    Image.fromarray(grey).save(tmp_path / "g.png")
    labels = ImageLabels("a.png", SIZE, semantic="g.png")
    found = semantic_map(labels, tmp_path, values={0: 0, 10: 1, 20: 2, 99: 255})
    assert [int(found[at]) for at in ((0, 0), (3, 4), (5, 6), (7, 8))] == [0, 1, 2, 255]
    with pytest.raises(ValueError, match=r"g\.png holds.*: 20 \(1 pixels\), 99 .*; known: 0, 10"):
        semantic_map(labels, tmp_path, values={0: 0, 10: 1})
    part = semantic_map(labels, tmp_path, (0, 0, 6, 5), values={0: 0, 10: 1})
    assert part.sum() == 1


def test_change_maps(tmp_path):
    grey = np.zeros((50, 70), np.uint8)
    grey[3, 4], grey[5, 6] = 1, 255
    Image.fromarray(grey).save(tmp_path / "g.png")
    labels = ImageLabels("a.png", SIZE, change="g.png")
    found = change_map(labels, tmp_path)
    assert [int(found[at]) for at in ((0, 0), (3, 4), (5, 6))] == [0, 1, 255]
    binary = change_map(labels, tmp_path, (5, 0, 70, 50), values={0: 0, 255: 1})
    assert (binary.sum(), binary[5, 1]) == (1, 1)
    with pytest.raises(ValueError, match="has no map of what changed"):
        change_map(ImageLabels("a.png", SIZE), tmp_path)
