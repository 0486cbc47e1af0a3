"""Pretraining runs: what they leave behind, how they stop and go on."""

import csv
import os
import signal

import pytest
import torch

from geomtp.checkpoints import read_weights
from geomtp.model import load
from geomtp.training import module
from geomtp.training.configs import PretrainMTP, SourceRun
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.module import NonFiniteLossError
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run import story_of
from geomtp.training.run_folder import RunFolder
from tests.training.runs import draw_data, small_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_data(tmp_path_factory.mktemp("data"))


def silent(text):
    pass


def weights_of(folder):
    return torch.load(folder.last, weights_only=True)["state_dict"]


def rows_of(folder):
    with folder.metrics.open(newline="") as file:
        return [(int(r["step"]), r["name"], float(r["value"])) for r in csv.DictReader(file)]


def test_a_run_leaves_all_that_is_needed(data, tmp_path):
    config = small_config(data, tmp_path / "run", validate_every=2, validate_first=True)
    result = pretrain_mtp(config, silent)
    folder = result.folder
    assert (result.steps, result.stopped) == (4, False)
    for path in (folder.config, folder.metrics, folder.last, folder.model, folder.encoder):
        assert path.is_file(), path
    for name in ("town", "harbour"):
        assert (folder.pictures / f"{name}.png").stat().st_size > 1000
    assert (folder.path / "curves.png").is_file()
    rows = rows_of(folder)
    totals = [value for _, name, value in rows if name == "loss/total"]
    assert len(totals) == 4
    first_step = {name: value for step, name, value in rows if step == rows[0][0]}
    losses = {n: v for n, v in first_step.items() if n.startswith("loss/") and n != "loss/total"}
    assert len(losses) == 10 + 5  # all losses of town; harbour has no instance task
    assert sum(losses.values()) == pytest.approx(first_step["loss/total"], rel=1e-4)
    assert {step for step, name, _ in rows if name == "val/mean"} == {0, 2, 4}
    assert set(result.scores["harbour"]) >= {"semantic/miou", "rotated/ap50", "rotated/ap50/ship"}
    assert "mask/ap50" not in result.scores["harbour"]
    model = load(folder.model)
    saved = weights_of(folder)
    for key, value in model.state_dict().items():
        assert saved[f"model.{key}"].equal(value), key
    _, info = read_weights(folder.encoder)
    assert (info["kind"], info["encoder"], info["image_size"]) == ("encoder", "test_resnet", 64)
    assert "town" in story_of(result, "geomtp pretrain mtp")


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_run_resumes_to_the_same_weights(data, tmp_path, monkeypatch, workers):
    changes = {"ema_decay": 0.9, "workers": workers, "checkpoint_every": 1, "steps": 5}
    whole = small_config(data, tmp_path / "whole", **changes)
    pretrain_mtp(whole, silent)

    asked = []

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == 3 and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    original = StopBetweenSteps.on_train_batch_end
    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)
    parts = small_config(data, tmp_path / "parts", **changes)
    stopped = pretrain_mtp(parts, silent)
    assert (stopped.steps, stopped.stopped) == (3, True)
    assert "--resume" in story_of(stopped, "geomtp pretrain mtp")
    resumed = pretrain_mtp(small_config(data, tmp_path / "parts", resume=True, **changes), silent)
    assert (resumed.steps, resumed.stopped) == (5, False)
    first, second = weights_of(RunFolder(whole.out)), weights_of(RunFolder(parts.out))
    assert first.keys() == second.keys()
    assert any(key.startswith("average.") for key in first)
    for key, value in first.items():
        assert value.equal(second[key]), key
    before = [r for r in rows_of(RunFolder(whole.out)) if r[1] == "loss/total"]
    after = [r for r in rows_of(RunFolder(parts.out)) if r[1] == "loss/total"]
    assert before == after


