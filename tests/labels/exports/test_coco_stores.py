import json

import numpy as np
import pytest
from faster_coco_eval import COCO

from geomtp.geometry import encode_rle
from geomtp.labels import ImageLabels, export_coco, store_from_coco, write_store
from tests.labels.layouts import info, text
from tests.labels.store.test_label_store import EMPTY, UNLABELLED, assert_same

MASKS = np.zeros((2, 50, 70), dtype=bool)
MASKS[0, 10:20, 30:45] = True
MASKS[1, 5, 6] = True
FULL = ImageLabels(
    image="x/ä.png",
    size_hw=(50, 70),
    split="val",
    boxes=np.array([[30.1, 10.7, 45.3, 20.9], [6, 5, 7, 6]], np.float32),
    box_labels=np.array([1, 0]),
    rles=tuple(encode_rle(MASKS)),
    rboxes=np.array([[10.3, 20, 5, 3, -0.25]] * 3, np.float32),
    rbox_labels=np.array([1, 0, 1]),
    semantic="x/map.png",
    scene_class=1,
    scores=np.array([0.1, 1], np.float32),
    flags=((), ("spill_cut", "holes")),
    prompts=("rh", ""),
    coverage=np.array([0.3, 0.7], np.float32),
    raw_rles=tuple(encode_rle(MASKS[::-1].copy())),
)
MASKS_ONLY = ImageLabels("d.png", (50, 70), box_labels=np.array([1]), rles=(FULL.rles[0],))
BOXES_ONLY = ImageLabels("e.png", (50, 70), boxes=FULL.boxes, box_labels=np.array([0, 1]))


def test_a_store_comes_back_exactly(tmp_path):
    rows = [FULL, UNLABELLED, EMPTY, MASKS_ONLY, BOXES_ONLY]
    store = write_store(tmp_path / "store", rows, info(tmp_path))
    export_coco(store, tmp_path / "a.json")
    again = store_from_coco(tmp_path / "a.json", tmp_path, tmp_path / "again")
    assert again.info == store.info
    for have, want in zip(again, rows, strict=True):
        assert_same(have, want)
    assert not list(tmp_path.glob(".a.json*"))


def test_coco_s_own_tools_read_it(tmp_path):
    store = write_store(tmp_path / "store", [FULL, EMPTY], info(tmp_path, "hut", "tower"))
    export_coco(store, tmp_path / "a.json")
    coco = COCO(str(tmp_path / "a.json"))
    assert [c["name"] for c in coco.loadCats([0, 1])] == ["hut", "tower"]
    assert coco.getImgIds() == [0, 1]
    first, second = coco.loadAnns(coco.getAnnIds(imgIds=[0]))
    assert (first["category_id"], first["area"], first["iscrowd"]) == (1, 150, 0)
    np.testing.assert_allclose(first["bbox"], [30.1, 10.7, 15.2, 10.2], rtol=1e-6)
    np.testing.assert_array_equal(coco.annToMask(first), MASKS[0])
    np.testing.assert_array_equal(coco.annToMask(second), MASKS[1])


def test_a_subset_is_exported_alone(tmp_path):
    store = write_store(tmp_path / "store", [FULL, EMPTY], info(tmp_path))
    export_coco(store.subset("val"), tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    assert [image["file_name"] for image in content["images"]] == ["x/ä.png"]


@pytest.mark.parametrize("change", ["store", "rotated_annotations", "categories"])
def test_other_json_is_told_apart(tmp_path, change):
    store = write_store(tmp_path / "store", [FULL], info(tmp_path))
    export_coco(store, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    del content[change]
    with pytest.raises(ValueError, match="was not written by export_coco"):
        store_from_coco(text(tmp_path / "b.json", content), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_hostile_file_writes_nothing(tmp_path):
    store = write_store(tmp_path / "store", [FULL], info(tmp_path))
    export_coco(store, tmp_path / "a.json")
    content = json.loads((tmp_path / "a.json").read_text("utf-8"))
    content["images"][0]["file_name"] = "../../etc/passwd"
    with pytest.raises(ValueError, match="below the image folder"):
        store_from_coco(text(tmp_path / "b.json", content), tmp_path, tmp_path / "out")
    content["images"][0] |= {"file_name": "a.png", "height": 51}
    with pytest.raises(ValueError, match="not of the image's size"):
        store_from_coco(text(tmp_path / "b.json", content), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
