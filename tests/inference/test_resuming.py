"""A prediction that was stopped goes on; several processes share it; nothing half is ever there."""

import json

import pytest

from geomtp.inference import predict as module
from geomtp.inference import scene_result
from geomtp.inference.work.work_folder import WorkFolder
from tests.inference.scenes import noise, predicted, values_of, write_scene
from tests.inference.stub_models import Blur


class Tired(Blur):
    """Breaks down after so many windows."""

    def __init__(self, windows, error=KeyboardInterrupt):
        super().__init__()
        self.left, self.error = windows, error

    def say(self, images, images_after):
        self.left -= len(images)
        if self.left < 0:
            raise self.error("broke down")
        return super().say(images, images_after)


@pytest.fixture
def scene(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "geomtp.inference.windows.scene_grid.SUMS_BYTES", 1
    )  # blocks of two by two cells
    return write_scene(tmp_path / "scene.tif", noise(300, 300, seed=2))


def test_a_stopped_prediction_goes_on_and_gives_the_same_file(monkeypatch, tmp_path, scene):
    out, settings = tmp_path / "out", {"window": 64, "preview": 0}
    with pytest.raises(KeyboardInterrupt):
        predicted(monkeypatch, Tired(30), out, scene, **settings)
    stored = sorted(path.name for path in (out / ".scene.work").glob("block-*"))
    assert 4 <= len(stored) <= 7  # 30 windows, four a block; what waited to be stored may be lost
    assert not list(out.glob("scene*"))
    model = Blur()
    (result,) = predicted(monkeypatch, model, out, scene, **settings)
    assert model.windows == 36 - 4 * len(stored)
    (whole,) = predicted(monkeypatch, Blur(), tmp_path / "whole", scene, **settings)
    assert result.maps["semantic"].read_bytes() == whole.maps["semantic"].read_bytes()
    assert result.summary["windows"] == whole.summary["windows"] == 36
    assert not (out / ".scene.work").exists()
    assert predicted(monkeypatch, Tired(0), out, scene, **settings) == []  # nothing left to do
    (result,) = predicted(monkeypatch, Blur(), out, scene, window=64, preview=100)  # another file
    assert result.preview.is_file()


def test_what_was_begun_with_other_settings_is_not_mixed(monkeypatch, tmp_path, scene):
    out = tmp_path / "out"
    with pytest.raises(OSError, match="broke down"):
        predicted(monkeypatch, Tired(30, OSError), out, scene, window=64)
    with pytest.raises(ValueError, match=r"other settings \(.*overlap 0.25.*\): give the same"):
        predicted(monkeypatch, Blur(), out, scene, window=64, overlap=0.5)


def test_processes_share_the_blocks_and_the_last_one_merges(monkeypatch, tmp_path, scene):
    out, models = tmp_path / "out", [Blur() for _ in range(3)]
    monkeypatch.setenv("WORLD_SIZE", "3")
    results = []
    for rank, model in enumerate(models):
        monkeypatch.setenv("RANK", str(rank))
        results.append(predicted(monkeypatch, model, out, scene, window=64))
    assert [len(found) for found in results] == [0, 0, 1]
    assert [model.windows for model in models] == [12, 12, 12]
    monkeypatch.delenv("WORLD_SIZE")
    (alone,) = predicted(monkeypatch, Blur(), tmp_path / "alone", scene, window=64)
    shared = results[2][0].maps["semantic"]
    assert shared.read_bytes() == alone.maps["semantic"].read_bytes()


def test_a_merge_that_fails_can_be_done_again(monkeypatch, tmp_path, scene):
    out = tmp_path / "out"

    def full(*arguments, **more):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr("geomtp.inference.scene_result.write_class_map", full)
        with pytest.raises(OSError, match="disk full"):
            predicted(monkeypatch, Blur(), out, scene, window=64)
    model = Blur()
    (result,) = predicted(monkeypatch, model, out, scene, window=64)
    assert model.windows == 0
    assert values_of(result.maps["semantic"]).shape == (300, 300)


