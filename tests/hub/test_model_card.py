"""The model card of a real small run."""

import json

import pytest
import yaml

from geomtp.cli import main
from geomtp.hub import model_card, write_card
from geomtp.hub.card_facts import CardFacts
from geomtp.training.run_folder import RunFolder
from tests.data.folders import layouts

SMALL = [
    "--encoder", "resnet10t", "--image-size", "64", "--batch-size", "2", "--steps", "2",
    "--validate-every", "1", "--workers", "0", "--accelerator", "cpu", "--pictures", "0",
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of fine-tuning that started from another, evaluated."""
    root = tmp_path_factory.mktemp("card")
    data = layouts.class_folders(root / "photos", 6)
    words = ["finetune", "scene", "--data", str(data), *SMALL]
    assert main([*words, "--out", str(root / "first"), "--seed", "1"]) == 0
    start = root / "first" / "encoder.safetensors"
    assert main([*words, "--out", str(root / "run"), "--seed", "7", "--weights", str(start)]) == 0
    model, out = RunFolder(root / "run").model, root / "run" / "val"
    words = ["evaluate", str(model), "--data", str(data), "--out", str(out), "--worst", "0"]
    assert main([*words, "--flips", "horizontal"]) == 0
    return root / "run"


def header_of(card):
    return yaml.safe_load(card.split("---")[1])


def test_the_header_is_what_the_hub_reads(run):
    card = model_card(run / "model.safetensors", licence="cc-by-4.0")
    assert header_of(card) == {
        "license": "cc-by-4.0",
        "library_name": "geomtp",
        "pipeline_tag": "image-classification",
        "tags": ["geomtp", "remote-sensing", "scene", "resnet10t"],
        "datasets": ["photos"],
    }


def test_the_card_tells_what_the_run_folder_knows(run):
    path = run / "model.safetensors"
    card = model_card(path)
    scores = json.loads((run / "scores.json").read_text())
    assert scores["images"] == {"photos": 2}
    accuracy = scores["scores"]["photos"]["scene/accuracy"]
    line = f"| photos | scene/accuracy | {accuracy:.4f} | 2 | val | validation of training at st"
    assert line in card
    result = json.loads((run / "val" / "result.json").read_text())
    value = result["scores"]["scene/accuracy"]
    line = f"| photos | scene/accuracy | {value:.4f} | 2 | val | long side 64 px, whole"
    assert line in card
    assert "flips horizontal" in card
    assert "| 0 | field | #" in card
    for mean in CardFacts.of(path).model.sources["photos"].mean:
        assert f"{mean:.6g}" in card
    assert (
        "1. random weights\n2. fine-tuning for scene, 2 steps, seed 1\n"
        "3. fine-tuning for scene, 2 steps, seed 7\n"
    ) in card
    assert "The licence of these weights: whoever publishes them" in card
    assert "Sensor, resolution and licence of photos." in card
    assert str(run.parent) not in card  # no place of this machine


def test_the_use_that_a_card_shows_works(run, monkeypatch):
    card = model_card(run / "model.safetensors")
    code = card.split("```python\n")[1].split("```")[0]
    names = {}
    exec(code.replace("USER/NAME", str(run)), names)
    assert names["found"].scene_scores.shape == (2,)


def test_the_best_model_has_the_figures_of_its_step(run):
    figures = CardFacts.of(run / "best.safetensors").figures
    metrics = (run / "metrics.csv").read_text().splitlines()
    means = [line.split(",") for line in metrics if ",val/mean," in line]
    best = max(means, key=lambda row: (float(row[2]), -int(row[0])))
    mine = [f for f in figures if f.name == "scene/accuracy" and "training" in f.protocol]
    assert mine[0].value == pytest.approx(float(best[2]))
    assert mine[0].protocol.startswith(f"validation of training at step {best[0]}, the best step")


def test_an_encoder_has_a_card_too_and_says_what_is_not_known(run, tmp_path):
    card = model_card(run / "encoder.safetensors")
    assert header_of(card)["pipeline_tag"] == "image-feature-extraction"
    assert "The encoder alone: `resnet10t`" in card
    assert "--encoder resnet10t --weights weights/encoder.safetensors" in card
    assert "How good they are: no figures of these weights" in card
    alone = tmp_path / "alone" / "model.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((run / "model.safetensors").read_bytes())
    card = model_card(alone)
    assert "How the weights were trained: no settings lie beside the file." in card
    assert "## Training" not in card


def test_the_command_writes_it(run, tmp_path, capsys):
    assert main(["weights", "card", str(run / "best.safetensors"), "--licence", "mit"]) == 0
    assert capsys.readouterr().out == f"{run / 'README.md'}\n"
    assert header_of((run / "README.md").read_text())["license"] == "mit"
    write_card(run / "model.safetensors")  # a card of ours is replaced
    (run / "README.md").write_text("my notes")
    with pytest.raises(ValueError, match=r"README.md is there and is no model card of geomtp"):
        write_card(run / "model.safetensors")
    assert (run / "README.md").read_text() == "my notes"
    assert main(["weights", "card", "none.safetensors"]) == 1
    assert "no weights at none.safetensors" in capsys.readouterr().err
    write_card(run / "model.safetensors", tmp_path / "CARD.md")
    assert (tmp_path / "CARD.md").is_file()
    (run / "README.md").unlink()
