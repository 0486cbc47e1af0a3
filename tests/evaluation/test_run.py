"""The command as it is typed, on small models with random weights and drawn images."""

import hashlib
import json
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.cli import main
from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import validation_loader
from geomtp.data.transforms import EvalTransform
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.evaluation.evaluated_data import source_of
from geomtp.evaluation.run import evaluate as run_evaluation
from geomtp.inference.evaluate import evaluate as validate
from geomtp.inference.training_settings import trained_size_px
from geomtp.labels import ImageLabels, LabelStore, write_store
from geomtp.model import ModelConfig, SourceConfig, build_model, load, save
from geomtp.training.configs import FineTune
from geomtp.training.finetune import finetune
from geomtp.types import ClassMap
from tests.data.folders import layouts
from tests.data.stores import info_of

TASKS = {
    "scene": (layouts.class_folders, ("field", "water"), "scene"),
    "semantic": (layouts.masked_images, ("house",), "semantic"),
    "change": (layouts.pairs, ("changed",), "change"),
    "instance": (layouts.coco, ("house", "tank"), "instance"),
    "horizontal": (layouts.coco, ("house", "tank"), "boxes"),
    "rotated": (layouts.dota, ("house", "tank"), "rotated"),
}


def model_file(folder, task, classes):
    torch.manual_seed(1)
    config = ModelConfig(
        encoder="test_resnet",
        image_size=64,
        sources={"made": SourceConfig(ClassMap(classes), (task,))},
        semantic_channels=8,
        detector_channels=8,
        fc_channels=16,
        change_channels=(16, 8, 8, 8),
        proposals=20,
    )
    save(build_model(config), folder / "model.safetensors")
    return folder / "model.safetensors"


