"""SpaceNet as docs/public_data.md tells it: the commands are read from the page and typed."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.checkpoints import read_weights
from geomtp.cli import main
from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.training.run_folder import RunFolder
from geomtp.training.validation import save_encoder
from geomtp.types import ClassMap
from tests.data.sources.public_layouts import spacenet_v1

PAGE = Path(__file__).parents[2] / "docs/public_data.md"

ONE_STEP = [
    "--batch-size", "2", "--steps", "1", "--workers", "0", "--accelerator", "cpu", "--pictures",
    "0", "--validation-limit", "1",
]  # fmt: skip
SMALL = ["--image-size", "64", "--semantic-channels", "16"]


def typed_commands():
    """The words of each command of the block on SpaceNet."""
    text = PAGE.read_text(encoding="utf-8")
    block = re.search(r"(    geomtp data prepare spacenet_v1.*?)\n\n", text, re.DOTALL).group(1)
    lines = block.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines]


def pretrained(folder, encoder, image_size, channels):
    """A run folder of a pretraining: a whole model with random weights, and its encoder."""
    torch.manual_seed(5)
    source = SourceConfig(ClassMap(("ship", "plane", "road")), ("semantic",))
    model = build_model(
        ModelConfig(encoder, image_size, {"sota": source}, semantic_channels=channels)
    )
    save(model, RunFolder(folder).model)
    save_encoder(model, RunFolder(folder))


def weight_of(run, part):
    """A large weight of the written model: of the encoder, or of the decoder's trunk."""
    weights, _ = read_weights(run / "model.safetensors")
    if part == "encoder":
        return weights["encoder.blocks.5.mlp.fc1.weight"]
    trunk = [t for name, t in weights.items() if name.startswith("decoders.semantic.trunk.")]
    return max(trunk, key=torch.numel)


def apart(run, other, part):
    """How far two models are apart, relative to the first."""
    a, b = weight_of(run, part), weight_of(other, part)
    return float((a - b).norm() / a.norm())


def test_the_page_names_what_is_asked_for_most():
    commands = typed_commands()
    assert [words[0] for words in commands] == [
        "data", "finetune", "evaluate", "finetune", "evaluate"
    ]  # fmt: skip
    assert all("vit_l_rvsa" in words for words in commands if words[0] == "finetune")
    assert "--reuse-decoder" in commands[3]


def test_all_commands_with_a_small_model(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    spacenet_v1(tmp_path / "SpaceNetV1")
    pretrained(tmp_path / "runs/samrs_vit_l", "vit_t_rvsa", 64, 16)
    said = []
    for words in typed_commands():
        small = [word.replace("vit_l_rvsa", "vit_t_rvsa") for word in words]
        more = [*SMALL, *ONE_STEP] if words[0] == "finetune" else []
        more += ["--workers", "0"] if words[0] == "evaluate" else []
        assert main([*small, *more]) == 0, capsys.readouterr().err
        said.append(capsys.readouterr().out)
    assert "spacenet_v1: 7 images (train 5, val 2, test 0)" in said[0]
    assert "encoder weights from runs/samrs_vit_l/encoder.safetensors" in said[1]
    assert "trained on 5 images, scored on 2" in said[1]
    used, total = map(int, re.search(r"decoder reused: (\d+) of the (\d+) ten", said[3]).groups())
    assert used == total > 20
    assert "starting anew: the classifier of spacenet_v1" in said[3]
    start, fresh, reused = (
        tmp_path / "runs" / n for n in ("samrs_vit_l", "spacenet", "spacenet_reused")
    )
    assert apart(start, fresh, "encoder") < 0.01  # one step of the warm-up
    assert apart(start, reused, "encoder") < 0.01
    assert apart(start, fresh, "trunk") > 0.5
    assert apart(start, reused, "trunk") < 0.01
    for run in (fresh, reused):
        check_evaluation(run)


def check_evaluation(run):
    """Figures with their protocol, and a map of each image in its size."""
    result = json.loads((run / "val/result.json").read_text())
    assert result["data"]["images"] == 2
    assert (result["protocol"]["crop_px"], result["protocol"]["stride_px"]) == (384, 256)
    assert 0 <= result["scores"]["semantic/miou"] <= 1
    assert [row["class"] for row in result["classes"]["semantic"]] == ["background", "building"]
    maps = sorted((run / "maps").rglob("*_semantic.png"))
    assert len(maps) == 2
    for path in maps:
        values = np.array(Image.open(path))
        assert values.shape == (70, 80)
        assert set(np.unique(values)) <= {0, 1}


@pytest.mark.slow
def test_a_step_with_the_full_model(tmp_path, monkeypatch, capsys):
    """ViT-L + RVSA at 384 px with an UperNet of 512 channels, the pretrained decoder reused.

    Up to 11 GB of memory and 11 GB of disk, under two minutes on two free cores.
    """
    monkeypatch.chdir(tmp_path)
    spacenet_v1(tmp_path / "SpaceNetV1")
    pretrained(tmp_path / "runs/samrs_vit_l", "vit_l_rvsa", 224, 512)
    prepare, _, _, finetune, evaluate = typed_commands()
    assert main(prepare) == 0
    more = [*ONE_STEP, "--activation-checkpointing", "true"]
    assert main([*finetune, *more]) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    used, total = map(int, re.search(r"decoder reused: (\d+) of the (\d+) ten", said).groups())
    assert used == total
    assert main([*evaluate, "--workers", "0", "--windows-at-once", "1"]) == 0
    check_evaluation(tmp_path / "runs/spacenet_reused")
