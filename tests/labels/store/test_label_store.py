import dataclasses
import json
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest

from geomtp.labels import ImageLabels, LabelStore, StoreInfo, StoreWriter, write_store
from geomtp.types import ClassMap
from tests.labels.layouts import info

FULL = ImageLabels(
    image="x/a.png",
    size_hw=(50, 70),
    split="val",
    boxes=np.array([[1, 2, 3, 4], [0.1, 5, 60, 45.5]], np.float32),
    box_labels=np.array([1, 0]),
    rles=(b"62d0", bytes(range(48, 112))),
    rboxes=np.array([[10.5, 20, 5, 3, -0.25]], np.float32),
    rbox_labels=np.array([1]),
    semantic="x/a_map.png",
    scene_class=1,
    scores=np.array([0.5, 0.875], np.float32),
    flags=((), ("spill_cut", "holes")),
    prompts=("rh", ""),
    coverage=np.array([0.25, 1], np.float32),
    raw_rles=(b"62d0", b""),
    image_after="later/a.png",
    change="x/a_change.png",
)
UNLABELLED = ImageLabels("b.png", (10, 20))
EMPTY = ImageLabels(
    "c.png",
    (10, 20),
    boxes=np.zeros((0, 4), np.float32),
    box_labels=np.zeros(0, np.int64),
    rles=(),
    rboxes=np.zeros((0, 5), np.float32),
    rbox_labels=np.zeros(0, np.int64),
    scores=np.zeros(0, np.float32),
    flags=(),
    prompts=(),
    coverage=np.zeros(0, np.float32),
    raw_rles=(),
)


