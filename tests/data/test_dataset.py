"""Samples of stores and padded batches."""

from __future__ import annotations

import dataclasses
import pickle
import shutil

import numpy as np
import pytest
import torch

from geomtp.data.dataset import Sample, StoreDataset, collate
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform
from geomtp.labels import LabelStore
from geomtp.types import TASKS, Targets
from tests.data.stores import make_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("made"), ((96, 128),) * 6)


@pytest.fixture
def damaged(store, tmp_path):
    """The same store with a cut-off, a missing and an empty image; 0, 1 and 4 are sound."""
    root = shutil.copytree(store.image_root, tmp_path / "images")
    (root / "2.png").write_bytes((root / "2.png").read_bytes()[:500])
    (root / "3.png").unlink()
    (root / "5.png").write_bytes(b"")
    return LabelStore.open(store.path, image_root=root)


def same(a: Sample, b: Sample) -> bool:
    return a.image_id == b.image_id and torch.equal(a.image, b.image)


def test_samples_depend_on_seed_epoch_and_index_only(store):
    dataset = StoreDataset(store, TrainTransform(64), TASKS, seed=3)
    first = [dataset.get(0, i) for i in range(6)]
    again = StoreDataset(store, TrainTransform(64), TASKS, seed=3)
    assert all(same(again.get(0, i), first[i]) for i in reversed(range(6)))
    assert not any(same(dataset.get(1, i), first[i]) for i in range(6))
    other = dataclasses.replace(dataset, seed=4)
    assert not any(same(other.get(0, i), first[i]) for i in range(6))
    assert [sample.image_id for sample in first] == [f"{i}.png" for i in range(6)]
    assert all(s.size_hw == tuple(s.image.shape[1:]) and s.original_size_hw is None for s in first)


def test_evaluation_samples_know_the_size_of_the_file(store):
    sample = StoreDataset(store, EvalTransform(64), TASKS).get(0, 0)
    assert sample.size_hw == (48, 64)
    assert sample.original_size_hw == (96, 128)
    assert sample.targets.semantic.shape == (96, 128)


def test_pickled_it_is_as_small_as_a_path(store):
    dataset = StoreDataset(store, TrainTransform(64), TASKS)
    text = pickle.dumps(dataset)
    assert len(text) < 1000
    assert same(pickle.loads(text).get(2, 1), dataset.get(2, 1))


def test_unknown_tasks_are_refused(store):
    with pytest.raises(ValueError, match=r"unknown tasks \['segmentation'\]; known: semantic"):
        StoreDataset(store, EvalTransform(), ("semantic", "segmentation"))


def test_a_mean_of_ones_own(store):
    own = StoreDataset(store, EvalTransform(), (), mean=(0.0, 0.0, 0.0), std=(1.0, 2.0, 1.0))
    usual = StoreDataset(store, EvalTransform(), ())
    assert own.info.mean == (0.0, 0.0, 0.0)
    info = store.info
    back = usual.get(0, 0).image * torch.tensor(info.std)[:, None, None]
    back = back + torch.tensor(info.mean)[:, None, None]
    have = own.get(0, 0).image * torch.tensor([1.0, 2.0, 1.0])[:, None, None]
    torch.testing.assert_close(have, back, atol=1e-3, rtol=0)
    with pytest.raises(ValueError, match="one number per channel, got 1 and 3"):
        StoreDataset(store, EvalTransform(), (), mean=(0.0,))


@pytest.mark.parametrize("index, what", [(2, "2.png"), (3, "3.png"), (5, "5.png")])
def test_an_unusable_image_is_named_in_one_sentence(damaged, index, what):
    dataset = StoreDataset(damaged, TrainTransform(64), TASKS)
    with pytest.raises(OSError, match=what) as error:
        dataset.get(0, index)
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:another image")
def test_another_image_takes_its_place_where_that_is_wanted(damaged):
    dataset = StoreDataset(damaged, TrainTransform(64), TASKS, skip_bad=True)
    with pytest.warns(UserWarning, match=r"another image is taken instead: .*2\.png"):
        taken = [dataset.get(epoch, 2) for epoch in range(12)]
    assert {sample.image_id for sample in taken} == {"0.png", "1.png", "4.png"}
    with pytest.warns(UserWarning, match=r"2\.png"):
        assert same(dataset.get(7, 2), taken[7])