def test_a_run_is_not_overwritten_and_not_mixed_with_another(data, tmp_path):
    config = small_config(data, tmp_path / "run", steps=1)
    pretrain_mtp(config, silent)
    with pytest.raises(ValueError, match="holds a run already: go on with it by --resume"):
        pretrain_mtp(config, silent)
    other = small_config(data, tmp_path / "run", steps=1, resume=True, learning_rate=5e-4)
    with pytest.raises(ValueError, match=r"learning_rate \(was 0.001, now 0.0005\)"):
        pretrain_mtp(other, silent)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        pretrain_mtp(small_config(data, tmp_path / "none", resume=True), silent)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(data, tmp_path, monkeypatch):
    config = small_config(data, tmp_path / "run", checkpoint_every=1)
    total_loss = module.MultiTaskModel.total_loss
    calls = []

    def third_is_nan(self, *words):
        total, losses = total_loss(self, *words)
        calls.append(1)
        if len(calls) == 3:
            losses["semantic/pixel/town"] = torch.tensor(float("nan"))
            total = total * float("nan")
        return total, losses

    monkeypatch.setattr(module.MultiTaskModel, "total_loss", third_is_nan)
    with pytest.raises(NonFiniteLossError, match=r"at step 2.*semantic/pixel/town.*saved in"):
        pretrain_mtp(config, silent)
    saved = torch.load(config.out / "non_finite_step_2_0.pt", weights_only=True)
    ids, images = saved["images"]["town"]
    assert len(ids) == len(images) == 1
    assert torch.load(RunFolder(config.out).last, weights_only=True)["global_step"] == 2


def test_a_full_disk_keeps_the_checkpoint_before(data, tmp_path, monkeypatch):
    config = small_config(data, tmp_path / "run", checkpoint_every=1)
    save = torch.save
    written = []

    def disk_fills_up(*args, **kwargs):
        written.append(1)
        if len(written) == 3:
            raise OSError(28, "No space left on device")
        save(*args, **kwargs)

    monkeypatch.setattr(torch, "save", disk_fills_up)
    with pytest.raises(OSError, match=r"could not be written.*No space left.*previous one is kept"):
        pretrain_mtp(config, silent)
    monkeypatch.undo()
    folder = RunFolder(config.out)
    assert torch.load(folder.last, weights_only=True)["global_step"] == 2
    assert [p.name for p in folder.last.parent.iterdir()] == ["last.ckpt"]
    resumed = small_config(data, tmp_path / "run", checkpoint_every=1, resume=True)
    assert pretrain_mtp(resumed, silent).steps == 4


def test_unknown_sources_and_missing_data_are_one_sentence(data, tmp_path):
    unknown = small_config(data, tmp_path / "a", sources={"atlantis": SourceRun()})
    with pytest.raises(ValueError, match=r"unknown source 'atlantis'.*none of sota, sior, fast"):
        pretrain_mtp(unknown, silent)
    no_data = small_config(None, tmp_path / "b", sources={"hit_uav": SourceRun()})
    with pytest.raises(ValueError, match="hit_uav needs --data"):
        pretrain_mtp(no_data, silent)


def test_a_run_that_fails_before_its_first_step_can_be_begun_again(data, tmp_path):
    wrong = small_config(data, tmp_path / "run", weights=str(tmp_path / "missing.safetensors"))
    with pytest.raises(FileNotFoundError, match="missing"):
        pretrain_mtp(wrong, silent)
    right = small_config(data, tmp_path / "run", steps=1, tasks=("semantic",), pictures=0)
    assert pretrain_mtp(right, silent).steps == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"devices": 0}, "devices must be at least 1, found 0"),
        ({"workers": -1}, "workers must be at least 0, found -1"),
        ({"in_channels": 0}, "in_channels must be at least 1, found 0"),
        ({"semantic_channels": 0}, "semantic_channels must be at least 1, found 0"),
        ({"validation_limit": 0}, "validation_limit must be at least 1, found 0"),
        ({"validate_every": -1}, "validate_every must be at least 0, found -1"),
        ({"conflicts_every": -1}, "conflicts_every must be at least 0, found -1"),
        ({"learning_rate": -1.0}, "learning_rate must be at least 0, found -1.0"),
        ({"drop_path": 1.5}, r"drop_path must lie in 0…1, found 1\.5"),
        ({"ema_decay": 1.5}, r"ema_decay must lie in 0…1, found 1\.5"),
        ({"std": (1.0, 1.0, 0.0)}, "std divides: every value must be above 0"),
    ],
)
def test_numbers_that_mean_nothing_are_refused_before_the_run(changes, message):
    with pytest.raises(ValueError, match=message):
        PretrainMTP(sources={"town": SourceRun()}, **changes)