def assert_same(have, want):
    for name in ImageLabels.__dataclass_fields__:
        left, right = getattr(have, name), getattr(want, name)
        if isinstance(right, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right, name


def test_rows_come_back_with_none_and_empty_kept_apart(tmp_path):
    store = write_store(tmp_path / "store", [FULL, UNLABELLED, EMPTY], info(tmp_path))
    for have, want in zip(store, [FULL, UNLABELLED, EMPTY], strict=True):
        assert_same(have, want)
    assert_same(store[-1], EMPTY)
    assert store[1].boxes is None
    assert store[2].boxes.shape == (0, 4)
    assert store[2].rboxes.shape == (0, 5)
    with pytest.raises(IndexError):
        store[3]


@pytest.mark.parametrize("version", [1, 2])
def test_stores_of_earlier_versions_still_open(tmp_path, version):
    later = [
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("flags", pa.list_(pa.list_(pa.string()))),
        pa.field("prompts", pa.list_(pa.string())),
        pa.field("coverage", pa.list_(pa.float32())),
        pa.field("raw_rles", pa.list_(pa.binary())),
    ]
    old = pa.schema(
        [
            pa.field("image", pa.string(), nullable=False),
            pa.field("height", pa.int32(), nullable=False),
            pa.field("width", pa.int32(), nullable=False),
            pa.field("split", pa.int8(), nullable=False),
            pa.field("boxes", pa.list_(pa.list_(pa.float32(), 4))),
            pa.field("box_labels", pa.list_(pa.int64())),
            pa.field("rles", pa.list_(pa.binary())),
            pa.field("rboxes", pa.list_(pa.list_(pa.float32(), 5))),
            pa.field("rbox_labels", pa.list_(pa.int64())),
            pa.field("semantic", pa.string()),
            pa.field("scene_class", pa.int32()),
            *(later if version == 2 else ()),
        ]
    )
    row = {
        "image": "a.png", "height": 5, "width": 7, "split": 1, "boxes": [[1, 2, 3, 4]],
        "box_labels": [1], "rles": [b"62d0"], "rboxes": None, "rbox_labels": None,
        "semantic": None, "scene_class": 3,
    }  # fmt: skip
    store = write_store(tmp_path / "store", [FULL], info(tmp_path))
    file = tmp_path / "store/store.json"
    about = json.loads(file.read_text())
    with pa.ipc.new_file(str(tmp_path / "store" / about["labels"]), old) as labels:
        labels.write_batch(pa.RecordBatch.from_pylist([row], schema=old))
    file.write_text(json.dumps(about | {"version": version}))
    store = LabelStore.open(tmp_path / "store")
    want = ImageLabels(
        "a.png", (5, 7), "val", boxes=np.array([[1, 2, 3, 4]], np.float32),
        box_labels=np.array([1]), rles=(b"62d0",), scene_class=3,
    )  # fmt: skip
    assert_same(store[0], want)
    assert len(store.subset("val")) == 1


def test_what_the_values_of_maps_mean_is_kept(tmp_path):
    about = dataclasses.replace(
        info(tmp_path), semantic_values={0: 0, 7: 1, 255: 255}, change_values={0: 0, 255: 1}
    )
    store = write_store(tmp_path / "store", [FULL], about)
    assert store.info == about
    assert write_store(tmp_path / "plain", [FULL], info(tmp_path)).info.change_values is None


def test_chosen_rows_in_the_order_asked_for(tmp_path):
    store = write_store(tmp_path / "store", many(9), info(tmp_path))
    train = store.subset("train")
    chosen = train.rows([2, 0])
    assert [row.image for row in chosen] == [train[2].image, train[0].image]
    again = pickle.loads(pickle.dumps(chosen))
    assert [row.image for row in again] == [row.image for row in chosen]
    assert [row.image for row in again.rows([1])] == [train[0].image]


@pytest.mark.parametrize("name", ["scores", "flags", "prompts", "coverage", "raw_rles"])
def test_columns_on_the_masks_have_an_entry_per_box(name):
    with pytest.raises(ValueError, match=rf"1 {name} but 2 labels"):
        ImageLabels("a.png", (5, 7), box_labels=np.array([1, 0]), **{name: [0.5]})


def test_arrays_belong_to_the_caller(tmp_path):
    store = write_store(tmp_path / "store", [FULL], info(tmp_path))
    row = store[0]
    row.boxes[:] = 0
    row.box_labels[:] = 0
    assert_same(store[0], FULL)


def many(count):
    splits = ("train", "val", "test")
    for i in range(count):
        boxes = np.full((i % 4, 4), i, np.float32)
        yield ImageLabels(
            f"{i}.png", (9, 9), splits[i % 3], boxes=boxes, box_labels=np.zeros(i % 4, np.int64)
        )


def test_many_rows_over_several_batches_and_their_subsets(tmp_path):
    store = write_store(tmp_path / "store", many(1300), info(tmp_path))
    assert len(store) == 1300
    for i in (0, 511, 512, 1023, 1024, 1299):
        assert store[i].image == f"{i}.png"
        assert store[i].boxes.tolist() == [[i] * 4] * (i % 4)
    val = store.subset("val")
    assert (val.split, len(val)) == ("val", 433)
    assert [val[i].image for i in (0, 1, 432)] == ["1.png", "4.png", "1297.png"]
    assert val.subset("val").split == "val"
    with pytest.raises(ValueError, match="has no 'train'"):
        val.subset("train")
    with pytest.raises(ValueError, match="unknown split 'dev'; known: train, val, test"):
        store.subset("dev")


def test_a_pickled_store_is_small_and_reopens(tmp_path):
    part = write_store(tmp_path / "store", many(10_000), info(tmp_path)).subset("val")
    content = pickle.dumps(part)
    assert len(content) < 2000
    again = pickle.loads(content)
    assert (len(again), again.split) == (3333, "val")
    assert_same(again[7], part[7])


def test_labels_are_memory_mapped(tmp_path):
    store = write_store(tmp_path / "store", many(20), info(tmp_path))
    labels = next((tmp_path / "store").glob("labels-*.arrow"))
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("this system does not list its memory maps")
    assert str(labels) in maps.read_text()
    assert len(store) == 20


def test_what_the_store_says_of_all_images(tmp_path):
    about = StoreInfo(
        "rivers",
        ClassMap(("ship", "Brücke"), ((1, 2, 3), (4, 5, 6))),
        tmp_path / "images",
        (1.5, 2.5, 3.5, 4.5),
        (1.0, 2.0, 3.0, 4.0),
        0.25,
        "CC BY 4.0",
    )
    store = write_store(tmp_path / "store", [], about)
    assert (store.info, len(store)) == (about, 0)
    assert (store.source, store.gsd_m, store.licence) == ("rivers", 0.25, "CC BY 4.0")
    assert (store.mean, store.std) == (about.mean, about.std)
    assert (store.classes, store.image_root) == (about.classes, tmp_path / "images")
    assert json.loads((tmp_path / "store/store.json").read_text("utf-8"))["version"] == 3
    moved = LabelStore.open(tmp_path / "store", image_root="elsewhere")
    assert moved.image_root == Path("elsewhere")
    assert moved.subset("train").image_root == Path("elsewhere")
    assert repr(store) == "LabelStore(rivers: 0 images, 2 classes)"


def test_images_inside_the_store_move_with_it(tmp_path):
    write_store(tmp_path / "store", [], info(tmp_path / "store/images"))
    (tmp_path / "store").rename(tmp_path / "moved")
    assert LabelStore.open(tmp_path / "moved").image_root == tmp_path / "moved/images"


def failing(rows):
    yield from rows
    raise RuntimeError("the segmenter failed")


def test_a_failed_write_leaves_what_was_there(tmp_path):
    with pytest.raises(RuntimeError):
        write_store(tmp_path / "store", failing(many(600)), info(tmp_path))
    assert not (tmp_path / "store").exists()
    write_store(tmp_path / "store", many(3), info(tmp_path))
    before = sorted(path.name for path in (tmp_path / "store").iterdir())
    with pytest.raises(RuntimeError):
        write_store(tmp_path / "store", failing(many(600)), info(tmp_path))
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == before
    assert len(LabelStore.open(tmp_path / "store")) == 3


@pytest.mark.parametrize("step", ["labels", "json"])
def test_a_failed_commit_leaves_what_was_there(tmp_path, monkeypatch, step):
    write_store(tmp_path / "store", many(3), info(tmp_path))
    replace = os.replace

    def fail(source, target):
        if (step == "json") == str(target).endswith("store.json"):
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_store(tmp_path / "store", many(9), info(tmp_path))
    assert len(LabelStore.open(tmp_path / "store")) == 3
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_overwriting_keeps_other_files_and_open_stores(tmp_path):
    old = write_store(tmp_path / "store", many(3), info(tmp_path))
    (tmp_path / "store/notes.txt").write_text("mine")
    write_store(tmp_path / "store", many(5), info(tmp_path))
    assert len(LabelStore.open(tmp_path / "store")) == 5
    assert old[2].image == "2.png"
    assert len(list((tmp_path / "store").iterdir())) == 3


def test_a_killed_writer_leaves_no_half_store(tmp_path):
    program = f"""
        import os
        from tests.labels.layouts import info
        from tests.labels.store.test_label_store import many
        from geomtp.labels import StoreWriter
        with StoreWriter({str(tmp_path / "store")!r}, info({str(tmp_path)!r})) as writer:
            for row in many(600):
                writer.add(row)
            os._exit(9)
    """
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=root, check=False)
    assert done.returncode == 9
    with pytest.raises(FileNotFoundError, match="holds no label store"):
        LabelStore.open(tmp_path / "store")
    assert len(write_store(tmp_path / "store", many(5), info(tmp_path))) == 5


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ImageLabels("../a.png", (1, 1)), "below the image folder"),
        (ImageLabels("/a.png", (1, 1)), "below the image folder"),
        (ImageLabels("a.png", (1, 1), semantic="../m.png"), "below the image folder"),
        (ImageLabels("a\\b.png", (1, 1)), "forward slashes"),
        (ImageLabels("a", (1, 1), boxes=np.zeros((1, 4)), box_labels=np.array([2])), "in 0…1"),
        (ImageLabels("a", (1, 1), rboxes=np.zeros((1, 5)), rbox_labels=np.array([-1])), "in 0…1"),
        (
            ImageLabels("a", (1, 1), boxes=np.full((1, 4), np.nan), box_labels=np.array([1])),
            "boxes must be finite",
        ),
    ],
)
def test_rows_that_no_store_may_hold(tmp_path, row, complaint):
    with (
        pytest.raises(ValueError, match=complaint),
        StoreWriter(tmp_path / "store", info(tmp_path)) as writer,
    ):
        writer.add(row)
    assert not (tmp_path / "store").exists()


