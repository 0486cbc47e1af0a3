"""`geomtp finetune RECIPE` on tiny copies of the public data sets: one step, scored."""

import json
import os
import re
import shlex
import signal

import pytest

from geomtp.cli import main
from geomtp.commands.status import INTERRUPTED
from geomtp.data.sources import PUBLIC
from geomtp.model import load
from geomtp.training.configs import FineTune
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.run_folder import RunFolder
from tests.data.sources.public_layouts import LAYOUTS

SMALL = [
    "--encoder", "test_resnet", "--image-size", "64", "--semantic-channels", "8",
    "--detector-channels", "8", "--fc-channels", "16", "--proposals", "50", "--rois", "32",
    "--batch-size", "2", "--steps", "1", "--workers", "0", "--accelerator", "cpu",
    "--activation-checkpointing", "false", "--pictures", "1", "--validation-limit", "2",
]  # fmt: skip
HEADLINES = {
    "eurosat": "scene/accuracy", "resisc45": "scene/accuracy", "xview": "box/ap50",
    "dior": "box/ap50", "dior_r": "rotated/ap50", "fair1m": "rotated/ap50",
    "dota_v1": "rotated/ap50", "dota_v2": "rotated/ap50", "spacenet_v1": "semantic/miou",
    "loveda": "semantic/miou", "oscd": "change/f1", "whu_cd": "change/f1",
    "levir_cd": "change/f1", "cdd": "change/f1",
}  # fmt: skip
QUICK = ("eurosat", "xview", "dota_v1", "loveda", "oscd")  # one of each task
SLOW = [pytest.param(n, marks=pytest.mark.slow) for n in PUBLIC if n not in QUICK]


@pytest.mark.parametrize("name", [*QUICK, *SLOW])
def test_a_step_of_each_recipe(name, tmp_path, capsys):
    data = LAYOUTS[name](tmp_path / "published")
    if name in QUICK:  # the others are read as they were published
        store = tmp_path / "store"
        assert main(["data", "prepare", name, "--from", str(data), "--out", str(store)]) == 0
        data = store
    out = tmp_path / "run"
    done = main(["finetune", name, "--data", str(data), "--out", str(out), *SMALL])
    said = capsys.readouterr()
    assert done == 0, said.err
    folder = RunFolder(out)
    scores = json.loads(folder.scores.read_text())["scores"]
    assert HEADLINES[name] in scores[name]
    model = load(folder.model)
    assert model.config.sources[name].classes == PUBLIC[name].classes
    if name in ("dota_v1", "loveda"):  # trained on train and val together
        assert "trained on 2 images" in said.out


def test_a_recipe_on_a_folder_of_another_data_set_is_refused(tmp_path, capsys):
    data = LAYOUTS["cdd"](tmp_path / "data")
    words = ["finetune", "dior", "--data", str(data), "--out", str(tmp_path / "run"), *SMALL]
    assert main(words) == 1
    said = capsys.readouterr().err
    assert "does not hold 'dior': expected" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"task": "horizontal", "turn_share": 0.5}, "upright boxes of 'horizontal' cannot"),
        ({"task": "rotated", "rand_augment": True}, "move pixels without labels"),
        ({"task": "scene", "erase_share": 2.0}, "erase_share must lie in 0…1"),
        ({"task": "scene", "drops_at": (9, 5)}, "drops_at must be rising steps"),
    ],
)
def test_settings_that_do_not_fit_are_told(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        FineTune(**changes)


def test_a_recipe_goes_on_as_it_is_told(tmp_path, monkeypatch, capsys):
    original = StopBetweenSteps.on_train_batch_end

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    data, out = LAYOUTS["eurosat"](tmp_path / "published"), tmp_path / "my run"
    with monkeypatch.context() as patch:
        patch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)
        words = ["--data", str(data), "--out", str(out), *SMALL, "--steps", "2"]
        assert main(["finetune", "eurosat", *words]) == INTERRUPTED
    told = re.search(r"geomtp (finetune .* --resume)", capsys.readouterr().out)[1]
    assert main(shlex.split(told)) == 0, capsys.readouterr().err
    assert json.loads(RunFolder(out).scores.read_text())["step"] == 2


def test_a_recipe_and_another_one_are_not_both_taken(tmp_path, capsys):
    own = tmp_path / "own.yaml"
    own.write_text("task: scene\n")
    assert main(["finetune", "eurosat", "--config", str(own), "--data", str(tmp_path)]) == 1
    assert "eurosat is a recipe, and so is what --config names" in capsys.readouterr().err


def test_official_detectors_have_no_global_relative_positions(tmp_path):
    data = LAYOUTS["dior_r"](tmp_path / "data")
    words = ["finetune", "dior_r", "--data", str(data), "--out", str(tmp_path / "run"), *SMALL]
    words[words.index("test_resnet")] = "vit_t_rvsa"
    assert main([*words, "--pictures", "0"]) == 0
    encoder = load(RunFolder(tmp_path / "run").model).encoder
    assert not any("rel_pos" in name for name, _ in encoder.blocks[2].named_parameters())