def test_a_process_that_starts_while_another_merges_leaves_it_alone(monkeypatch, tmp_path, scene):
    out = tmp_path / "out"
    (alone,) = predicted(monkeypatch, Blur(), tmp_path / "alone", scene, window=64)
    late = []

    def while_merging(*arguments, **more):
        with monkeypatch.context() as patch:
            patch.setattr(scene_result, "write_class_map", write_class_map)
            for rank in "01":
                patch.setenv("RANK", rank)
                patch.setenv("WORLD_SIZE", "2")
                late.append(predicted(patch, Tired(0), out, scene, window=64))
        write_class_map(*arguments, **more)

    write_class_map = scene_result.write_class_map
    monkeypatch.setattr(scene_result, "write_class_map", while_merging)
    (result,) = predicted(monkeypatch, Blur(), out, scene, window=64)
    assert late == [[], []]
    assert result.maps["semantic"].read_bytes() == alone.maps["semantic"].read_bytes()
    assert not list(out.glob(".scene*"))


@pytest.mark.parametrize("step", ["open", "merging"])
def test_a_process_that_comes_when_another_has_just_finished(monkeypatch, tmp_path, scene, step):
    out = tmp_path / "out"
    original = getattr(WorkFolder, step)

    def after_the_other(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(WorkFolder, step, original)
            others.append(predicted(patch, Blur(), out, scene, window=64))
        return original(*arguments)

    others = []
    monkeypatch.setattr(WorkFolder, step, after_the_other)
    assert predicted(monkeypatch, Blur(), out, scene, window=64) == []
    assert [len(found) for found in others] == [1]
    assert not list(out.glob(".scene*"))
    assert values_of(out / "scene_semantic.tif").shape == (300, 300)


def test_a_process_whose_folder_goes_while_it_looks(monkeypatch, tmp_path, scene):
    out, others = tmp_path / "out", []

    class Overtaken(Blur):
        def say(self, images, images_after):
            if not others:
                with monkeypatch.context() as patch:
                    others.append(predicted(patch, Blur(), out, scene, window=64))
            return super().say(images, images_after)

    assert predicted(monkeypatch, Overtaken(), out, scene, window=64) == []
    assert [len(found) for found in others] == [1]
    assert not list(out.glob(".scene*"))


def test_what_a_killed_process_left_is_removed(monkeypatch, tmp_path, scene):
    out = tmp_path / "out"
    (out / ".scene_preview.0123").mkdir(parents=True)
    (out / ".scene_semantic.tif.0123.part").touch()
    (out / ".scene_semantic_semantic.tif.0123.part").touch()  # of another scene
    (result,) = predicted(monkeypatch, Blur(), out, scene, window=64)
    settings = {k: v for k, v in result.summary["settings"].items() if k not in module._OF_FILES}
    WorkFolder.open(out, "scene", settings, 36)  # killed after the summary was written
    (out / ".scene.work-0123").mkdir()  # killed while its folder was removed
    assert predicted(monkeypatch, Tired(0), out, scene, window=64) == []
    hidden = [path.name for path in out.iterdir() if path.name.startswith(".")]
    assert hidden == [".scene_semantic_semantic.tif.0123.part"]
    WorkFolder.open(out, "scene", {"window": 96}, 36)
    assert predicted(monkeypatch, Tired(0), out, scene, window=64) == []
    assert (out / ".scene.work").is_dir()  # begun with other settings


def test_a_folder_has_one_merger(tmp_path):
    work = WorkFolder.open(tmp_path, "scene", {"window": 64}, 3)
    with pytest.raises(OSError, match="disk full"), work.merging() as alone:
        raise OSError("disk full" if alone else "not alone")
    with work.merging() as alone, work.merging() as second:
        assert (alone, second) == (True, False)
        assert json.loads((work.path / "plan.json").read_text()) == {"window": 64}
    assert list(tmp_path.iterdir()) == []
