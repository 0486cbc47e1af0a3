import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from geomtp.data.folders import FolderStore
from geomtp.model import load
from geomtp.rasters import write_raster
from geomtp.training.configs import FineTune
from geomtp.training.finetune import fine_tune_model_config, finetune
from geomtp.training.light import in_one_light, matches_light

SMALL = {
    "encoder": "resnet10t", "image_size": 64, "change_channels": (8, 8, 8, 8), "batch_size": 2,
    "steps": 1, "workers": 0, "pictures": 0, "accelerator": "cpu",
}  # fmt: skip


@pytest.fixture
def pairs(tmp_path):
    """Four bands; the second date is half as bright and darker by 5, but where it changed."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 1)):
        for i in range(count):
            before = rng.normal((100, 80, 60, 120), (10, 8, 6, 20), (64, 64, 4)).astype(np.float32)
            masks = np.zeros((64, 64, 1), np.uint8)
            masks[:8, :8] = 1
            after = before * 0.5 - 5 + (40.0 if split == "val" else 0.0) * masks
            for name, pixels in (("before", before), ("after", after), ("masks", masks)):
                path = tmp_path / "pairs" / split / name / f"{i}.tif"
                path.parent.mkdir(parents=True, exist_ok=True)
                write_raster(path, pixels)
    return tmp_path / "pairs"


def test_the_light_is_measured_on_training_pairs_and_stored(pairs, tmp_path):
    said = []
    config = FineTune(task="change", data=pairs, out=tmp_path / "run", **SMALL)
    model = load(finetune(config, said.append).folder.model)
    assert model.config.change_channels == (8, 8, 8, 8)
    light = model.config.sources["pairs"].light
    assert light.gain == pytest.approx((2.0,) * 4, abs=1e-3)
    assert light.offset == pytest.approx((10.0,) * 4, abs=0.05)
    assert any("in the light of the first (--match-light false: as it is)" in t for t in said)


def test_only_where_the_dates_keep_their_order(pairs, tmp_path):
    config = FineTune(task="change", data=pairs, **SMALL)
    assert matches_light(config)
    assert not matches_light(dataclasses.replace(config, match_light=False))
    assert not matches_light(dataclasses.replace(config, exchange_dates=True))
    assert not matches_light(FineTune(task="semantic"))
    for changes in ({"exchange_dates": True}, {"task": "semantic"}):
        with pytest.raises(ValueError, match="tells the second date from the first"):
            dataclasses.replace(config, match_light=True, **changes)


def test_mean_and_std_that_are_given_hold_for_both_dates(pairs, tmp_path):
    config = FineTune(task="change", data=pairs, mean=(0.0,) * 4, std=(100.0,) * 4, **SMALL)
    store, _ = FolderStore("change").build(pairs, tmp_path / "store")
    model = in_one_light(fine_tune_model_config(config, store), config, store, str)
    about = model.sources["pairs"]
    assert about.mean == (0.0,) * 4
    second = torch.full((1, 4, 1, 1), 0.45)  # 45 in files: 100 at the first date
    assert about.in_light_of_first(second).flatten().tolist() == pytest.approx([1.0] * 4, abs=2e-3)
    assert Path(store.image_root) == pairs
