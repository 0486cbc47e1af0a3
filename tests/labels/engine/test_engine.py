import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geomtp.labels import (
    GenerateLabels,
    LabelStore,
    Segmenter,
    build_store,
    classes_in,
    generate,
    read_annotations,
)
from geomtp.labels.engine import label_shards
from geomtp.labels.engine.plan import make_plan, shard_file
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.segmenters.segmenter import SEGMENTERS, BoxSegmenter
from tests.labels import tiny_sam
from tests.labels.layouts import info
from tests.labels.scenes import draw_scenes
from tests.labels.store.test_label_store import assert_same

ROOT = Path(__file__).parents[3]


@pytest.fixture
def scenes(tmp_path):
    draw_scenes(tmp_path)
    return tmp_path


def config_of(folder, out="store", **changes):
    known = {"images_per_shard": 3, "report": False, "mean": (0.0,) * 3, "std": (1.0,) * 3}
    return GenerateLabels(
        folder / "images", folder / "labels", "dota", folder / out, **{**known, **changes}
    )


def silent(_):
    pass


def assert_same_stores(have, want):
    assert dataclasses.replace(have.info, image_root=want.image_root) == want.info
    assert len(have) == len(want)
    for left, right in zip(have, want, strict=True):
        assert_same(left, right)


def test_a_store_is_what_the_library_call_makes(scenes):
    said = []
    result = generate(config_of(scenes, source="made"), said.append)
    annotations, notes = read_annotations("dota", scenes / "images", scenes / "labels")
    about = dataclasses.replace(
        info(scenes / "images"), source="made", classes=classes_in(annotations)
    )
    assert result.store.classes.names == ("plane", "ship", "storage tank")
    splits = [row.split for row in result.store]
    by_name = dict(zip((item.image for item in annotations), splits, strict=True))
    want, report = build_store(
        annotations, BoxSegmenter(), about, scenes / "want", notes, split_of=by_name.__getitem__
    )
    plain = [dataclasses.replace(row, scores=None, prompts=None) for row in result.store]
    for have, row in zip(plain, want, strict=True):
        assert_same(have, row)
    assert result.store[1].scores.tolist() == [1.0] * len(want[1].boxes)
    assert splits.count("val") == 1
    assert result.report == report
    assert (result.bad, result.labelled) == ((), 10)
    assert any(line.startswith("labels  10 of 10 images, ") for line in said)
    assert not (scenes / "store/shards").exists()


def test_a_finished_run_is_not_done_again(scenes):
    first = generate(config_of(scenes), silent).store
    labels = next((scenes / "store").glob("labels-*.arrow"))
    said = []
    again = generate(config_of(scenes, processes=3), said.append)
    assert said == [f"{scenes / 'store'} is finished: nothing to do"]
    assert (again.labelled, len(again.store)) == (0, len(first))
    assert labels.is_file()


class _Failing(BoxSegmenter):
    """Fails at the n-th image, as a kill would."""

    def __init__(self, images):
        self.images = images

    def segment(self, image, annotations):
        if self.images == 0:
            raise RuntimeError("killed")
        self.images -= 1
        return super().segment(image, annotations)


@pytest.mark.parametrize("until", [0, 2, 5, 9])
def test_an_interrupted_run_goes_on_where_it_was(scenes, monkeypatch, until):
    want = generate(config_of(scenes, "want", source="a"), silent).store
    monkeypatch.setitem(SEGMENTERS, "box", _Failing(until))
    with pytest.raises(RuntimeError):
        generate(config_of(scenes, source="a"), silent)
    with pytest.raises(FileNotFoundError):
        LabelStore.open(scenes / "store")
    monkeypatch.undo()
    result = generate(config_of(scenes, source="a", processes=1), silent)
    assert result.labelled == 10 - until // 3 * 3  # whole shards of three are not done again
    assert_same_stores(result.store, want)


