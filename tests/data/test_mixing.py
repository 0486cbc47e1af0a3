"""What each step reads, and the loaders of several sources."""

from __future__ import annotations

import dataclasses
import os
import pickle
import signal
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import StepSampler, batch_shares, train_loader, validation_loader
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform
from geomtp.types import TASKS
from tests.data.stores import make_store

SIZES = {"sota": 7, "sior": 5, "fast": 23}
SHARES = {"sota": 2, "sior": 1, "fast": 3}


def test_shares_of_the_paper():
    sizes = {"sota": 17480, "sior": 11725, "fast": 64147}
    assert batch_shares(sizes, 3, "avg") == {"sota": 1, "sior": 1, "fast": 1}
    assert batch_shares(sizes, 11, "avg") == {"sota": 3, "sior": 3, "fast": 3}
    # 12 · n / 93352 = 2.247, 1.507, 8.246
    assert batch_shares(sizes, 12, "ratio") == {"sota": 2, "sior": 2, "fast": 8}
    assert batch_shares(sizes, 3, "ratio") == {"sota": 1, "sior": 1, "fast": 1}
    assert batch_shares(sizes, 5, "ratio") == {"sota": 1, "sior": 1, "fast": 3}


def test_shares_by_weight():
    sizes = {"a": 10, "b": 1000}
    assert batch_shares(sizes, 8, "weights", {"b": 1.0, "a": 3.0}) == {"a": 6, "b": 2}
    assert batch_shares(sizes, 8, "weights", {"a": 1e-6, "b": 1.0}) == {"a": 1, "b": 7}


@given(
    parts=st.lists(st.integers(1, 10**6), min_size=1, max_size=9),
    spare=st.integers(0, 200),
)
@settings(max_examples=200, deadline=None)
def test_shares_add_up_and_follow_the_sizes(parts, spare):
    sizes = {f"s{i}": part for i, part in enumerate(parts)}
    total = len(parts) + spare
    shares = batch_shares(sizes, total, "ratio")
    assert sum(shares.values()) == total
    assert min(shares.values()) >= 1
    for a in sizes:
        assert shares[a] == 1 or shares[a] < total * sizes[a] / sum(parts) + 1
        for b in sizes:
            assert sizes[a] <= sizes[b] or shares[a] >= shares[b]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((SIZES, 2, "avg"), "a batch of 2 cannot hold an image of each of 3 sources"),
        ((SIZES, 2, "ratio"), "take a batch size of 3 or more"),
        ((SIZES, 6, "even"), "unknown mixing 'even'; known: avg, ratio, weights"),
        ((SIZES, 6, "weights"), "weights are given with the mixing 'weights'"),
        ((SIZES, 6, "avg", {"sota": 1}), "weights are given with the mixing 'weights'"),
        ((SIZES, 6, "weights", {"sota": 1.0}), "must give each source"),
        ((SIZES, 6, "weights", {"sota": 1, "sior": 0, "fast": 1}), "a positive number"),
        (({}, 6, "avg"), "no sources"),
        (({"sota": 3, "sior": 0}, 6, "avg"), "hold no images: sior"),
    ],
)
def test_shares_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        batch_shares(*arguments)


def drawn(sampler: StepSampler, source: str) -> list[int]:
    return [index for keys in sampler for name, _, index in keys if name == source]


