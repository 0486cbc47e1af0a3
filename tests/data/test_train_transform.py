"""Random views of stored images."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.data.dataset import StoreDataset, collate
from geomtp.data.train_transform import TrainTransform, largest_share
from geomtp.data.transforms import EvalTransform
from geomtp.data.turning import Turning
from geomtp.geometry import mask_boxes
from geomtp.labels import ImageLabels, StoreInfo, change_map, write_store
from geomtp.rasters import write_raster
from geomtp.types import TASKS
from tests.data.stores import CLASSES, MEAN, STD, info_of, make_store, random_labels, smooth_image


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("made"), ((160, 240), (90, 90)), objects=8)


def test_all_targets_of_a_view_have_its_size(store):
    transform = TrainTransform(64)
    for seed in range(10):
        image, targets, *_ = transform(store[0], store.info, TASKS, np.random.default_rng(seed))
        size_hw = tuple(image.shape[1:])
        assert image.dtype == torch.float32
        assert max(size_hw) <= 64
        assert targets.masks.shape[1:] == targets.semantic.shape == size_hw
        assert len(targets.boxes) == len(targets.rboxes) > 0
        assert torch.equal(targets.boxes, mask_boxes(targets.masks))
        assert torch.equal(targets.box_labels, targets.rbox_labels)
        # Each mask pixel is of its class, or of a smaller object that lies on top.
        for mask, label in zip(targets.masks, targets.box_labels, strict=True):
            on_top = targets.masks[targets.masks.sum(dim=(1, 2)) <= mask.sum()].any(dim=0)
            assert (targets.semantic[mask & ~on_top] == label + 1).all()
        assert (targets.semantic[targets.masks.any(dim=0)] > 0).all()


def test_the_same_draws_give_the_same_view(store):
    def view(seed):
        return TrainTransform(64)(store[0], store.info, TASKS, np.random.default_rng(seed))

    (a, a_targets, _), (b, b_targets, _), (c, *_) = view(1), view(1), view(2)
    assert torch.equal(a, b)
    for field in dataclasses.fields(a_targets):
        one, other = getattr(a_targets, field.name), getattr(b_targets, field.name)
        assert (one is None and other is None) or torch.equal(one, other)
    assert a.shape != c.shape or not torch.equal(a, c)


def test_views_do_not_depend_on_the_tasks(store):
    def image(tasks):
        return TrainTransform(64)(store[0], store.info, tasks, np.random.default_rng(3))[0]

    assert torch.equal(image(TASKS), image(("semantic",)))
    assert torch.equal(image(TASKS), image(("rotated",)))


def test_draws_relative_to_the_crop_as_the_paper():
    rng = np.random.default_rng(0)
    views = [TrainTransform(448).draw((800, 800), rng) for _ in range(2000)]
    sides = np.array([view.resized_hw[0] for view in views])
    assert sides.min() >= 224
    assert sides.max() <= 896
    assert 0.30 < (sides < 448).mean() < 0.37  # r < 1 with probability one third
    assert abs(sides.mean() - 1.25 * 448) < 10
    flips = [view.flip for view in views]
    for flip in ("horizontal", "vertical", "diagonal", None):
        assert 430 < flips.count(flip) < 570, flip
    assert all(
        view.size_hw == (min(448, s), min(448, s)) for view, s in zip(views, sides, strict=True)
    )
    rights = [view.crop_xyxy[2] - view.resized_hw[1] for view in views if view.resized_hw[1] > 460]
    assert max(rights) == 0  # the last column is reached
    assert min(view.crop_xyxy[1] for view in views) == 0


def test_draws_relative_to_the_image():
    rng = np.random.default_rng(0)
    transform = TrainTransform(448, resize_range=(0.8, 1.2), resize_relative_to="image", flip=False)
    for _ in range(100):
        view = transform.draw((3000, 5000), rng)
        assert view.flip is None
        assert view.size_hw == (448, 448)
        assert 2400 <= view.resized_hw[0] <= 3600
        assert abs(view.resized_hw[1] / view.resized_hw[0] - 5 / 3) < 1e-3


def test_borders_of_large_images_are_seen():
    rng = np.random.default_rng(0)
    transform = TrainTransform(128, (1.0, 1.0), resize_relative_to="image", flip=False)
    seen = np.zeros((512, 640))
    for _ in range(2000):
        x1, y1, x2, y2 = transform.draw((512, 640), rng).crop_xyxy
        seen[y1:y2, x1:x2] += 1
    # Of an axis, 64 pixels bring the view to its end, and 128 show the pixel in the middle.
    assert abs(seen[0, 0] / 2000 - 64 / 512 * 64 / 640) < 0.006
    assert abs(seen[256, 320] / 2000 - 128 / 512 * 128 / 640) < 0.03


def one_object_store(folder) -> tuple[ImageLabels, StoreInfo]:
    """A small object in the corner of an image that is eight views wide."""
    rng = np.random.default_rng(0)
    Image.fromarray(smooth_image((64, 512), rng)).save(folder / "a.png")
    labels = random_labels("a.png", (64, 512), 1, rng)
    rboxes = np.array([[10, 32, 12, 8, 0]], np.float32)
    from geomtp.geometry import encode_rle, masks_from_rboxes

    masks = masks_from_rboxes(torch.from_numpy(rboxes), (64, 512))
    return (
        dataclasses.replace(
            labels,
            boxes=mask_boxes(masks).numpy(),
            rboxes=rboxes,
            rles=tuple(encode_rle(masks)),
        ),
        info_of(folder),
    )


@pytest.mark.parametrize("reference", [False, True])
def test_views_without_objects_are_drawn_anew(reference, tmp_path):
    labels, info = one_object_store(tmp_path)
    transform = TrainTransform(
        64, (1.0, 1.0), resize_relative_to="image", reference_filtering=reference, flip=False
    )
    views = [transform(labels, info, TASKS, np.random.default_rng(i)) for i in range(40)]
    found = [len(targets.boxes) for _, targets, _ in views]
    # One draw finds it with probability 32 / 512 to 48 / 512, ten draws with 0.48 to 0.63.
    assert 12 <= sum(found) <= 36
    negatives = [targets for _, targets, _ in views if len(targets.boxes) == 0]
    assert all(len(targets.rboxes) == 0 for targets in negatives)
    assert all(targets.masks.shape == (0, 64, 64) for targets in negatives)


def test_images_without_objects_are_seen_at_once(tmp_path):
    labels, info = one_object_store(tmp_path)
    none = dataclasses.replace(
        labels,
        boxes=labels.boxes[:0],
        box_labels=labels.box_labels[:0],
        rles=(),
        rboxes=labels.rboxes[:0],
        rbox_labels=labels.rbox_labels[:0],
    )
    rng = np.random.default_rng(0)
    transform = TrainTransform(64, photometric=False)
    image, targets, *_ = transform(none, info, TASKS, rng)
    after_one_draw = np.random.default_rng(0)
    transform.draw(none.size_hw, after_one_draw)
    assert rng.bit_generator.state == after_one_draw.bit_generator.state
    assert targets.boxes.shape == (0, 4)
    assert (targets.semantic == 0).all()
    assert targets.semantic.shape == image.shape[1:]


def test_unlabelled_tasks_stay_none(tmp_path):
    labels, info = one_object_store(tmp_path)
    bare = ImageLabels("a.png", labels.size_hw, scene_class=2)
    for transform in (TrainTransform(64), EvalTransform()):
        _, targets, _ = transform(bare, info, TASKS, np.random.default_rng(0))
        assert targets.scene_class == 2
        for name in ("boxes", "box_labels", "masks", "rboxes", "rbox_labels", "semantic"):
            assert getattr(targets, name) is None, name
        _, targets, _ = transform(labels, info, ("rotated",), np.random.default_rng(0))
        assert targets.rboxes is not None
        assert targets.boxes is targets.masks is targets.semantic is None
        _, targets, _ = transform(labels, info, ("semantic",), np.random.default_rng(0))
        assert targets.semantic is not None
        assert targets.boxes is targets.rboxes is None


def test_values_are_normalised_by_channel(tmp_path):
    pixels = np.zeros((20, 20, 3), np.uint8) + np.array([10, 100, 200], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    labels, info = ImageLabels("a.png", (20, 20)), info_of(tmp_path)
    want = [(value - m) / s for value, m, s in zip((10, 100, 200), MEAN, STD, strict=True)]
    plain = TrainTransform(16, photometric=False)
    for transform in (EvalTransform(), plain):
        image, *_ = transform(labels, info, (), np.random.default_rng(0))
        torch.testing.assert_close(image.amin(dim=(1, 2)), torch.tensor(want))
        torch.testing.assert_close(image.amax(dim=(1, 2)), torch.tensor(want))


def test_distorted_values_stay_bytes_and_differ_from_the_reference(store):
    info = store.info
    std = torch.tensor(info.std)[:, None, None]
    mean = torch.tensor(info.mean)[:, None, None]
    far = 0
    for seed in range(80):
        images = [
            TrainTransform(64, reference_photometric=reference)(
                store[0], info, (), np.random.default_rng(seed)
            )[0]
            for reference in (False, True)
        ]
        ours, theirs = (image * std + mean for image in images)
        assert (ours - ours.round()).abs().max() < 1e-3
        assert ours.min() > -1e-3
        assert ours.max() < 255.001
        far += bool((ours - theirs).abs().mean() > 10)
    # Saturation (p ½) before any cast to bytes (p ⅜), or hue alone (p ¼), spoils the colours.
    assert 0.1 * 80 <= far <= 0.29 * 80


def test_light_of_bands_varies_by_their_own_spread(tmp_path):
    write_raster(tmp_path / "a.tif", np.full((40, 40, 6), 70, np.uint8))
    info = StoreInfo("made", CLASSES, tmp_path, (60.0,) * 6, (10.0,) * 6)
    labels = ImageLabels("a.tif", (40, 40))
    seen = []
    for seed in range(60):
        image, *_ = TrainTransform(32)(labels, info, (), np.random.default_rng(seed))
        seen.append(float(image[0, 0, 0]))
        assert float(image.std()) < 1e-6
    # (1 ± 32 / 57) · (0.5…1.5): a satellite's dim bands are not pushed out of their range
    assert -1 < min(seen) < 0.6
    assert 1.4 < max(seen) < 2.4


@pytest.mark.parametrize("dtype, channels", [(np.uint16, 3), (np.float32, 5), (np.uint8, 4)])
def test_other_types_and_channel_counts(dtype, channels, tmp_path):
    rng = np.random.default_rng(0)
    pixels = (rng.random((40, 50, channels)) * 200).astype(dtype)
    write_raster(tmp_path / "a.tif", pixels)
    info = StoreInfo("made", CLASSES, tmp_path, (100.0,) * channels, (60.0,) * channels)
    labels = ImageLabels("a.tif", (40, 50))
    image, *_ = TrainTransform(32)(labels, info, TASKS, rng)
    assert image.shape[0] == channels
    assert torch.isfinite(image).all()
    whole, *_ = EvalTransform()(labels, info, TASKS, rng)
    have = whole.permute(1, 2, 0) * 60 + 100
    torch.testing.assert_close(have, torch.from_numpy(pixels.astype(np.float32)), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "settings",
    [
        {"size_px": 0},
        {"size_px": 64, "resize_range": (2.0, 0.5)},
        {"size_px": 64, "resize_range": (0.0, 1.0)},
        {"size_px": 64, "resize_relative_to": "picture"},
        {"size_px": 64, "visible_fraction": 1.5},
    ],
)
def test_settings_that_mean_nothing_are_refused(settings):
    with pytest.raises(ValueError, match=r"size_px|resize_range|resize_relative_to|visible"):
        TrainTransform(**settings)


def pair_store(folder, images=1):
    """The same picture twice, with its change map: what is bright in it has changed."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(images):
        picture = smooth_image((70, 90), rng)
        for name in ("before", "after"):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(folder / name / f"{i}.png")
        Image.fromarray((picture[:, :, 0] > 140).astype(np.uint8)).save(folder / f"{i}.png")
        rows.append(
            ImageLabels(
                f"before/{i}.png", (70, 90), image_after=f"after/{i}.png", change=f"{i}.png"
            )
        )
    return write_store(folder / "store", rows, info_of(folder))