def test_a_damaged_shard_is_labelled_anew(scenes, monkeypatch):
    want = generate(config_of(scenes, "want", source="a"), silent).store
    monkeypatch.setitem(SEGMENTERS, "box", _Failing(9))
    with pytest.raises(RuntimeError):
        generate(config_of(scenes, source="a"), silent)
    monkeypatch.undo()
    file = shard_file(scenes / "store", 1)
    file.write_bytes(file.read_bytes()[:-20])
    result = generate(config_of(scenes, source="a"), silent)
    assert result.labelled == 4
    assert_same_stores(result.store, want)


def test_ranks_of_a_launcher_share_the_work(scenes, monkeypatch):
    want = generate(config_of(scenes, "want", source="a"), silent).store
    config = config_of(scenes, source="a")
    make_plan(config)
    for rank, shards in ((1, (1,)), (2, (2,)), (0, (0, 3))):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        result = generate(config, silent)
        assert result.labelled == {1: 3, 2: 3, 0: 4}[rank]
        assert (result.store is None) == (rank != 0)
        assert rank == 0 or all(shard_file(config.out, number).is_file() for number in shards)
    assert_same_stores(result.store, want)
    monkeypatch.setenv("RANK", "3")
    with pytest.raises(ValueError, match="RANK=3 and WORLD_SIZE=3 name no process"):
        generate(config, silent)


def test_slurm_names_the_processes_too(scenes, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "1")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    config = config_of(scenes)
    make_plan(config)
    assert generate(config, silent).labelled == 4  # shards 1 and 3, the last with one image


@pytest.mark.slow
def test_one_and_four_processes_make_the_same_store(scenes):
    one = generate(config_of(scenes, "one", source="a", processes=1), silent)
    four = generate(config_of(scenes, "four", source="a", processes=4), silent)
    assert four.labelled == 10
    assert_same_stores(four.store, one.store)
    assert four.report == one.report