def test_every_source_is_walked_through_without_a_rest():
    sampler = StepSampler(SIZES, SHARES, steps=35, seed=1)
    assert len(sampler) == 35
    steps = list(sampler)
    for keys in steps:
        assert Counter(source for source, _, _ in keys) == SHARES
    for source, size in SIZES.items():
        walk = [(e, i) for keys in steps for name, e, i in keys if name == source]
        assert [epoch for epoch, _ in walk] == [p // size for p in range(len(walk))]
        whole = len(walk) // size
        assert whole >= 2
        for epoch in range(whole):
            order = [index for e, index in walk if e == epoch]
            assert sorted(order) == list(range(size))
        orders = [tuple(i for e, i in walk if e == epoch) for epoch in range(whole)]
        assert len(set(orders)) == whole


@given(
    world=st.integers(1, 5),
    start=st.integers(0, 40),
    shares=st.tuples(*[st.integers(1, 9)] * 3),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_ranks_share_what_one_process_would_read_and_resume_anywhere(world, start, shares, seed):
    per_rank = dict(zip(SIZES, shares, strict=True))
    alone = StepSampler(SIZES, {s: n * world for s, n in per_rank.items()}, 40, seed=seed)
    ranks = [
        list(StepSampler(SIZES, per_rank, 40, start, seed, rank, world)) for rank in range(world)
    ]
    for offset, keys in enumerate(list(alone)[start:]):
        for source in SIZES:
            parts = [[k for k in rank[offset] if k[0] == source] for rank in ranks]
            assert [k for part in parts for k in part] == [k for k in keys if k[0] == source]
    assert all(len(rank) == 40 - start for rank in ranks)


def test_the_length_is_of_all_steps_also_after_resuming():
    sampler = StepSampler(SIZES, SHARES, 100, start_step=60)
    assert len(sampler) == 100
    assert len(list(sampler)) == 40
    assert list(sampler) == list(sampler)


def test_orders_differ_by_seed_and_by_source():
    same_size = {"a": 50, "b": 50}
    ones = {"a": 1, "b": 1}
    sampler = StepSampler(same_size, ones, 50, seed=0)
    assert drawn(sampler, "a") != drawn(sampler, "b")
    assert drawn(sampler, "a") != drawn(StepSampler(same_size, ones, 50, seed=1), "a")
    assert drawn(sampler, "a") == drawn(StepSampler({"a": 50}, {"a": 1}, 50, seed=0), "a")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"shares": {"sota": 1}}, "must name the same sources"),
        ({"shares": {**SHARES, "sior": 0}}, "at least one image a step: sior"),
        ({"sizes": {**SIZES, "fast": 0}}, "hold no images: fast"),
        ({"rank": 2, "world": 2}, r"rank must lie in 0…1, got 2"),
    ],
)
def test_samplers_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        StepSampler(**({"sizes": SIZES, "shares": SHARES, "steps": 3} | changes))


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return {
        "sota": make_store(folder / "sota", ((80, 100),) * 3, source="sota"),
        "sior": make_store(folder / "sior", ((60, 60),) * 5, objects=0, seed=1, source="sior"),
        "fast": make_store(
            folder / "fast",
            ((70, 50),) * 2,
            seed=2,
            source="fast",
            change=lambda row: dataclasses.replace(row, rboxes=None, rbox_labels=None),
        ),
    }


def mixed(stores, **settings):
    return {
        name: StoreDataset(store, TrainTransform(64), TASKS, **settings)
        for name, store in stores.items()
    }


def loader(stores, workers, start_step=0, steps=4):
    datasets = mixed(stores)
    sizes = {name: len(dataset) for name, dataset in datasets.items()}
    sampler = StepSampler(sizes, {"sota": 2, "sior": 1, "fast": 1}, steps, start_step)
    return train_loader(datasets, sampler, size_px=64, workers=workers)


def assert_same_batches(one, other):
    assert one.keys() == other.keys()
    for source, batch in one.items():
        twin = other[source]
        assert torch.equal(batch.images, twin.images)
        assert batch.image_ids == twin.image_ids
        assert batch.image_sizes_hw == twin.image_sizes_hw
        for target, twin_target in zip(batch.targets, twin.targets, strict=True):
            for field in dataclasses.fields(target):
                a, b = getattr(target, field.name), getattr(twin_target, field.name)
                assert (a is None) == (b is None), field.name
                assert a is None or torch.equal(a, b), field.name


def test_batches_do_not_depend_on_the_workers(stores):
    alone = list(loader(stores, workers=0))
    assert len(alone) == 4
    several = loader(stores, workers=2)
    for one, other in zip(alone, several, strict=True):
        assert_same_batches(one, other)
    for one, other in zip(alone, several, strict=True):  # the workers persist
        assert_same_batches(one, other)


def test_what_travels_to_workers_is_small(stores):
    batches = loader(stores, workers=0)
    text = pickle.dumps((batches.dataset, batches.collate_fn, batches.worker_init_fn))
    assert len(text) < 3000
    dataset, collect, _ = pickle.loads(text)
    step = next(iter(batches.batch_sampler))
    assert_same_batches(collect([dataset[key] for key in step]), next(iter(batches)))