def test_both_dates_are_seen_through_one_view_in_a_light_of_their_own(tmp_path):
    store = pair_store(tmp_path)
    plain = TrainTransform(64, (1, 1), resize_relative_to="image", photometric=False)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        image, targets, after = plain(store[0], store.info, ("change",), rng)
        assert torch.equal(image, after)
        assert targets.change.shape == image.shape[1:]
        assert targets.semantic is None
        red = image[0] * store.std[0] + store.mean[0]
        assert torch.equal(targets.change == 1, red > 140.5)
    lit = TrainTransform(64)
    pairs = [lit(store[0], store.info, ("change",), np.random.default_rng(s)) for s in range(8)]
    assert any(not torch.equal(pair.image, pair.image_after) for pair in pairs)
    whole = EvalTransform()(store[0], store.info, ("change",), np.random.default_rng(0))
    assert torch.equal(whole.image, whole.image_after)
    assert whole.targets.change.tolist() == change_map(store[0], store.image_root).tolist()


def test_a_second_date_is_read_only_where_it_is_needed(tmp_path):
    store = pair_store(tmp_path)
    for transform in (TrainTransform(64), EvalTransform()):
        rng = np.random.default_rng(0)
        assert transform(store[0], store.info, ("semantic",), rng).image_after is None
        alone = dataclasses.replace(store[0], image_after=None)
        with pytest.raises(ValueError, match=r"before/0.png has no image of a second date"):
            transform(alone, store.info, ("change",), rng)