@pytest.mark.parametrize("task", TASKS)
def test_the_command_as_it_is_typed(tmp_path, capsys, task):
    layout, classes, heading = TASKS[task]
    data, out, maps = layout(tmp_path / "data"), tmp_path / "out", tmp_path / "maps"
    model = model_file(tmp_path, task, classes)
    words = ["evaluate", model, "--data", data, "--out", out, "--maps", maps, "--split", "all"]
    done = main([*map(str, words), "--workers", "0", "--worst", "2", "--device", "cpu"])
    said = capsys.readouterr()
    assert done == 0, said.err
    assert str(out / "result.md") in said.out
    result = json.loads((out / "result.json").read_text())
    count = 12 if task == "scene" else 6
    assert result["data"]["images"] == result["data"]["labelled"] == count
    assert result["data"]["split"] == "all"
    assert result["model"]["sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    assert result["protocol"]["in words"] == "its own size, whole, scales 1, flips none"
    assert {"geomtp", "commit", "torch"} <= set(result["software"])
    rows = {row["class"] for row in result["classes"][heading]}
    assert set(classes) <= rows
    confusion = np.array(result["confusion"][heading]["counts"])
    if heading in ("semantic", "change"):
        assert confusion.sum() == count * 48 * 64
    elif heading == "scene":
        assert confusion.sum(axis=1).tolist() == [6, 6]
    else:
        assert confusion[:2].sum(axis=1).tolist() == [6, 6]  # found or not, each object once
    assert [case["picture"] for case in result["worst"]] == ["worst/01.png", "worst/02.png"]
    assert Image.open(out / "worst" / "01.png").width > 64
    figures = [p for p in maps.rglob("*.png") if p.stem[-1].isdigit()]
    assert len(figures) == count
    if heading in ("semantic", "change"):
        path = next(maps.rglob(f"0_{heading}.png"))
        assert np.asarray(Image.open(path)).shape == (48, 64)
    page = (out / "result.md").read_text()
    assert f"## {heading}: each class" in page
    assert f"## {heading}: confusion" in page
    # The same figures as the validation of training.
    store = LabelStore.open(out / "store")
    trained = load(model)
    source = trained.config.sources["made"]
    dataset = StoreDataset(store, EvalTransform(), (task,), mean=source.mean, std=source.std)
    loaders = {"made": validation_loader(dataset, "made")}
    scores = validate(trained, loaders, {"made": store.classes})["made"]
    shared = set(scores) & set(result["scores"])
    assert shared >= {"scene": {"scene/accuracy"}, "rotated": {"rotated/ap50"}}.get(task, set())
    assert shared
    for name in shared:
        want = None if np.isnan(scores[name]) else pytest.approx(scores[name], abs=1e-6)
        assert result["scores"][name] == want, name


def evaluated(folder, data, task, classes, **settings):
    config = {"checkpoint": model_file(folder, task, classes), "data": data, "workers": 0}
    config |= {"out": folder / "out", "device": "cpu", "worst": 1}
    return run_evaluation(Evaluate(**{**config, **settings}), lambda text: None)


def test_windows_scales_and_flips(tmp_path):
    data = layouts.masked_images(tmp_path / "data")
    said = "its own size, windows of 40 px every 26 px, scales 1, 1.5, flips horizontal"
    settings = {"crop": 40, "scales": (1.0, 1.5), "flips": ("horizontal",), "split": "all"}
    result = evaluated(tmp_path, data, "semantic", ("house",), **settings, limit=2)
    assert result.report.facts["protocol"]["in words"] == said
    assert result.report.facts["data"]["images"] == 2
    assert 0 <= result.figures["semantic/miou"] <= 1


def test_the_flags_of_views(tmp_path, capsys):
    data = layouts.masked_images(tmp_path / "data", count=2)
    model = model_file(tmp_path, "semantic", ("house",))
    words = ["evaluate", model, "--data", data, "--out", tmp_path / "o", "--split", "all"]
    flags = ["--scales", "0.5,1", "--flips", "vertical,diagonal", "--image-size", "32"]
    assert main([*map(str, words), *flags, "--workers", "0"]) == 0
    said = "long side 32 px, whole, scales 0.5, 1, flips vertical, diagonal"
    assert said in capsys.readouterr().out
    assert main([*map(str, words), "--task", "scene"]) == 1
    assert "the model has no task 'scene', only semantic" in capsys.readouterr().err


def test_tiles_become_a_submission_to_dota(tmp_path):
    for x in (0, 40):
        layouts.picture(tmp_path / "tiles" / f"P1__64__{x}___0.png")
    layouts.picture(tmp_path / "tiles" / "P2.png")
    settings = {"submit": "dota", "scenes": tmp_path / "scenes"}
    for name in ("P1", "P2"):
        layouts.picture(tmp_path / "scenes" / f"{name}.png", size_hw=(48, 104))
    result = evaluated(tmp_path, tmp_path / "tiles", "rotated", ("ship", "plane"), **settings)
    assert result.figures == {}  # nothing is labelled
    out = tmp_path / "out" / "submission_dota.zip"
    assert result.submission.startswith(f"{out}: DOTA 1.0, task 1: ")
    assert result.report.remarks == ["3 of 3 images have no labels and are not scored."]
    with zipfile.ZipFile(out) as archive:
        lines = archive.read("Task1_ship.txt").decode().splitlines()
    assert {line.split()[0] for line in lines} <= {"P1", "P2"}


def test_a_submission_to_fair1m_has_a_file_for_every_scene(tmp_path):
    layouts.picture(tmp_path / "tiles" / "7__64__0___0.png")
    for name in ("7", "8"):
        layouts.picture(tmp_path / "scenes" / f"{name}.tif", size_hw=(48, 64))
    settings = {"submit": "fair1m", "scenes": tmp_path / "scenes"}
    evaluated(tmp_path, tmp_path / "tiles", "rotated", ("Small-Car", "other-ship"), **settings)
    with zipfile.ZipFile(tmp_path / "out" / "submission_fair1m.zip") as archive:
        assert sorted(archive.namelist()) == ["7.xml", "8.xml"]
        assert b"<height>48</height>" in archive.read("7.xml")


def test_a_submission_to_loveda(tmp_path):
    layouts.picture(tmp_path / "test" / "5.png")
    names = ("building", "road", "water", "barren", "forest", "agricultural")
    result = evaluated(tmp_path, tmp_path / "test", "semantic", names, submit="loveda")
    assert result.submission.endswith("LoveDA: 1 pictures")
    with zipfile.ZipFile(tmp_path / "out" / "submission_loveda.zip") as archive:
        assert archive.namelist() == ["5.png"]


MISTAKES = [
    ({}, ("boat",), "only the model has boat; only the data have house"),
    ({"submit": "dota"}, ("house",), "needs a model with the task 'rotated'; this one has semant"),
    ({"centre": 32}, ("house",), "--centre leaves out the border, which semantic is scored on"),
    ({"submit": "loveda"}, ("house",), "LoveDA has no class 'house'"),
    ({"classes_of": "other"}, ("house",), "knows no source 'other'; known: made"),
    ({"split": "test"}, ("house",), r"no images in its 'test' split, only .*--split all"),
    ({"device": "nonsense"}, ("house",), "cannot compute on device 'nonsense'"),
    ({"source": "nonsense"}, ("house",), "unknown source 'nonsense'; known: "),
    ({"scenes": "somewhere"}, ("house",), "give --submit; the label files to score by are --scene"),
    ({"submit": "loveda", "scenes": "x"}, ("house",), "a submission to dota or fair1m is about"),
    ({"image_size": 0}, ("house",), "size_px must be at least 1, found 0"),
    ({"windows_at_once": 0}, ("house",), "windows_at_once must be at least 1, found 0"),
    ({"rotated_nms_iou": 7.0}, ("house",), "rotated_nms_iou must lie in 0…1, found 7.0"),
]


@pytest.mark.parametrize(("settings", "classes", "message"), MISTAKES)
def test_mistakes_are_told_in_a_sentence(tmp_path, settings, classes, message):
    data = layouts.masked_images(tmp_path / "data", count=3)
    if classes == ("boat",):  # a store that says its classes
        info = replace(info_of(data), classes=ClassMap(("house",)))
        row = ImageLabels("images/0.png", (48, 64), "val", semantic="masks/0.png")
        write_store(data, [row], info)
    with pytest.raises(ValueError, match=message):
        evaluated(tmp_path, data, "semantic", classes, **settings)


def test_whose_classes_are_meant(tmp_path):
    model = SimpleNamespace(config=SimpleNamespace(sources={"town": None, "harbour": None}))
    config = Evaluate(checkpoint="m", data=tmp_path)
    with pytest.raises(ValueError, match="knows town, harbour: say by --classes-of whose"):
        source_of(config, model)
    assert source_of(replace(config, classes_of="town"), model) == "town"
    assert source_of(replace(config, source="harbour"), model) == "harbour"
    layouts.picture(tmp_path / "0.png")
    info = replace(info_of(tmp_path), source="harbour")
    write_store(tmp_path, [ImageLabels("0.png", (48, 64))], info)
    assert source_of(config, model) == "harbour"


def test_images_without_labels_are_not_scored(tmp_path):
    layouts.picture(tmp_path / "test" / "5.png")
    with pytest.raises(ValueError, match="the 1 images have no labels for scene: there is nothing"):
        evaluated(tmp_path, tmp_path / "test", "scene", ("a", "b"))
    with pytest.raises(FileNotFoundError, match="is no folder"):
        evaluated(tmp_path, tmp_path / "nowhere", "scene", ("a", "b"))


def test_the_size_that_training_validated_at():
    assert trained_size_px({}) is None
    run = {"task": "scene", "image_size": 64, "resize_relative_to": "crop"}
    assert trained_size_px(run) == 64
    assert trained_size_px({**run, "evaluation_size": 96}) == 96
    assert trained_size_px({**run, "resize_relative_to": "image"}) is None
    config = Evaluate(checkpoint="m", data="d")
    assert config.protocol(64).size_px == 64
    assert Evaluate(checkpoint="m", data="d", crop=32).protocol(64).size_px is None
    assert Evaluate(checkpoint="m", data="d", crop=32).protocol(64).stride_px == 21
    assert Evaluate(checkpoint="m", data="d", image_size="own").protocol(64).size_px is None
    with pytest.raises(ValueError, match="give --crop too"):
        Evaluate(checkpoint="m", data="d", stride=32)


def test_a_fine_tuned_model_scores_as_its_training_validated(tmp_path):
    data, run = layouts.masked_images(tmp_path / "data"), tmp_path / "run"
    small = {"encoder": "test_resnet", "semantic_channels": 8, "batch_size": 2, "workers": 0}
    finetune(
        FineTune(task="semantic", data=data, out=run, image_size=96, steps=1, pictures=0, **small),
        lambda text: None,
    )
    (scores,) = json.loads((run / "scores.json").read_text())["scores"].values()
    config = Evaluate(checkpoint=run / "model.safetensors", data=data, out=tmp_path / "o")
    result = run_evaluation(replace(config, workers=0), lambda text: None)
    assert result.report.facts["protocol"]["size_px"] == 96
    assert result.report.facts["model"]["training seed"] == 2023
    assert result.report.facts["data"]["images"] == 1  # the share that training held out
    for name, value in result.figures.items():
        assert value == pytest.approx(scores[name], abs=1e-6, nan_ok=True)
