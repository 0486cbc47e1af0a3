"""Views of images without labels."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.data.image_index import build_index
from geomtp.data.unlabelled import (
    RandomView,
    UnlabelledDataset,
    measure_statistics,
    unlabelled_loader,
)
from geomtp.rasters import write_raster


def dataset_of(folder, channels=3, view=None, **options):
    index = build_index([folder], folder.parent / f"{folder.name}_index")
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    settings = {"mean": zeros, "std": ones, **options}
    return UnlabelledDataset(index, view or RandomView(32), **settings)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".tif":
        write_raster(path, pixels)
    else:
        Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("image_hw", [(64, 64), (40, 200), (500, 33), (3, 3), (1, 50)])
def test_windows_lie_inside_and_have_their_share(image_hw):
    rng = np.random.default_rng(0)
    view = RandomView(32, crop_area=(0.2, 0.6))
    shares, ratios = [], []
    for _ in range(300):
        x1, y1, x2, y2 = view.window(image_hw, rng)
        assert 0 <= x1 < x2 <= image_hw[1]
        assert 0 <= y1 < y2 <= image_hw[0]
        shares.append((x2 - x1) * (y2 - y1) / (image_hw[0] * image_hw[1]))
        ratios.append((x2 - x1) / (y2 - y1))
    if image_hw == (64, 64):
        assert 0.18 < min(shares) < 0.22 < 0.56 < max(shares) < 0.62
        assert 0.72 < min(ratios) < 0.8 < 1.25 < max(ratios) < 1.39


def test_windows_of_a_size_in_pixels():
    rng = np.random.default_rng(0)
    view = RandomView(32, crop_side_px=(20, 40))
    windows = [view.window((1000, 2000), rng) for _ in range(200)]
    sides = {x2 - x1 for x1, _, x2, _ in windows}
    assert sides == {y2 - y1 for _, y1, _, y2 in windows} == set(range(20, 41))
    assert view.window((30, 10), rng)[2] <= 10
    assert view.middle((100, 200)) == (80, 30, 120, 70)
    assert RandomView(32).middle((100, 200)) == (50, 0, 150, 100)


def test_a_view_holds_pixels_of_the_file_mirrored_in_both_ways(tmp_path):
    pixels = np.arange(48 * 48 * 4, dtype=np.uint16).reshape(48, 48, 4)
    save(tmp_path / "data/1.tif", pixels)
    dataset = dataset_of(tmp_path / "data", 4, RandomView(32, crop_side_px=(32, 32)))
    whole = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)
    seen = set()
    for epoch in range(40):
        view, _ = dataset.get(epoch, 0)
        down = bool(view[0, 0, 0] > view[0, 1, 0])
        across = bool(view[0, 0, 0] > view[0, 0, 1])
        upright = view.flip([axis for axis, on in ((1, down), (2, across)) if on] or [])
        place = int(upright[0, 0, 0]) // 4
        y, x = place // 48, place % 48
        assert torch.equal(upright, whole[:, y : y + 32, x : x + 32])
        seen.add((down, across))
    assert len(seen) == 4


def test_a_view_is_normalised_and_resized_without_changing_a_plain_colour(tmp_path):
    save(tmp_path / "data/1.png", np.full((50, 70, 3), (10, 20, 30), np.uint8))
    dataset = dataset_of(tmp_path / "data", mean=(5.0, 5.0, 5.0), std=(5.0, 1.0, 2.0))
    view, name = dataset.get(0, 0)
    assert view.shape == (3, 32, 32)
    expected = torch.tensor([1.0, 15.0, 12.5])[:, None, None].expand(3, 32, 32)
    torch.testing.assert_close(view, expected)
    assert name == str(tmp_path / "data/1.png")


def test_shrinking_does_not_alias(tmp_path):
    board = np.indices((256, 256)).sum(axis=0) % 2 * 200
    save(tmp_path / "data/1.png", board.astype(np.uint8)[..., None].repeat(3, 2))
    view = dataset_of(tmp_path / "data", view=RandomView(32, (1.0, 1.0))).middle(0)
    assert (view[:, 2:-2, 2:-2] - 100).abs().max() < 2


@pytest.mark.parametrize(
    ("name", "pixels", "channels"),
    [
        ("a.png", np.full((40, 40), 7, np.uint8), 3),  # grey: three alike
        ("a.png", np.full((40, 40), 7, np.uint8), 1),
        ("a.jpg", np.full((40, 40, 3), 7, np.uint8), 3),
        ("a.tif", np.full((40, 40, 4), 7, np.uint8), 4),
        ("a.tif", np.full((40, 40, 10), 7, np.uint16), 10),
        ("a.tif", np.full((40, 40, 10), 7, np.float32), 3),  # the first bands
    ],
)
def test_formats_and_channels(tmp_path, name, pixels, channels):
    save(tmp_path / "data/nested" / name, pixels)
    dataset = dataset_of(tmp_path / "data", channels)
    assert torch.allclose(dataset.get(0, 0)[0], torch.full((channels, 32, 32), 7.0), atol=0.6)
    mean, std = measure_statistics(dataset.index, channels)
    assert mean == pytest.approx((7.0,) * channels, abs=0.6)
    assert std == pytest.approx((1.0,) * channels)


def test_missing_values_become_the_mean(tmp_path):
    pixels = np.full((32, 32, 2), 4.0, np.float32)
    pixels[:16, :, 0] = np.nan
    pixels[:, :, 1] = np.arange(32)[:, None]
    save(tmp_path / "data/1.tif", pixels)
    dataset = dataset_of(tmp_path / "data", 2, RandomView(32, (1.0, 1.0)))
    view = dataset.middle(0)
    assert torch.equal(view[0, :16], torch.zeros(16, 32))
    assert torch.equal(view[0, 16:], torch.full((16, 32), 4.0))
    mean, _ = measure_statistics(dataset.index, 2)
    assert mean == (4.0, 23.5)  # of the rows whose bands are all there


def test_too_few_channels_are_told(tmp_path):
    save(tmp_path / "data/1.png", np.zeros((40, 40, 3), np.uint8))
    dataset = dataset_of(tmp_path / "data", 4)
    message = r"1\.png has 3 channels, in_channels asks for 4: set in_channels to 3"
    with pytest.raises(ValueError, match=message):
        dataset.get(0, 0)
    with pytest.raises(ValueError, match=message):
        measure_statistics(dataset.index, 4)


def test_damaged_images_stop_or_are_passed_over(tmp_path):
    for number in range(4):
        save(tmp_path / f"data/{number}.png", np.full((40, 40, 3), 9, np.uint8))
    whole = (tmp_path / "data/1.png").read_bytes()
    (tmp_path / "data/1.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "data/2.png").write_bytes(b"")
    strict = dataset_of(tmp_path / "data")
    with pytest.raises(OSError, match=r"1\.png cannot be read as an image"):
        strict.get(0, 1)
    with pytest.raises(OSError, match=r"2\.png is empty"):
        strict.get(0, 2)
    with pytest.raises(OSError, match=r"[12]\.png "):
        next(iter(unlabelled_loader(strict, batch_size=4, steps=1)))
    lenient = dataset_of(tmp_path / "data", skip_bad=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        view, name = lenient.get(0, 1)
    assert "another image is taken instead" in str(said[0].message)
    assert (float(view.mean()), name[-5:]) == (pytest.approx(9.0), name[-5:])
    assert name.endswith(("0.png", "3.png"))
    assert measure_statistics(strict.index, 3)[0] == (9.0, 9.0, 9.0)


def test_only_damaged_images_give_up(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/1.png").write_bytes(b"nothing")
    lenient = dataset_of(tmp_path / "data", skip_bad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(OSError, match="20 images in a row could not be used"):
            lenient.get(0, 0)


def test_steps_do_not_depend_on_workers_processes_or_where_they_begin(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(7):
        save(tmp_path / f"data/{number}.png", rng.integers(0, 255, (40, 40, 3), np.uint8))
    dataset = dataset_of(tmp_path / "data", seed=5)

    def read(**options):
        loader = unlabelled_loader(dataset, **{"batch_size": 4, "steps": 4, "seed": 5, **options})
        return [(batch.images, batch.image_ids) for batch in loader]

    whole = read()
    names = [name for _, ids in whole for name in ids]
    assert [len(set(names[:7])), len(set(names[7:14]))] == [7, 7]
    others = [read(workers=1), read(start_step=2), read(batch_size=2, world=2)]
    halves = [read(batch_size=2, world=2, rank=rank) for rank in range(2)]
    joined = [
        (torch.cat([a, b]), ids_a + ids_b) for (a, ids_a), (b, ids_b) in zip(*halves, strict=True)
    ]
    for have, want in ((others[0], whole), (others[1], whole[2:]), (joined, whole)):
        assert len(have) == len(want)
        for (images, ids), (expected, expected_ids) in zip(have, want, strict=True):
            assert ids == expected_ids
            assert torch.equal(images, expected)