def test_batches_of_pairs_are_padded_alike(tmp_path):
    store = pair_store(tmp_path, images=2)
    dataset = StoreDataset(store, TrainTransform(64, (0.4, 0.9)), ("change",))
    batch = collate([dataset.get(0, 0), dataset.get(0, 1)], "pair", 64)
    assert batch.images_after.shape == batch.images.shape == (2, 3, 64, 64)
    for target, (height, width) in zip(batch.targets, batch.image_sizes_hw, strict=True):
        assert target.change.shape == (64, 64)
        assert (target.change[height:] == 255).all()
        assert (target.change[:height, :width] < 2).all()


def test_views_of_a_share_of_the_area():
    rng = np.random.default_rng(0)
    transform = TrainTransform(64, area_range=(0.08, 1.0), flip_vertically=False)
    views = [transform.draw((200, 300), rng) for _ in range(1000)]
    assert {view.size_hw for view in views} == {(64, 64)}
    seen = np.array([(64 / view.scale_xy[1], 64 / view.scale_xy[0]) for view in views])
    share = seen.prod(axis=1) / (200 * 300)
    assert 0.075 < share.min() < 0.1
    assert 0.85 < share.max() <= 1.001  # all of it would need a ratio of 3/2
    ratio = seen[:, 1] / seen[:, 0]
    assert 0.73 < ratio.min() < 0.78
    assert 1.29 < ratio.max() < 1.36
    assert {view.flip for view in views} == {"horizontal", None}
    assert TrainTransform(64, area_range=(1, 1)).draw((10, 300), rng).size_hw == (64, 64)
    with pytest.raises(ValueError, match="area_range must rise within 0…1"):
        TrainTransform(64, area_range=(0.5, 1.5))