SLOW_PROGRAM = """
    import sys, time
    from pathlib import Path
    from geomtp.labels import GenerateLabels, generate
    from geomtp.labels.segmenters.segmenter import SEGMENTERS, BoxSegmenter

    class Slow(BoxSegmenter):
        def segment(self, image, annotations):
            time.sleep(0.3)
            return super().segment(image, annotations)

    SEGMENTERS["box"] = Slow()
    folder = Path(sys.argv[1])
    if __name__ == "__main__":
        generate(GenerateLabels(
            folder / "images", folder / "labels", "dota", folder / "store", images_per_shard=3,
            report=False, mean=(0.0,) * 3, std=(1.0,) * 3, source="a", processes=int(sys.argv[2]),
        ))
"""


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_process_loses_no_image(scenes, processes):
    want = generate(config_of(scenes, "want", source="a"), silent).store
    program = scenes / "program.py"
    program.write_text(textwrap.dedent(SLOW_PROGRAM))
    running = subprocess.Popen(
        [sys.executable, str(program), str(scenes), str(processes)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    first = shard_file(scenes / "store", 0)
    end = time.monotonic() + 100
    while not first.exists() and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.2)  # into the middle of the next one
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    assert first.exists()
    assert not shard_file(scenes / "store", 3).exists()
    time.sleep(1.5)  # local processes notice that the first is gone
    result = generate(config_of(scenes, source="a", processes=2), silent)
    assert 4 <= result.labelled <= 7
    assert_same_stores(result.store, want)
    assert not list((scenes / "store").rglob("*.part*"))


def test_changed_settings_are_refused(scenes, monkeypatch):
    monkeypatch.setitem(SEGMENTERS, "box", _Failing(4))
    with pytest.raises(RuntimeError):
        generate(config_of(scenes), silent)
    monkeypatch.undo()
    with pytest.raises(ValueError) as raised:
        generate(config_of(scenes, segmenter="polygon", licence="mine"), silent)
    assert str(raised.value) == (
        f"{scenes / 'store'} was begun with other settings: licence (was '', now 'mine'), "
        f"segmenter (was 'box', now 'polygon'); repeat the old ones to go on, "
        f"or give another folder"
    )
    (scenes / "labels/00.txt").write_text("1 1 9 1 9 9 1 9 ship 0")
    with pytest.raises(ValueError, match=r"other settings: content of the annotations \(was"):
        generate(config_of(scenes), silent)


def test_a_store_among_the_annotations_is_no_change_of_them(scenes, monkeypatch):
    monkeypatch.setitem(SEGMENTERS, "box", _Failing(4))
    with pytest.raises(RuntimeError):
        generate(config_of(scenes, "labels/store"), silent)
    monkeypatch.undo()
    assert generate(config_of(scenes, "labels/store"), silent).labelled == 7


def test_a_run_that_has_labelled_nothing_takes_other_settings(scenes):
    with pytest.raises(ValueError, match="unknown segmenter 'sammy'"):
        generate(config_of(scenes, segmenter="sammy"), silent)
    assert len(generate(config_of(scenes), silent).store) == 10


def test_a_store_made_otherwise_is_never_overwritten(scenes):
    annotations, notes = read_annotations("dota", scenes / "images", scenes / "labels")
    about = info(scenes / "images", *classes_in(annotations).names)
    build_store(annotations, None, about, scenes / "store", notes)
    with pytest.raises(ValueError, match="already holds a label store that came about otherwise"):
        generate(config_of(scenes), silent)
    assert LabelStore.open(scenes / "store")[0].rles is None


def test_images_that_cannot_be_read_are_listed_and_tried_again(scenes):
    good = (scenes / "images/04.png").read_bytes()
    (scenes / "images/04.png").write_bytes(good[: len(good) // 2])
    (scenes / "images/07.png").write_bytes(b"no picture")
    result = generate(config_of(scenes), silent)
    assert [image for image, _ in result.bad] == [
        "07.png",
        "04.png",
    ]  # one when annotations are read
    assert "04.png" in result.bad[1][1]
    assert len(result.store) == 8
    assert result.report.count("damaged image") == 1
    (scenes / "images/04.png").write_bytes(good)
    result = generate(config_of(scenes), silent)
    assert ([image for image, _ in result.bad], result.labelled) == (["07.png"], 3)
    assert [row.image for row in result.store][4] == "04.png"
    result = generate(config_of(scenes, skip_bad=True), silent)
    assert (len(result.bad), result.labelled) == (1, 0)
    assert not (scenes / "store/shards").exists()


def test_a_full_disk_is_not_taken_for_a_bad_image(scenes, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(label_shards, "cut", full)
    with pytest.raises(OSError, match="No space left"):
        generate(config_of(scenes, tile_px=32, tile_gap_px=8), silent)


def test_unknown_classes_stop_before_anything_is_labelled(scenes):
    with pytest.raises(
        ValueError, match=r"1 unknown classes: 'plane' .* known: ship, storage tank"
    ):
        generate(config_of(scenes, classes=("ship", "storage tank")), silent)
    assert not (scenes / "store").exists()
    result = generate(
        config_of(scenes, classes=("ship", "storage tank"), skip_unknown=True), silent
    )
    assert result.store.classes.names == ("ship", "storage tank")
    assert result.report.count("unknown class") > 0


def test_classes_are_renamed_by_a_map(scenes):
    (scenes / "map.yaml").write_text("ship: vessel\nstorage tank: null\nplane: vessel\n")
    result = generate(config_of(scenes, class_map=scenes / "map.yaml"), silent)
    assert result.store.classes.names == ("vessel",)
    assert result.report.count("dropped class") > 0
    (scenes / "map.yaml").write_text("ship: vessel\n")
    config = config_of(scenes, "other", class_map=scenes / "map.yaml")
    with pytest.raises(ValueError, match=r"unmapped|unknown|storage tank"):
        generate(config, silent)
    left = generate(dataclasses.replace(config, skip_unknown=True), silent)
    assert left.store.classes.names == ("vessel",)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"form": "dotta"}, "unknown annotation format 'dotta'; known: "),
        ({"segmenter": "sammy"}, "unknown segmenter 'sammy'; known: "),
        ({"segmenter": "sam"}, "needs weights: give the folder"),
        ({"segmenter": "sam", "weights": Path("nowhere")}, "nowhere is no folder"),
        ({"tile_px": 64, "tile_gap_px": 64}, "got size 64 and gap 64"),
        ({"class_map": Path("nowhere.yaml")}, "nowhere.yaml"),
        ({"images": Path("nowhere")}, "nowhere is no folder"),
        ({"form": "voc"}, "holds no .xml file"),
        ({"split": "folders"}, "00.png lies in no folder named train, val"),
        ({"val_share": 1.5}, "val_share lies between 0 and 1, got 1.5"),
        ({"tile_px": 0}, "tile_px must be 1 or more, got 0"),
        ({"mean": (1.0,)}, "one number per channel: 3 channels, 1 numbers"),
        ({"std": None}, "mean and std come together"),
        ({"split": "some"}, "split must be hash, folders, train, val or test"),
    ],
)
def test_mistakes_are_one_sentence(scenes, change, complaint):
    with pytest.raises((ValueError, FileNotFoundError)) as raised:
        generate(dataclasses.replace(config_of(scenes), **change), silent)
    assert complaint in str(raised.value)
    assert not (scenes / "store/store.json").exists()


