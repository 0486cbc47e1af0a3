"""Masked autoencoding runs: what they leave behind, how they stop and go on, what they refuse."""

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.checkpoints import read_weights
from geomtp.cli import main
from geomtp.encoders.presets import create_encoder
from geomtp.encoders.weights import load_encoder_weights
from geomtp.mae import MaskedAutoencoder, load_mae
from geomtp.rasters import write_raster
from geomtp.training.curves import read_metrics
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.mae import MaskedAutoencoding, pretrain_mae, story_of
from geomtp.training.module import NonFiniteLossError
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run_folder import RunFolder
from tests.training.mae_runs import draw_images, small_config
from tests.training.runs import draw_data
from tests.training.runs import small_config as small_mtp_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_images(tmp_path_factory.mktemp("data"))


def silent(text):
    pass


def weights_of(folder):
    return torch.load(folder.last, weights_only=True)["state_dict"]


def test_a_run_leaves_all_that_is_needed(data, tmp_path):
    held_out = draw_images(tmp_path / "held_out", 2)
    changes = {"draw_every": 2, "validation_data": (held_out,), "warmup_epochs": 800}
    said = []
    result = pretrain_mae(small_config(data, tmp_path / "run", **changes), said.append)
    folder = result.folder
    assert (result.steps, result.stopped) == (4, False)
    assert said[0].startswith("6 images training: ")
    assert said[1].startswith("2 images held out: ")
    for path in (folder.config, folder.metrics, folder.last, folder.path / "curves.png"):
        assert path.is_file(), path
    assert list(folder.path.glob("tensorboard/events*"))
    metrics = read_metrics(folder.metrics)
    assert [step for step, _ in metrics["val/loss"]] == [2, 4]
    rates = [rate for _, rate in metrics["lr"]]
    # Two of four steps warm up to 0.05 · 2 / 256; then half a cosine.
    peak = 0.05 * 2 / 256
    assert rates == pytest.approx([peak * 1e-6, peak, peak, peak / 2], rel=1e-4)
    pictures = sorted(path.name for path in folder.pictures.iterdir())
    assert pictures == ["reconstruction_0000002.png", "reconstruction_0000004.png"]
    with Image.open(folder.pictures / pictures[1]) as picture:
        assert picture.size == (3 * 32 + 4 * 8, 2 * 32 + 3 * 8)
        shown = np.asarray(picture).astype(int)
    (image, seen, painted) = (shown[8:40, 8 + 40 * i :][:, :32] for i in range(3))
    patches = [slice(0, 16), slice(16, 32)]
    same = [np.array_equal(image[r, c], seen[r, c]) for r in patches for c in patches]
    assert same.count(True) == 2  # half of the four patches are visible
    for visible, (r, c) in zip(same, [(r, c) for r in patches for c in patches], strict=True):
        assert np.array_equal(image[r, c], painted[r, c]) == visible
    model, config = load_mae(folder.model)
    saved = weights_of(folder)
    assert all(saved[f"model.{key}"].equal(tensor) for key, tensor in model.state_dict().items())
    assert len(config.mean) == 3
    _, info = read_weights(folder.encoder)
    assert (info["kind"], info["encoder"]) == ("mae_encoder", "vit_t_rvsa")
    encoder = create_encoder("vit_t_rvsa", image_size=64)
    assert len(load_encoder_weights(encoder, folder.path).used) == 149
    assert re.search(r"loss of held-out images +\d\.\d{3} at first", story_of(result))