def test_evaluation_leaves_it_out(damaged):
    dataset = StoreDataset(damaged, EvalTransform(), TASKS, skip_bad=True)
    with pytest.warns(UserWarning, match=r"left out: .*3\.png"):
        assert dataset.get_or_none(3) is None
    assert dataset.get_or_none(4).image_id == "4.png"
    with pytest.raises(OSError, match=r"3\.png"):
        dataclasses.replace(dataset, skip_bad=False).get_or_none(3)


@pytest.mark.filterwarnings("ignore:another image")
def test_where_no_image_can_be_used_the_folder_is_asked_for(store, tmp_path):
    lost = LabelStore.open(store.path, image_root=tmp_path / "elsewhere")
    dataset = StoreDataset(lost, TrainTransform(64), TASKS, skip_bad=True)
    with pytest.raises(OSError, match=r"in a row could not be used: is its image folder .*elsewhe"):
        dataset.get(0, 0)


def sample(size_hw, objects=1, original=None, semantic=True) -> Sample:
    label_hw = original or size_hw
    targets = Targets(
        boxes=torch.ones(objects, 4),
        box_labels=torch.zeros(objects, dtype=torch.int64),
        masks=torch.ones(objects, *label_hw, dtype=torch.bool),
        semantic=torch.ones(label_hw, dtype=torch.uint8) if semantic else None,
    )
    return Sample(torch.full((3, *size_hw), 2.0), targets, size_hw, original, f"{size_hw}")


def test_a_batch_is_padded_right_and_bottom_to_multiples_of_32():
    batch = collate([sample((40, 60)), sample((33, 20), objects=0)], "made")
    assert batch.images.shape == (2, 3, 64, 64)
    assert batch.image_sizes_hw == ((40, 60), (33, 20))
    assert batch.source == "made"
    assert batch.image_ids == ("(40, 60)", "(33, 20)")
    assert batch.original_sizes_hw is None
    for image, target, (h, w) in zip(
        batch.images, batch.targets, batch.image_sizes_hw, strict=True
    ):
        assert (image[:, :h, :w] == 2).all()
        assert image.sum() == 2 * 3 * h * w
        assert target.semantic.shape == (64, 64)
        assert (target.semantic[:h, :w] == 1).all()
        assert (target.semantic == 255).sum() == 64 * 64 - h * w
        assert target.masks.shape[1:] == (64, 64)
        assert target.masks.sum() == len(target.boxes) * h * w
        assert target.masks[:, :h, :w].all()


def test_a_batch_is_at_least_as_large_as_asked():
    assert collate([sample((40, 60))], "made", 100).images.shape == (1, 3, 128, 128)
    assert collate([sample((40, 200))], "made", 100).images.shape == (1, 3, 128, 224)


def test_label_maps_of_the_reference_are_smaller_than_the_canvas():
    samples = [sample((40, 60)), sample((33, 20))]
    batch = collate(samples, "made", 128, reference_label_padding=True)
    assert batch.images.shape == (2, 3, 128, 128)
    assert all(target.semantic.shape == (64, 64) for target in batch.targets)
    assert all(target.masks.shape[1:] == (128, 128) for target in batch.targets)
    assert (batch.targets[0].semantic == 255).sum() == 64 * 64 - 40 * 60


def test_labels_of_evaluation_are_not_padded():
    batch = collate([sample((40, 60), original=(400, 600))], "made")
    assert batch.images.shape == (1, 3, 64, 64)
    assert batch.original_sizes_hw == ((400, 600),)
    assert batch.targets[0].semantic.shape == (400, 600)
    assert batch.targets[0].masks.shape == (1, 400, 600)


def test_none_stays_none_in_a_batch():
    target = collate([sample((40, 60), semantic=False)], "made").targets[0]
    assert target.semantic is target.rboxes is target.scene_class is None


def test_batches_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="at least one sample"):
        collate([], "made")
    with pytest.raises(ValueError, match="do not go into one batch"):
        collate([sample((40, 60)), sample((40, 60), original=(80, 120))], "made")


def test_stored_numbers_are_not_changed_by_views(store):
    before = store[0]
    dataset = StoreDataset(store, TrainTransform(64), TASKS)
    for epoch in range(5):
        dataset.get(epoch, 0)
    assert np.array_equal(store[0].boxes, before.boxes)
    assert np.array_equal(store[0].rboxes, before.rboxes)