def test_resuming_is_starting_at_a_later_step(stores):
    whole, rest = list(loader(stores, 0)), list(loader(stores, 0, start_step=2))
    assert len(rest) == 2
    for one, other in zip(whole[2:], rest, strict=True):
        assert_same_batches(one, other)


def test_empty_and_unlabelled_images_travel(stores):
    step = next(iter(loader(stores, workers=0)))
    assert list(step) == ["sota", "sior", "fast"]
    assert step["sota"].images.shape == (2, 3, 64, 64)
    (empty,) = step["sior"].targets
    assert empty.boxes.shape == (0, 4)
    assert empty.masks.shape == (0, 64, 64)
    assert empty.rboxes.shape == (0, 5)
    height, width = step["sior"].image_sizes_hw[0]
    assert (empty.semantic[:height, :width] == 0).all()
    (unlabelled,) = step["fast"].targets
    assert unlabelled.rboxes is None
    assert unlabelled.rbox_labels is None
    assert len(unlabelled.boxes) == 6


def test_a_sampler_for_other_data_is_refused(stores):
    with pytest.raises(ValueError, match="the sampler was made for"):
        train_loader(mixed(stores), StepSampler(SIZES, SHARES, 3), size_px=64, workers=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unusable_image_ends_the_loading_in_one_sentence(workers, stores, tmp_path):
    from geomtp.labels import LabelStore

    store = LabelStore.open(stores["sota"].path, image_root=tmp_path)
    datasets = {"sota": StoreDataset(store, TrainTransform(64), TASKS)}
    sampler = StepSampler({"sota": 3}, {"sota": 1}, 3)
    with pytest.raises(FileNotFoundError, match=r"\A[^\n]*\.png does not exist[^\n]*\Z"):
        list(train_loader(datasets, sampler, size_px=64, workers=workers))


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_validation_shows_each_image_once(world, stores):
    dataset = StoreDataset(stores["sior"], EvalTransform(), TASKS)
    ids = []
    for rank in range(world):
        share = list(validation_loader(dataset, "sior", batch_size=2, rank=rank, world=world))
        assert len(share) == -(-len(range(rank, 5, world)) // 2)
        for batch in share:
            assert batch.source == "sior"
            assert batch.original_sizes_hw == ((60, 60),) * len(batch.targets)
            ids += batch.image_ids
    assert sorted(ids) == [f"{i}.png" for i in range(5)]


def test_a_limit_takes_images_evenly(stores, tmp_path):
    def ids(limit, world=1):
        dataset = StoreDataset(stores["sior"], EvalTransform(), ())
        return [
            batch.image_ids[0]
            for rank in range(world)
            for batch in validation_loader(dataset, "sior", limit=limit, rank=rank, world=world)
        ]

    assert ids(1) == ["2.png"]
    assert ids(2) == ["1.png", "3.png"]
    assert sorted(ids(3, world=2)) == ["0.png", "2.png", "4.png"]
    assert len(set(ids(50))) == 5
    with pytest.raises(ValueError, match="must be positive"):
        ids(0)


@pytest.mark.filterwarnings("ignore:left out")
def test_validation_leaves_out_what_it_may(stores, tmp_path):
    import shutil

    from geomtp.labels import LabelStore

    root = shutil.copytree(stores["sior"].image_root, tmp_path / "images")
    (root / "1.png").write_bytes(b"nothing")
    store = LabelStore.open(stores["sior"].path, image_root=root)
    dataset = StoreDataset(store, EvalTransform(), TASKS, skip_bad=True)
    batches = list(validation_loader(dataset, "sior", batch_size=1))
    assert [batch.image_ids[0] for batch in batches] == ["0.png", "2.png", "3.png", "4.png"]
    with pytest.raises(OSError, match=r"1\.png"):
        list(validation_loader(dataclasses.replace(dataset, skip_bad=False), "sior"))


def test_workers_keep_to_one_thread_and_leave_ctrl_c_to_the_main_process(stores):
    batches = loader(stores, workers=1, steps=6)
    walk = iter(batches)
    next(walk)
    (worker,) = batches._iterator._workers
    os.kill(worker.pid, signal.SIGINT)
    assert len(list(walk)) == 5
    assert worker.is_alive()
