"""Probes: votes by hand, the best linear layer, and the command."""

import json

import pytest
import torch
import torch.nn.functional as F

from geomtp.cli import main
from geomtp.model import load
from geomtp.training.probe import Features, fit_linear, image_features, nearest_neighbours
from geomtp.training.run_folder import RunFolder
from geomtp.types import Batch, FeaturePyramid, Targets
from tests.data.folders import layouts

DIRECTIONS = torch.tensor([[1.0, 0], [4, 0.4], [0, 2], [0.1, 1], [-1, 0]])
KNOWN = Features(DIRECTIONS, torch.tensor([2, 2, 0, 0, 1]))


def test_neighbours_vote_by_their_cosine():
    queries = torch.tensor([[9.0, 0], [0, 0.1], [-3, -0.1]])
    assert nearest_neighbours(KNOWN, queries, 1, 3).tolist() == [2, 0, 1]
    # A near neighbour outvotes four far ones, and more are asked for than there are.
    assert nearest_neighbours(KNOWN, queries, 99, 3).tolist() == [2, 0, 1]
    pair = Features(torch.tensor([[1.0, 0], [0.8, 0.6], [0.8, -0.6]]), torch.tensor([0, 1, 1]))
    found = nearest_neighbours(pair, torch.tensor([[0.999, 0.0]]), 3, 2)
    assert found.tolist() == [0]  # exp(-0.2 / 0.07) = 0.06, twice, against 1
    equal = Features(torch.tensor([[0.0, 1], [1, 0], [1, 0]]), torch.tensor([0, 1, 1]))
    assert nearest_neighbours(equal, torch.tensor([[1.0, 1]]), 3, 2).tolist() == [1]


def test_the_linear_layer_is_the_best_of_its_objective():
    generator = torch.Generator().manual_seed(0)
    classes = torch.arange(60) % 3
    values = torch.randn(60, 4, generator=generator) * torch.tensor([1.0, 50, 0.1, 1]) + 7
    values[:, 1] += 30 * classes
    weight, bias = fit_linear(Features(values, classes), 3)
    # Against plain gradient descent on the objective as it is written.
    x = values.double()
    x = (x - x.mean(0)) / x.std(0, correction=0)
    w, b = torch.zeros(3, 4).double().requires_grad_(), torch.zeros(3).double().requires_grad_()
    descent = torch.optim.SGD([w, b], lr=0.5)
    for _ in range(2000):
        descent.zero_grad()
        loss = F.cross_entropy(x @ w.T + b, classes, reduction="sum") + w.square().sum() / 2
        (loss / 60).backward()
        descent.step()
    torch.testing.assert_close(
        F.linear(values, weight, bias).softmax(1),
        (x @ w.T + b).softmax(1).float().detach(),
        rtol=1e-4,
        atol=1e-4,
    )


def test_features_are_those_of_the_image_alone():
    def encoder(images):
        return FeaturePyramid((images[:, :, ::2, ::2], images[:, :, ::4, ::4]), (2, 4))

    images = torch.zeros(3, 1, 8, 8)
    images[:, :, :4] = torch.tensor([1.0, 2, 3])[:, None, None, None]
    targets = (Targets(scene_class=4), Targets(), Targets(scene_class=0))
    batch = Batch(images, targets, ((4, 8), (4, 8), (8, 8)), "land")
    found = image_features(encoder, [batch])
    assert found.values.tolist() == [[1], [1.5]]
    assert found.classes.tolist() == [4, 0]
    with pytest.raises(ValueError, match="images with a class, found none"):
        image_features(encoder, [])


def test_the_command_scores_and_writes_a_model(tmp_path, capsys):
    data = layouts.class_folders(tmp_path / "land", 8)
    out = RunFolder(tmp_path / "run")
    words = ["finetune", "scene", "--data", str(data), "--out", str(out.path), "--probe", "true"]
    words += ["--encoder", "test_resnet", "--image-size", "64", "--accelerator", "cpu"]
    words += ["--workers", "0", "--neighbours", "3", "--pictures", "1"]
    done = main(words)
    said = capsys.readouterr()
    assert done == 0, said.err
    assert "accuracy of the 3 nearest neighbours 1.000" in said.out
    scores = json.loads(out.scores.read_text())["scores"]["land"]
    # Colours so far apart are told by features that were never trained.
    assert scores["scene/knn_accuracy"] == scores["scene/accuracy"] == 1
    assert scores["scene/accuracy/water"] == 1
    assert load(out.model).decoders["scene"].classifiers["land"].weight.abs().sum() > 0
    assert out.encoder.is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["semantic", "--probe", "true"], "its task is 'scene', found 'semantic'"),
        (["scene", "--probe", "true", "--devices", "2"], "a probe runs at once on one device"),
        (["scene", "--probe", "true", "--neighbours", "0"], "neighbours must be at least 1"),
    ],
)
def test_mistakes_in_one_sentence(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert main(["finetune", *words]) == 1
    assert message in capsys.readouterr().err