def test_crops_of_one_class_are_drawn_anew(tmp_path):
    pixels = np.zeros((64, 256), np.uint8)
    pixels[:, 224:] = 1  # an eighth at the right
    pixels[:8] = 255
    Image.fromarray(pixels).save(tmp_path / "map.png")
    Image.fromarray(np.stack([pixels] * 3, axis=2)).save(tmp_path / "image.png")
    info = dataclasses.replace(info_of(tmp_path), semantic_values={0: 0, 1: 1, 255: 255})
    labels = ImageLabels("image.png", (64, 256), semantic="map.png")
    shares = {}
    for largest in (1.0, 0.75):
        transform = TrainTransform(
            64, (1, 1), resize_relative_to="image", photometric=False, largest_class=largest
        )
        found = [
            transform(labels, info, ("semantic",), np.random.default_rng(seed))
            for seed in range(40)
        ]
        shares[largest] = np.mean([largest_share(p.targets.semantic) < 0.75 for p in found])
        for prepared in found:  # image and map show the same crop
            red = prepared.image[0] * info.std[0] + info.mean[0]
            assert torch.equal(red.round().to(torch.uint8), prepared.targets.semantic)
    assert shares[1.0] < 0.5
    assert shares[0.75] > 0.7
    assert largest_share(torch.full((4, 4), 255, dtype=torch.uint8)) == 1
    assert largest_share(torch.tensor([[0, 0, 5], [0, 255, 255]], dtype=torch.uint8)) == 0.75


def test_dates_are_exchanged_in_half_of_the_views(tmp_path):
    store = pair_store(tmp_path)
    Image.fromarray(np.zeros((70, 90, 3), np.uint8)).save(tmp_path / "after/0.png")
    plain = TrainTransform(64, photometric=False, exchange_dates=True)
    firsts = [
        plain(store[0], store.info, ("change",), np.random.default_rng(seed)) for seed in range(60)
    ]
    dark = [bool((p.image == p.image[:, :1, :1]).all()) for p in firsts]
    assert 18 < sum(dark) < 42
    other = [bool((p.image_after == p.image_after[:, :1, :1]).all()) for p in firsts]
    assert other == [not value for value in dark]


def test_views_are_turned_with_their_labels(tmp_path):
    store = pair_store(tmp_path)
    turned = TrainTransform(
        64, (1, 1), resize_relative_to="image", photometric=False, turning=Turning(1.0, 20)
    )
    for seed in range(3):
        rng = np.random.default_rng(seed)
        image, targets, after = turned(store[0], store.info, ("change",), rng)
        assert torch.equal(image, after)
        assert (targets.change == 255).any()
        red = image[0] * store.std[0] + store.mean[0]
        known = targets.change != 255
        agree = ((targets.change == 1) == (red > 140.5))[known]
        assert agree.float().mean() > 0.97  # nearest and bilinear differ along edges