def test_opening_what_is_no_store(tmp_path):
    with pytest.raises(FileNotFoundError, match="`geomtp labels` or `geomtp data prepare`"):
        LabelStore.open(tmp_path / "none")
    write_store(tmp_path / "store", many(3), info(tmp_path))
    file = tmp_path / "store/store.json"
    good = json.loads(file.read_text())

    def open_with(content):
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        LabelStore.open(tmp_path / "store")

    for wrong in ("{", "[]", good | {"format": "other"}, good | {"labels": "../x"}):
        with pytest.raises(OSError, match="is damaged"):
            open_with(wrong)
    for missing in ("classes", "mean", "labels"):
        with pytest.raises(OSError, match="is damaged"):
            open_with({name: value for name, value in good.items() if name != missing})
    with pytest.raises(ValueError, match="has version 4, this program reads 1, 2, 3"):
        open_with(good | {"version": 4})
    with pytest.raises(OSError, match="is missing or damaged"):
        open_with(good | {"labels": "labels-0.arrow"})
    labels = tmp_path / "store" / good["labels"]
    content = labels.read_bytes()
    for part in (0, 10, len(content) // 2, len(content) - 3):
        labels.write_bytes(content[:part])
        with pytest.raises(OSError, match="is missing or damaged"):
            open_with(good)


@pytest.mark.parametrize(
    ("mean", "std"), [((1.0,), (1.0, 2.0)), ((), ()), ((1.0,), (0.0,)), ((1.0,), (float("nan"),))]
)
def test_mean_and_std_must_fit(tmp_path, mean, std):
    with pytest.raises(ValueError):
        StoreInfo("a", ClassMap(("a",)), tmp_path, mean, std)