def stop_at(monkeypatch, step):
    asked = []

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == step and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    original = StopBetweenSteps.on_train_batch_end
    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stopped_run_resumes_to_the_same_numbers(data, tmp_path, monkeypatch, workers):
    changes = {"workers": workers, "steps": 6, "draw_every": 2}
    whole = pretrain_mae(small_config(data, tmp_path / "whole", **changes), silent).folder
    stop_at(monkeypatch, 3)
    stopped = pretrain_mae(small_config(data, tmp_path / "parts", **changes), silent)
    assert (stopped.steps, stopped.stopped) == (3, True)
    moved = shutil.copytree(data, tmp_path / "moved")  # the data may lie elsewhere by now
    how = story_of(stopped)
    assert f"geomtp pretrain mae --config {stopped.folder.config} --resume" in how
    changes |= {"resume": True, "draw_every": 0}
    resumed = pretrain_mae(small_config(moved, tmp_path / "parts", **changes), silent)
    assert (resumed.steps, resumed.stopped) == (6, False)
    first, second = weights_of(whole), weights_of(resumed.folder)
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.equal(second[key]), key
    losses = [read_metrics(folder.metrics)["loss/total"] for folder in (whole, resumed.folder)]
    assert losses[0] == losses[1]
    assert len(losses[0]) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask_ratio": 1.0}, "mask_ratio is the share of hidden patches: .* found 1.0"),
        ({"mask_ratio": 0.0}, "mask_ratio is the share of hidden patches"),
        ({"mask_ratio": 0.9}, "mask_ratio 0.9 leaves 0 of 4 patches visible"),
        ({"image_size": 40}, "image_size must be a multiple of 16 px from 32 on, found 40"),
        ({"encoder": "resnet18"}, "masked autoencoding pretrains vit_t_rvsa, .*'resnet18' is none"),
        ({"decoder_width": 18, "decoder_heads": 4}, "decoder_width 18 must be a multiple of its"),
        ({"in_channels": 4}, r"\.png has 3 channels, in_channels asks for 4"),
        ({"mean": (1.0,), "std": (1.0,)}, "mean needs a value per channel: 3, found 1"),
        ({"mean": (1.0, 1.0, 1.0)}, "mean and std go together"),
        ({"crop_area": (0.0, 1.0)}, "crop_area must rise within 0…1"),
        ({"crop_side_px": (9, 4)}, "crop_side_px must rise from at least 1"),
        ({"warmup_epochs": 2000}, "warmup_epochs must be less than epochs"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"pictures": -1}, "pictures must be at least 0, found -1"),
        ({"seed": -1}, "seed must be at least 0, found -1"),
        ({"workers": -1}, "workers must be at least 0, found -1"),
        ({"mean": (1.0,) * 3, "std": (1.0, 0.0, 1.0)}, "every value must be above 0"),
        ({"data": ()}, "--data is needed"),
        ({"weights": "gone.pth"}, "no weights at gone.pth"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(data, tmp_path, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        pretrain_mae(small_config(data, tmp_path / "run", **changes), silent)
    assert not RunFolder(tmp_path / "run").config.exists()


def test_a_folder_without_images_leaves_no_run_behind(data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no images"):
        pretrain_mae(small_config(tmp_path / "empty", tmp_path / "run"), silent)
    pretrain_mae(small_config(data, tmp_path / "run", steps=1), silent)
    with pytest.raises(ValueError, match="holds a run already"):
        pretrain_mae(small_config(data, tmp_path / "run", steps=1), silent)
    other = small_config(data, tmp_path / "run", steps=1, mask_ratio=0.6, resume=True)
    with pytest.raises(ValueError, match=r"mask_ratio \(was 0.5, now 0.6\)"):
        pretrain_mae(other, silent)


def test_a_damaged_image_is_named_or_left_out(data, tmp_path):
    images = shutil.copytree(data, tmp_path / "images")
    damaged = images / "a/0.png"
    damaged.write_bytes(damaged.read_bytes()[:100])
    changes = {"steps": 3, "mean": (127.0,) * 3, "std": (60.0,) * 3}
    with pytest.raises(OSError, match=r"a/0\.png cannot be read as an image"):
        pretrain_mae(small_config(images, tmp_path / "strict", **changes), silent)
    with pytest.warns(UserWarning, match="another image is taken instead"):
        result = pretrain_mae(
            small_config(images, tmp_path / "lenient", skip_bad=True, **changes), silent
        )
    assert result.steps == 3


def test_images_with_fewer_channels_are_left_out(data, tmp_path):
    images = shutil.copytree(data, tmp_path / "images")
    for name in ("x", "y", "z"):
        write_raster(images / f"{name}.tif", np.full((40, 40, 4), 9, np.uint8))
    config = small_config(images, tmp_path / "run", in_channels=4, skip_bad=True)
    with pytest.warns(UserWarning, match="has 3 channels, in_channels asks for 4"):
        result = pretrain_mae(config, silent)
    assert result.steps == 4
    measured = json.loads((config.out / "images" / "statistics.json").read_text())
    assert (measured["mean"], measured["std"]) == ([9.0] * 4, [1.0] * 4)


@pytest.mark.parametrize(("damaged", "rows"), [(["a/3.png"], 1), (["a/3.png", "c/5.png"], 0)])
def test_damaged_images_are_neither_drawn_nor_measured(data, tmp_path, damaged, rows):
    held_out = shutil.copytree(data, tmp_path / "held_out")
    for path in [p for p in held_out.rglob("*.png") if p.parent.name == "b"]:
        path.unlink()
    for name in damaged:  # the two that are drawn, of four
        (held_out / name).write_bytes(b"")
    config = small_config(data, tmp_path, validation_data=(held_out,), steps=1, skip_bad=True)
    with pytest.warns(UserWarning, match=r"an image is left out: .*a/3\.png"):
        folder = pretrain_mae(config, silent).folder
    assert math.isfinite(read_metrics(folder.metrics)["val/loss"][0][1])
    sheets = [Image.open(path) for path in folder.pictures.glob("*.png")]
    assert len(sheets) == rows
    assert all(sheet.height < 2 * sheet.width / 3 for sheet in sheets)  # one row of three


def test_the_learning_rate_and_the_steps_follow_from_the_batch(data, tmp_path):
    config = small_config(
        data, tmp_path, batch_size=64, devices=8, nodes=2, base_learning_rate=1.5e-4,
        steps=None, epochs=1600, warmup_epochs=40,
    )  # fmt: skip
    assert config.learning_rate == pytest.approx(1.5e-4 * 1024 / 256)
    assert config.steps_of(10_500) == 1600 * 10
    assert config.warmup_steps_of(16_000) == 400
    assert config.steps_of(5) == 1600


def test_the_optimiser_is_the_one_of_the_paper(data, tmp_path):
    config = small_config(data, tmp_path)
    model = MaskedAutoencoder(
        image_size=32, width=16, depth=1, num_heads=2, decoder_width=16, decoder_heads=2
    )
    module = MaskedAutoencoding(model, config, 4, tmp_path)
    optimiser = module.configure_optimizers()["optimizer"]
    assert optimiser.defaults["betas"] == (0.9, 0.95)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = {group["weight_decay"]: group["params"] for group in optimiser.param_groups}
    assert sorted(groups) == [0.0, 0.05]
    plain = {names[id(parameter)] for parameter in groups[0.0]}
    assert all("norm" in name or name.endswith(".bias") for name in plain)
    assert {names[id(p)] for p in groups[0.05]} == set(names.values()) - plain
    assert len(names) == sum(len(params) for params in groups.values())


def test_mixed_precision_with_clipping_and_recomputed_blocks(data, tmp_path):
    changes = {"precision": "bf16", "clip_norm": 1e-3, "activation_checkpointing": True}
    result = pretrain_mae(small_config(data, tmp_path / "run", steps=2, **changes), silent)
    losses = [value for _, value in read_metrics(result.folder.metrics)["loss/total"]]
    assert losses[0] == pytest.approx(1.5, abs=1.0)
    (state,) = torch.load(result.folder.last, weights_only=True)["optimizer_states"]
    first = [values["exp_avg"] for values in state["state"].values()]
    norm = torch.stack([average.norm() for average in first]).norm().item()
    assert 0 < norm < 0.1 * 1e-3 * 2  # two clipped gradients, a tenth of each


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_batch(data, tmp_path, monkeypatch):
    loss = MaskedAutoencoder.loss
    calls = []

    def second_is_nan(self, images, masking):
        calls.append(1)
        return loss(self, images, masking) * (float("nan") if len(calls) == 2 else 1.0)

    monkeypatch.setattr(MaskedAutoencoder, "loss", second_is_nan)
    with pytest.raises(NonFiniteLossError, match="at step 1; its images are saved in"):
        pretrain_mae(small_config(data, tmp_path / "run"), silent)
    saved = torch.load(tmp_path / "run/non_finite_step_1_0.pt", weights_only=True)
    names, images = saved["images"]
    assert (len(names), tuple(images.shape)) == (2, (2, 3, 32, 32))


def test_the_command_as_it_is_typed(data, tmp_path, capsys):
    more = draw_images(tmp_path / "more", 2)
    words = [
        "pretrain", "mae", "--config", "mae_small", "--data", str(data), str(more), "--out",
        str(tmp_path / "run"), "--image-size", "32", "--mask-ratio", "0.5", "--batch-size", "2",
        "--steps", "2", "--workers", "0", "--pictures", "1", "--accelerator", "cpu",
    ]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "8 images training" in said
    assert f"encoder   {tmp_path / 'run' / 'encoder.safetensors'}" in said
    config = RunFolder(tmp_path / "run").config
    assert main(["pretrain", "mae", "--config", str(config), "--resume", "--steps", "3"]) == 1
    complaint = capsys.readouterr().err
    assert "steps (was 2, now 3)" in complaint
    assert complaint.count("\n") == 1
    assert main(["pretrain", "mae", "--data", str(tmp_path / "gone")]) == 1
    complaint = capsys.readouterr().err
    assert "gone does not exist: expected a folder of images" in complaint
    assert complaint.count("\n") == 1


@pytest.mark.slow
def test_multi_task_pretraining_starts_from_a_run(data, tmp_path):
    pretrain_mae(small_config(data, tmp_path / "mae", steps=1), silent)
    said = []
    config = small_mtp_config(
        draw_data(tmp_path / "labelled"), tmp_path / "mtp", encoder="vit_t_rvsa", steps=1,
        weights=str(tmp_path / "mae" / "encoder.safetensors"), learning_rate=1e-9, pictures=0,
    )  # fmt: skip
    pretrain_mtp(config, said.append)
    assert any("encoder.safetensors: 149 tensors" in text for text in said)
    started = read_weights(tmp_path / "mae/encoder.safetensors")[0]
    after = read_weights(tmp_path / "mtp/encoder.safetensors")[0]
    key = "blocks.5.attn.qkv.weight"
    torch.testing.assert_close(after[key], started[key], atol=1e-6, rtol=0)


@pytest.mark.slow
def test_two_processes_learn_as_one_with_the_batch_of_both(data, tmp_path):
    gradients = []
    for devices, batch in ((1, 4), (2, 2)):
        out = tmp_path / f"run_{devices}"
        subprocess.run(
            [sys.executable, "-m", "tests.training.mae_runs", data, out, str(devices), str(batch)],
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.getcwd()},
            timeout=300,
        )
        (state,) = torch.load(RunFolder(out).last, weights_only=True)["optimizer_states"]
        gradients.append({n: values["exp_avg"] for n, values in state["state"].items()})
    assert gradients[0].keys() == gradients[1].keys()
    for number, gradient in gradients[0].items():
        distance = float((gradient - gradients[1][number]).norm())
        assert distance <= 1e-4 * float(gradient.norm()) + 1e-9, number