def test_tasks_that_would_train_nothing_are_refused(data, tmp_path):
    config = small_config(data, tmp_path / "run", tasks=("semantic", "scene"))
    with pytest.raises(ValueError, match="image of town is labelled for 'scene': leave it out of"):
        pretrain_mtp(config, silent)
    assert not config.out.joinpath("config.yaml").exists()
    with pytest.raises(
        ValueError, match=r"harbour trains none of the run's tasks \(instance\), on"
    ):
        small_config(data, tmp_path, tasks=("instance",))
    with pytest.raises(ValueError, match="tasks: at least one is needed"):
        small_config(data, tmp_path, tasks=())


def test_weights_of_losses_that_there_are_not_are_refused(data, tmp_path):
    weights = {"semantic/pixel/town": 2.0, "semantic": 0.5, "rotated": 3.0}
    weights |= {"semantic/pixel/absent": 2.0}  # a step need not hold all sources
    settings = {"steps": 1, "tasks": ("semantic",), "pictures": 0, "validation_split": "test"}
    said = []
    pretrain_mtp(small_config(data, tmp_path / "a", loss_weights=weights, **settings), said.append)
    assert "no source has images in its 'test' split: nothing is validated" in said
    wrong = small_config(data, tmp_path / "b", loss_weights={"semantic/pixels": 2.0}, **settings)
    with pytest.raises(ValueError, match=r"no loss is called 'semantic/pixels'; known: semantic/"):
        pretrain_mtp(wrong, silent)
    with pytest.raises(ValueError, match="holds a run already: it has no checkpoint, remove it"):
        pretrain_mtp(wrong, silent)


def test_any_subset_of_tasks(data, tmp_path):
    config = small_config(data, tmp_path / "run", steps=1, tasks=("semantic",), pictures=0)
    result = pretrain_mtp(config, silent)
    assert not result.folder.pictures.exists()
    assert list(load(result.folder.model).decoders) == ["semantic"]
    assert "rotated/ap50" not in result.scores["town"]


@pytest.mark.parametrize("validate_first", [False, True])
def test_frozen_batch_norm_keeps_its_statistics(data, tmp_path, validate_first):
    changes = {"batch_norm": "frozen_encoder", "validate_first": validate_first}
    config = small_config(data, tmp_path / "run", steps=2, **changes)
    model = load(pretrain_mtp(config, silent).folder.model)
    counts = {k: int(v) for k, v in model.state_dict().items() if k.endswith("batches_tracked")}
    assert all(v == 0 for k, v in counts.items() if k.startswith("encoder"))
    assert counts["decoders.semantic.trunk.fpn_bottleneck.bn.num_batches_tracked"] > 0


def test_mixed_precision_clips_gradients(data, tmp_path):
    changes = {"precision": "bf16", "clip_norm": 1e-3, "tasks": ("semantic",), "pictures": 0}
    folder = pretrain_mtp(small_config(data, tmp_path / "run", steps=1, **changes), silent).folder
    (state,) = torch.load(folder.last, weights_only=True)["optimizer_states"]
    first = [values["exp_avg"] for values in state["state"].values()]
    norm = torch.stack([average.norm() for average in first]).norm().item()
    assert norm == pytest.approx(0.1 * 1e-3, rel=1e-3)