def test_mean_and_std_are_measured(scenes):
    store = generate(config_of(scenes, mean=None, std=None), silent).store
    pixels = np.concatenate(
        [np.asarray(Image.open(p)).reshape(-1, 3) for p in (scenes / "images").iterdir()]
    ).astype(np.float64)
    np.testing.assert_allclose(store.mean, pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(store.std, pixels.std(axis=0), atol=1e-3)


def test_splits_by_folder_and_by_hash(tmp_path):
    draw_scenes(tmp_path, 6)
    for i, folder in enumerate(("train", "train", "valid", "Test", "a/val", "train")):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            target = tmp_path / kind / folder / f"{i:02d}.{suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / kind / f"{i:02d}.{suffix}").rename(target)
    store = generate(config_of(tmp_path, split="folders"), silent).store
    assert {row.image: row.split for row in store} == {
        "Test/03.png": "test", "a/val/04.png": "val", "train/00.png": "train",
        "train/01.png": "train", "train/05.png": "train", "valid/02.png": "val",
    }  # fmt: skip
    store = generate(config_of(tmp_path, "b", val_share=0.5), silent).store
    assert sorted(row.split for row in store) == ["train"] * 3 + ["val"] * 3
    store = generate(config_of(tmp_path, "c", split="test"), silent).store
    assert {row.split for row in store} == {"test"}


def test_tiles_of_one_image_stay_in_one_split(tmp_path):
    draw_scenes(tmp_path, 8)
    for i in range(8):
        for kind, suffix in (("images", "png"), ("labels", "txt")):
            path = tmp_path / kind / f"{i:02d}.{suffix}"
            path.rename(tmp_path / kind / f"P{i % 4}__64__{i}___0.{suffix}")
    store = generate(config_of(tmp_path, val_share=0.25), silent).store
    splits = {}
    for row in store:
        splits.setdefault(row.image[:2], set()).add(row.split)
    assert sorted(map(sorted, splits.values())) == [["train"]] * 3 + [["val"]]


def test_tiles_are_cut_while_labelling(scenes):
    config = config_of(scenes, tile_px=40, tile_gap_px=16, segmenter="polygon")
    store = generate(config, silent).store
    assert store.image_root == scenes / "store/tiles"
    assert len(store) == 40  # starts 0 and 24 in both directions
    assert store[4].image == "01__40__0___0.tif"
    assert store[4].size_hw == (40, 40)
    pixels = np.asarray(Image.open(scenes / "images/01.png"))
    tile = np.asarray(Image.open(store.image_root / store[7].image))
    np.testing.assert_array_equal(tile, pixels[24:, 24:])
    assert sum(len(row.boxes) for row in store) > 20
    again = generate(config_of(
        scenes, "again", tile_px=40, tile_gap_px=16, segmenter="polygon", source="store",
        images_per_shard=1, processes=1,
    ), silent).store  # fmt: skip
    assert_same_stores(again, store)


def test_images_whose_tiles_would_overwrite_each_other_are_refused(tmp_path):
    draw_scenes(tmp_path, 2)
    (tmp_path / "images/01.png").rename(tmp_path / "images/00.tif")
    content = {
        "images": [
            {"id": i, "file_name": f"00.{suffix}", "height": 64, "width": 64}
            for i, suffix in enumerate(("png", "tif"))
        ],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    config = GenerateLabels(
        tmp_path / "images", tmp_path / "boxes.json", "coco", tmp_path / "store",
        segmenter="box", classes=("ship",), tile_px=32, tile_gap_px=8,
    )  # fmt: skip
    with pytest.raises(ValueError, match="such as 00: rename one"):
        generate(config, silent)
    assert not config.out.exists()


class _Sloppy(Segmenter):
    """The left half of the image, whatever is asked."""

    def segment(self, image, annotations):
        height, width = annotations.size_hw
        half = np.ones((height, width // 2), dtype=bool)
        rle = rle_of_part(half, (0, 0), annotations.size_hw)
        return [ObjectMask(rle, 0.75, "rh") for _ in annotations.objects]


def test_masks_are_checked_and_say_how_they_came_about(scenes, monkeypatch):
    monkeypatch.setitem(SEGMENTERS, "sloppy", _Sloppy())
    store = generate(config_of(scenes, segmenter="sloppy", keep_raw=True), silent).store
    boxes = generate(config_of(scenes, "boxes"), silent).store
    half = rle_of_part(np.ones((64, 32), dtype=bool), (0, 0), (64, 64))
    for row, filled in zip(store, boxes, strict=True):
        assert row.prompts == ("rh",) * len(row.boxes)
        for i, flags in enumerate(row.flags):
            if "box_instead" in flags:  # half an image is mostly outside of any object
                assert row.rles[i] == filled.rles[i]
                assert row.scores[i] == 0
            assert row.raw_rles[i] == half
    assert any("box_instead" in flags for row in store for flags in row.flags)
    unchecked = generate(config_of(scenes, "c", segmenter="sloppy", check=False), silent).store
    assert unchecked[1].flags is None
    assert unchecked[1].scores.tolist() == [0.75] * len(unchecked[1].boxes)


@pytest.mark.slow
def test_what_a_process_complains_of_is_said_by_the_first(scenes):
    coco = {
        "images": [{"id": i, "file_name": f"{i:02d}.png"} for i in range(10)],
        "categories": [{"id": 0, "name": "hut"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 0, "bbox": [1, 2, 9, 9]}],
    }
    (scenes / "a.json").write_text(json.dumps(coco))
    config = config_of(scenes, segmenter="polygon", processes=2)
    config = dataclasses.replace(config, form="coco", annotations=scenes / "a.json")
    with pytest.raises(ValueError, match="only a box, no outline to take as mask"):
        generate(config, silent)
    assert not (scenes / "store/store.json").exists()


@pytest.mark.slow
def test_sam_labels_the_same_in_two_processes(scenes):
    pytest.importorskip("transformers")
    weights = tiny_sam.save("sam", scenes / "weights")
    settings = {"segmenter": "sam", "weights": weights, "source": "a", "device": "cpu"}
    one = generate(config_of(scenes, "one", **settings), silent).store
    two = generate(config_of(scenes, "two", processes=2, **settings), silent).store
    assert_same_stores(two, one)
    assert {prompt for row in one for prompt in row.prompts} == {"rh"}
    assert all(0 <= score <= 1 for row in one for score in row.scores)
    assert sum(len(row.flags) for row in one) > 20


def test_the_plan_on_disk_is_plain_json(scenes):
    config = config_of(scenes)
    plan = make_plan(config)
    content = json.loads((config.out / "run.json").read_text())
    assert (content["images"], content["shards"], plan.shards) == (10, 4, 4)
    lines = (config.out / "shards/000003.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["image"] == "09.png"
