import pytest

from geomtp.data.dataset import StoreDataset
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform
from geomtp.training.finetune import finetune
from geomtp.training.view_sizes import small_views
from tests.data.stores import make_store
from tests.training.test_finetune import config_of


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    sizes_hw = ((96, 128), (80, 80), (128, 96))  # long sides 128, 80 and 128
    return make_store(tmp_path_factory.mktemp("store"), sizes_hw)


def said(store, view_px, seen_px=None):
    training = {"made": StoreDataset(store, TrainTransform(view_px), ("rotated",))}
    held_out = {"made": StoreDataset(store, EvalTransform(seen_px), ("rotated",))}
    return small_views(training, held_out | {"other": held_out["made"]})


def test_views_much_smaller_than_validated_images(store):
    assert said(store, 65) is None
    assert "(made: views of 64 px, images of 128 px)" in said(store, 64)
    assert said(store, 64, seen_px=127) is None
    assert "(made: views of 64 px, images of 200 px)" in said(store, 64, seen_px=200)
    assert said(store.rows([]), 64) is None
    assert small_views({}, {}) is None


def test_a_training_says_it_in_one_line(store, tmp_path):
    lines = []
    sizes = {"evaluation_size": 128, "image_size": 64, "steps": 1}
    data = {"train_splits": ("train",), "validation_split": "train"}
    config = config_of("rotated", store.path, tmp_path / "run", **sizes, **data)
    finetune(config, lines.append)
    (warning,) = [line for line in lines if line.startswith("warning")]
    assert "views of 64 px, images of 128 px" in warning
    assert "\n" not in warning
