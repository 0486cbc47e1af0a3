"""Views beside a twin that mirrors, resizes and crops whole dense arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import geomtp.data.views as views
from geomtp.data.views import AxisView, ViewParameters, mask_views, read_view, semantic_view
from geomtp.geometry import decode_rle, encode_rle, mask_boxes, quads_from_rboxes
from geomtp.labels import ImageLabels, semantic_map
from geomtp.rasters import write_raster
from tests.data.stores import random_labels, smooth_image

FLIPS = (None, "horizontal", "vertical", "diagonal")


def random_view(size_hw, rng) -> ViewParameters:
    flip = FLIPS[rng.integers(4)]
    resized = tuple(int(side) for side in rng.integers(20, 160, 2))
    y = np.sort(rng.choice(resized[0] + 1, 2, replace=False)).tolist()
    x = np.sort(rng.choice(resized[1] + 1, 2, replace=False)).tolist()
    return ViewParameters(size_hw, flip, resized, (x[0], y[0], x[1], y[1]))


def mirrored(array: np.ndarray, flip) -> np.ndarray:
    """(H, W, …) mirrored."""
    array = array[:, ::-1] if flip in ("horizontal", "diagonal") else array
    return array[::-1] if flip in ("vertical", "diagonal") else array


def nearest(array: np.ndarray, resized_hw) -> np.ndarray:
    """(H, W, …) by loops over rows and columns."""
    (h, w), (rh, rw) = array.shape[:2], resized_hw
    rows = [min(math.floor(i * (1 / (rh / h))), h - 1) for i in range(rh)]
    columns = [min(math.floor(j * (1 / (rw / w))), w - 1) for j in range(rw)]
    return array[rows][:, columns]


def cropped(array: np.ndarray, crop_xyxy) -> np.ndarray:
    x1, y1, x2, y2 = crop_xyxy
    return array[y1:y2, x1:x2]


def dense_view(array: np.ndarray, view: ViewParameters) -> np.ndarray:
    return cropped(nearest(mirrored(array, view.flip), view.resized_hw), view.crop_xyxy)


@pytest.mark.parametrize("seed", range(30))
def test_masks_and_map_equal_the_dense_twin(seed, tmp_path):
    rng = np.random.default_rng(seed)
    size_hw = tuple(int(side) for side in rng.integers(30, 120, 2))
    labels = random_labels("a.png", size_hw, 7, rng)
    view = random_view(size_hw, rng)
    masks, boxes = mask_views(labels.rles, view)
    twins = [dense_view(mask.numpy(), view) for mask in decode_rle(labels.rles, size_hw)]
    assert torch.equal(masks, torch.from_numpy(np.stack(twins)))
    assert torch.equal(boxes, mask_boxes(masks))
    semantic = semantic_view(labels, tmp_path, view)
    assert semantic.tolist() == dense_view(semantic_map(labels, tmp_path), view).tolist()


@pytest.mark.parametrize("seed", range(30))
def test_ragged_masks_equal_the_dense_twin(seed):
    rng = np.random.default_rng(seed)
    size_hw = tuple(int(side) for side in rng.integers(1, 40, 2))
    dense = rng.random((5, *size_hw)) < rng.choice([0.0, 0.05, 0.5, 0.95, 1.0], (5, 1, 1))
    view = random_view(size_hw, rng)
    masks, boxes = mask_views(encode_rle(dense), view)
    assert torch.equal(masks, torch.from_numpy(np.stack([dense_view(m, view) for m in dense])))
    assert torch.equal(boxes, mask_boxes(masks))


@pytest.mark.parametrize("seed", range(20))
def test_image_equals_interpolating_the_whole(seed, tmp_path):
    rng = np.random.default_rng(seed)
    size_hw = tuple(int(side) for side in rng.integers(2, 120, 2))
    pixels, view = smooth_image(size_hw, rng), random_view(size_hw, rng)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    whole = torch.from_numpy(mirrored(pixels, view.flip).copy()).permute(2, 0, 1)[None].double()
    whole = F.interpolate(whole, size=view.resized_hw, mode="bilinear", align_corners=False)[0]
    x1, y1, x2, y2 = view.crop_xyxy
    have, dtype = read_view(tmp_path / "a.png", view, range(3))
    assert dtype == np.uint8
    torch.testing.assert_close(
        torch.from_numpy(have), whole[:, y1:y2, x1:x2].float(), atol=1e-2, rtol=0
    )


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "a.tif"
    pixels = np.random.default_rng(5).integers(0, 4000, (512, 1024, 4), dtype=np.uint16)
    write_raster(path, pixels)
    return path, pixels


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("resized", [(512, 1024), (150, 350), (750, 1500)])
def test_only_the_window_of_a_large_image_is_read(flip, resized, large, monkeypatch):
    path, pixels = large
    sizes = []
    read = views.read_window

    def counting(path, window_xyxy, bands):
        x1, y1, x2, y2 = window_xyxy
        sizes.append((y2 - y1, x2 - x1))
        return read(path, window_xyxy, bands)

    monkeypatch.setattr(views, "read_window", counting)
    view = ViewParameters((512, 1024), flip, resized, (100, 40, 228, 104))
    have, dtype = read_view(path, view, (0, 1, 2, 3))
    assert dtype == np.uint16
    assert have.shape == (4, 64, 128)
    (seen,) = sizes
    assert seen[0] <= 64 * 512 / resized[0] + 2
    assert seen[1] <= 128 * 1024 / resized[1] + 2
    whole = torch.from_numpy(mirrored(pixels, flip).astype(np.float64)).permute(2, 0, 1)[None]
    whole = F.interpolate(whole, size=resized, mode="bilinear", align_corners=False)[0]
    twin = whole[:, 40:104, 100:228].float()
    torch.testing.assert_close(torch.from_numpy(have), twin, atol=0.1, rtol=0)


@pytest.mark.parametrize("flip", FLIPS[1:])
def test_mirrored_twice_is_as_before(flip, tmp_path):
    rng = np.random.default_rng(6)
    size_hw = (48, 70)
    labels = random_labels("a.png", size_hw, 5, rng)
    pixels = smooth_image(size_hw, rng)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    view = ViewParameters(size_hw, flip, size_hw, (0, 0, 70, 48))
    once, _ = read_view(tmp_path / "a.png", view, range(3))
    Image.fromarray(once.astype(np.uint8).transpose(1, 2, 0)).save(tmp_path / "b.png")
    assert (read_view(tmp_path / "b.png", view, range(3))[0] == pixels.transpose(2, 0, 1)).all()
    masks, _ = mask_views(labels.rles, view)
    again, _ = mask_views(encode_rle(masks), view)
    assert torch.equal(again, decode_rle(labels.rles, size_hw))
    boxes, rboxes = torch.from_numpy(labels.boxes), torch.from_numpy(labels.rboxes)
    assert torch.equal(view.boxes(view.boxes(boxes)), boxes)
    torch.testing.assert_close(view.rboxes(view.rboxes(rboxes)), rboxes)


def test_numbers_by_hand():
    view = ViewParameters((100, 200), "horizontal", (200, 400), (20, 10, 120, 60))
    assert view.size_hw == (50, 100)
    assert view.scale_xy == (2.0, 2.0)
    # x: 200 − 160 = 40 → 80 − 20 = 60, 200 − 140 = 60 → 100; y: 10 → 20 − 10 = 10, 30 → 50
    assert view.boxes(torch.tensor([[140.0, 10, 160, 30]])).tolist() == [[60, 10, 100, 50]]
    rbox = torch.tensor([[150.0, 20, 30, 10, 0.3]])
    torch.testing.assert_close(view.rboxes(rbox), torch.tensor([[80.0, 30, 60, 20, -0.3]]))


@pytest.mark.parametrize("seed", range(10))
def test_corners_of_rotated_boxes_move_like_points(seed):
    rng = np.random.default_rng(seed)
    labels = random_labels("a.png", (100, 140), 6, rng)
    factor = float(rng.uniform(0.4, 2.2))
    resized = (round(100 * factor), round(140 * factor))
    view = ViewParameters((100, 140), FLIPS[seed % 4], resized, (5, 3, 30, 31))
    corners = quads_from_rboxes(torch.from_numpy(labels.rboxes))
    if view.flip in ("horizontal", "diagonal"):
        corners[..., 0] = 140 - corners[..., 0]
    if view.flip in ("vertical", "diagonal"):
        corners[..., 1] = 100 - corners[..., 1]
    corners = corners * torch.tensor(view.scale_xy) - torch.tensor([5.0, 3.0])
    have = quads_from_rboxes(view.rboxes(torch.from_numpy(labels.rboxes)))
    distance = torch.cdist(have, corners)  # (N, 4, 4): the corners may be in another order
    # Rounding the size to whole pixels makes the scales of x and y differ a little.
    assert distance.amin(dim=2).max() < 0.5
    rboxes = view.rboxes(torch.from_numpy(labels.rboxes))
    assert (rboxes[:, 2] >= rboxes[:, 3]).all()
    assert ((rboxes[:, 4] >= -math.pi / 2) & (rboxes[:, 4] < math.pi / 2)).all()


def test_axis_by_hand():
    axis = AxisView(length=4, resized=8, start=0, stop=8, mirrored=False)
    assert axis.nearest().tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    lower, upper, weight = axis.linear()
    assert lower.tolist() == [0, 0, 0, 1, 1, 2, 2, 3]
    assert upper.tolist() == [1, 1, 1, 2, 2, 3, 3, 3]
    assert weight.tolist() == [0, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0]
    other = AxisView(length=4, resized=2, start=1, stop=2, mirrored=True)
    assert other.nearest().tolist() == [1]
    first, last = other.spans(np.array([0, 1, 3]), np.array([1, 3, 4]))
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(1, 1), (0, 1), (0, 0)]


@pytest.mark.parametrize("crop", [(0, 0, 0, 5), (0, 0, 11, 5), (-1, 0, 5, 5), (0, 6, 5, 21)])
def test_crops_that_leave_the_image_are_refused(crop):
    with pytest.raises(ValueError, match="must lie inside the resized image, which is 10 wide"):
        ViewParameters((5, 5), None, (20, 10), crop)


def test_a_file_of_another_size_is_refused(tmp_path):
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png has size \(8, 9\), its labels \(9, 8\)"):
        read_view(tmp_path / "a.png", ViewParameters.whole((9, 8)), range(3))


def test_a_grey_map_is_seen_like_the_image(tmp_path):
    rng = np.random.default_rng(8)
    grey = rng.choice(np.array([0, 1, 2, 255], np.uint8), (40, 60))
    Image.fromarray(grey).save(tmp_path / "map.png")
    labels = ImageLabels("a.png", (40, 60), semantic="map.png")
    view = ViewParameters((40, 60), "vertical", (30, 90), (10, 5, 70, 25))
    have = semantic_view(labels, tmp_path, view)
    assert have.dtype == torch.uint8
    assert have.tolist() == dense_view(grey + np.uint8(1), view).tolist()
