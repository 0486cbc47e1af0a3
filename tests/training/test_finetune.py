"""Fine-tuning on folders as people have them: what a run leaves behind, and the commands."""

import json
import os
import re
import signal

import pytest

from geomtp.cli import main
from geomtp.model import load
from geomtp.training import finetune as run
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune
from geomtp.training.interruption import StopBetweenSteps
from geomtp.training.run import story_of
from geomtp.training.run_folder import RunFolder
from tests.data.folders import layouts

SMALL = {
    "encoder": "test_resnet", "image_size": 64, "semantic_channels": 8, "detector_channels": 8,
    "fc_channels": 16, "proposals": 50, "rois": 32, "batch_size": 2, "steps": 2, "workers": 0,
    "log_every": 1, "pictures": 1, "accelerator": "cpu", "learning_rate": 1e-3,
}  # fmt: skip
LAYOUTS = {
    "scene": (layouts.class_folders, "scene/accuracy"),
    "semantic": (layouts.masked_images, "semantic/miou"),
    "instance": (layouts.coco, "mask/ap50"),
    "horizontal": (layouts.dota, "box/ap50"),
    "rotated": (layouts.dota, "rotated/ap50"),
    "change": (layouts.pairs, "change/f1"),
}


def silent(text):
    pass


def config_of(task, data, out, **changes):
    return FineTune(**{"task": task, "data": data, "out": out, **SMALL, **changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    return {task: layout(root / task) for task, (layout, _) in LAYOUTS.items()}


@pytest.mark.parametrize("task", LAYOUTS)
def test_the_command_as_it_is_typed(data, tmp_path, capsys, task):
    flags = [w for name, v in SMALL.items() for w in (f"--{name.replace('_', '-')}", str(v))]
    out = tmp_path / "run"
    done = main(["finetune", task, "--data", str(data[task]), "--out", str(out), *flags])
    said = capsys.readouterr()
    assert done == 0, said.err
    headline = LAYOUTS[task][1]
    assert headline in said.out
    assert re.search(r"trained on \d+ images, scored on \d+", said.out)
    folder = RunFolder(out)
    for path in (folder.config, folder.metrics, folder.model, folder.encoder, folder.scores):
        assert path.is_file(), path
    assert (folder.pictures / f"{task}.png").stat().st_size > 1000
    scores = json.loads(folder.scores.read_text())
    assert scores["step"] == 2
    assert headline in scores["scores"][task]
    model = load(folder.model)
    assert list(model.decoders) == [task]
    assert list(model.config.sources) == [task]


def test_views_are_as_the_settings_say(data, tmp_path, monkeypatch):
    def view_of(task, **changes):
        seen = []
        monkeypatch.setattr(run, "train", lambda module, folder, data, say: seen.append(data))
        finetune(config_of(task, data[task], tmp_path / f"{task}{len(changes)}", **changes), silent)
        (training,) = seen[0].training.values()
        return training.transform

    assert view_of("rotated", cut_rboxes="upright").cut_rboxes == "upright"
    assert view_of("rotated").cut_rboxes == "whole"
    assert view_of("semantic").photometric
    assert not view_of("semantic", photometric=False).photometric
    assert not view_of("scene").photometric  # where colour tells a good deal
    assert view_of("scene", photometric=True).photometric


def test_figures_are_floats_by_name(data, tmp_path):
    result = finetune(config_of("scene", data["scene"], tmp_path / "run"), silent)
    assert set(result.figures) == {
        "scene/accuracy", "scene/mean_class_accuracy", "scene/accuracy/field",
        "scene/accuracy/water",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in result.figures.values())


def test_a_frozen_encoder_stays_as_it_was(data, tmp_path):
    steps = {"freeze_encoder": True, "steps": 3}
    config = config_of("scene", data["scene"], tmp_path / "run", **steps)
    trained = load(finetune(config, silent).folder.model)
    again = config_of("scene", data["scene"], tmp_path / "other", **{**steps, "steps": 1})
    other = load(finetune(again, silent).folder.model)
    for key, value in trained.encoder.state_dict().items():
        assert value.equal(other.encoder.state_dict()[key]), key
    weight = trained.decoders["scene"].classifiers["scene"].weight
    assert not weight.equal(other.decoders["scene"].classifiers["scene"].weight)


@pytest.mark.slow
def test_colours_are_told_apart(tmp_path):
    root = layouts.class_folders(tmp_path / "data", 10)
    changes = {"steps": 30, "batch_size": 8, "learning_rate": 0.01, "photometric": False}
    result = finetune(config_of("scene", root, tmp_path / "run", **changes), silent)
    assert result.figures["scene/accuracy"] >= 0.75


def test_a_transformer_gives_its_maps_as_they_are(data, tmp_path):
    changes = {"encoder": "vit_t_rvsa", "steps": 1, "pictures": 0}
    result = finetune(config_of("change", data["change"], tmp_path / "run", **changes), silent)
    assert load(result.folder.model).encoder.strides == (16, 16, 16, 16)


def test_a_decoder_is_reused_as_far_as_it_fits(data, tmp_path):
    first = finetune(config_of("semantic", data["semantic"], tmp_path / "first"), silent)
    said = []
    changes = {"weights": str(first.folder.model), "reuse_decoder": True, "semantic_channels": 32}
    second = config_of("semantic", data["semantic"], tmp_path / "second", **changes, steps=1)
    result = finetune(second, said.append)
    text = "\n".join(said)
    assert re.search(r"decoder reused: (\d+) of the \1 tensors of its trunk", text)
    assert "starting anew: the classifier of semantic" in text
    before, after = load(first.folder.model), load(result.folder.model)
    assert after.config.semantic_channels == 8
    key = "decoders.semantic.trunk.fpn_bottleneck.conv.weight"
    difference = (before.state_dict()[key] - after.state_dict()[key]).abs().max()
    assert 0 < difference < 1e-3  # one step of warm-up away
    other = config_of("change", data["change"], tmp_path / "third", **changes)
    with pytest.raises(ValueError, match=r"no trunk of a decoder for 'change' .*semantic.*leave"):
        finetune(other, silent)
    encoder_alone = {**changes, "weights": str(first.folder.encoder)}
    with pytest.raises(ValueError, match="holds no whole model of ours"):
        finetune(config_of("semantic", data["semantic"], tmp_path / "f", **encoder_alone), silent)


def test_a_share_of_the_labels_is_trained_on(data, tmp_path):
    said = []
    finetune(
        config_of("scene", data["scene"], tmp_path / "run", train_fraction=0.5, steps=1),
        said.append,
    )
    assert "trained on 5 images, scored on 2" in said


@pytest.mark.slow
def test_a_run_goes_on_where_it_was_stopped(data, tmp_path, monkeypatch, capsys):
    whole = finetune(config_of("scene", data["scene"], tmp_path / "whole", steps=4), silent)
    original = StopBetweenSteps.on_train_batch_end
    asked = []

    def press_ctrl_c(self, trainer, *args, **kwargs):
        if trainer.global_step == 2 and not asked:
            asked.append(True)
            os.kill(os.getpid(), signal.SIGINT)
        original(self, trainer, *args, **kwargs)

    monkeypatch.setattr(StopBetweenSteps, "on_train_batch_end", press_ctrl_c)
    stopped = finetune(config_of("scene", data["scene"], tmp_path / "parts", steps=4), silent)
    assert (stopped.steps, stopped.stopped) == (2, True)
    story = story_of(stopped, "geomtp finetune scene")
    words = re.search(r"geomtp (finetune scene --config \S+ --resume)", story)[1].split()
    assert main(words) == 0, capsys.readouterr().err
    first, second = load(whole.folder.model).state_dict(), load(stopped.folder.model).state_dict()
    for key, value in first.items():
        assert value.equal(second[key]), key


def test_weights_of_losses_that_are_none_are_refused(data, tmp_path):
    def weigh(name, out):
        finetune(
            config_of("scene", data["scene"], tmp_path / out, loss_weights={name: 2.0}), silent
        )

    for number, name in enumerate(("scene", "scene/class", "scene/class/scene", "semantic/pixel")):
        weigh(name, f"right{number}")
    with pytest.raises(ValueError, match="no loss is called 'scene/clas'; known: scene/class"):
        weigh("scene/clas", "wrong")


def test_a_mistake_leaves_no_run_behind(data, tmp_path, capsys):
    words = ["finetune", "change", "--data", str(data["scene"]), "--out", str(tmp_path / "run")]
    assert main(words) == 1
    said = capsys.readouterr()
    assert re.match(r"geomtp: .*must hold a folder with the first date", said.err)
    assert said.err.count("\n") == 1
    assert not RunFolder(tmp_path / "run").config.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scene"], "fine-tuning needs --data"),
        (["scene", "--data", "none"], "none is no folder"),
        (["scene", "--data", "none", "--source", "atlantis"], "unknown source 'atlantis'; known"),
        (["scene", "--train-fraction", "2"], "train_fraction must lie in 0…1, found 2.0"),
        (["scene", "--reuse-decoder"], "reuse_decoder takes the decoder from --weights"),
        (["rotated", "--detector", "retinanet"], "detector is for 'horizontal', and the task is"),
        (["scene", "--cut-rboxes", "upright"], "cut_rboxes is for 'rotated', and the task is 'sc"),
        (["scene", "--learning-rate", "-1"], "learning_rate must be at least 0, found -1.0"),
        (["scene", "--stpes", "3"], "did you mean 'steps'?"),
    ],
)
def test_mistakes_in_one_sentence(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", *words]) == 1
    said = capsys.readouterr()
    assert message in said.err
    assert said.err.count("\n") == 1
