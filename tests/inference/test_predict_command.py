"""``geomtp predict`` as it is typed, on tiny models with random weights."""

import json
import shutil

import numpy as np
import pyogrio
import pytest
import rasterio
import torch
from PIL import Image
from pyarrow import parquet

from geomtp.cli import main
from geomtp.model import ModelConfig, SourceConfig, build_model, save
from geomtp.types import ClassMap
from tests.inference.scenes import UTM, values_of, write_scene


def model_file(folder, *tasks, std=(50.0,) * 3):
    torch.manual_seed(1)
    classes = ClassMap(("changed",) if tasks == ("change",) else ("house", "tank"))
    config = ModelConfig(
        encoder="test_resnet",
        image_size=64,
        sources={"made": SourceConfig(classes, tasks, (100.0,) * 3, std)},
        semantic_channels=8,
        detector_channels=8,
        fc_channels=16,
        change_channels=(16, 8, 8, 8),
        proposals=20,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save(build_model(config), folder / "model.safetensors")
    return folder / "model.safetensors"


def colours(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 255, (3, height, width), dtype=np.uint8)


def run(capsys, *words):
    status = main(["predict", *map(str, words), "--device", "cpu"])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_semantic_instance_and_rotated_at_once(tmp_path, capsys):
    model = model_file(tmp_path, "semantic", "instance", "rotated")
    scene = write_scene(tmp_path / "scene.tif", colours(90, 130), **UTM)
    out = tmp_path / "maps"
    words = (model, scene, "--out", out, "--score", "0.05", "--overlap", "0.5", "--polygons")
    status, said, wrong = run(capsys, *words)
    assert (status, wrong) == (0, "")
    assert f"wrote {out / 'scene_summary.json'}" in said
    assert "maps  8 of 8 windows" in said
    assert {path.name for path in out.iterdir()} == {
        *(
            "scene_summary.json",
            "scene_preview.png",
            "scene_semantic.tif",
            "scene_semantic.tif.aux.xml",
        ),
        *("scene_semantic.qml", "scene_semantic.gpkg", "scene_instance.gpkg", "scene_instance.qml"),
        *("scene_rotated.gpkg", "scene_rotated.qml"),
    }
    figures = json.loads((out / "scene_summary.json").read_text())
    assert figures["settings"]["window"] == 64
    counts = [entry["pixels"] for entry in figures["semantic"]["classes"].values()]
    assert sum(counts) == 90 * 130
    for task in ("rotated", "instance"):
        info = pyogrio.read_info(out / f"scene_{task}.gpkg")
        assert (
            info["features"] == figures[task]["objects"] == sum(figures[task]["by class"].values())
        )
        assert info["crs"] == "EPSG:32632"
    assert Image.open(out / "scene_preview.png").size == (130, 90)
    status, said, _ = run(capsys, *words)
    assert (status, said) == (0, f"{out / 'scene_summary.json'} is there already: nothing to do\n")
    (out / "scene_rotated.gpkg").unlink()
    assert run(capsys, *words)[0] == 0
    assert (out / "scene_rotated.gpkg").is_file()


def test_pictures_of_a_folder_in_pixels(tmp_path, capsys):
    model = model_file(tmp_path / "run", "horizontal")
    (tmp_path / "images").mkdir()
    for number in range(2):
        picture = Image.fromarray(colours(40, 50, number).transpose(1, 2, 0))
        picture.save(tmp_path / "images" / f"{number}.png")
    out = tmp_path / "maps"
    words = ("--score", "0.05", "--vectors", "parquet", "--preview", "0", "--flips", "horizontal")
    status, said, wrong = run(capsys, model, tmp_path / "images", "--out", out, *words)
    assert (status, wrong) == (0, "")
    assert "0 (1 of 2)" in said
    assert "1 (2 of 2)" in said
    assert {path.suffix for path in out.iterdir()} == {".json", ".parquet", ".qml"}
    table = parquet.read_table(out / "0_horizontal.parquet")
    figures = json.loads((out / "0_summary.json").read_text())
    assert len(table) == figures["horizontal"]["objects"]
    assert {"class", "score", "length_px"} <= set(table.column_names)


def test_two_dates_with_settings_of_the_run_beside_the_model(tmp_path, capsys):
    model = model_file(tmp_path / "run", "change")
    (tmp_path / "run" / "config.yaml").write_text("task: change\nimage_size: 32\n")
    paths = [write_scene(tmp_path / f"{t}.tif", colours(70, 70, t), **UTM) for t in (1, 2)]
    words = ("--bands", "3,2,1", "--precision", "bf16", "--out", tmp_path / "maps")
    status, _, wrong = run(capsys, model, *paths, *words)
    assert (status, wrong) == (0, "")
    figures = json.loads((tmp_path / "maps" / "1--2_summary.json").read_text())
    assert figures["settings"]["window"] == 32
    assert figures["settings"]["bands"] == [3, 2, 1]
    with rasterio.open(tmp_path / "maps" / "1--2_change.tif") as file:
        assert file.shape == (70, 70)
        assert file.colormap(1)[1][:3] == (255, 255, 255)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["scene.tif", "--window", "16"], "a window has at least 32 pixels"),
        (["scene.tif", "--overlap", "0.7"], "overlap is a share of a window from 0 to 0.5"),
        (["scene.tif", "--simplify", "2"], "ask for them by --polygons"),
        (["scene.tif", "--polygons", "--simplify", "-2"], "in metres from 0 on"),
        (["scene.tif", "--score", "30"], "--score is a number from 0 to 1, found 30"),
        (["scene.tif", "--rotated-nms-iou", "-1"], "--rotated-nms-iou is a number from 0 to 1"),
        (["scene.tif", "--out", "cut.png"], "--out names a folder for the results"),
        (["lost.tif"], "lost.tif does not exist"),
        (["cut.png"], "cut.png cannot be read as an image (is it damaged or cut off?)"),
        (["four.tif"], "four.tif has 4 bands"),
        (["scene.tif", "--bands", "1,2,9"], "scene.tif has no band '9'; it has 1 red"),
        (["scene.tif", "--windw", "64"], "did you mean 'window'?"),
        ([], "images"),
    ],
)
def test_mistakes_are_told_in_one_sentence(tmp_path, capsys, monkeypatch, words, complaint):
    monkeypatch.chdir(tmp_path)
    model = model_file(tmp_path, "semantic")
    write_scene(tmp_path / "scene.tif", colours(40, 40), photometric="RGB")
    Image.fromarray(colours(40, 40).transpose(1, 2, 0)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:-99])
    four = np.zeros((4, 40, 40), np.uint16)
    write_scene(tmp_path / "four.tif", four, photometric="MINISBLACK")
    status, _, wrong = run(capsys, model, *words)
    assert status == 1
    assert complaint in wrong
    assert len(wrong.strip().splitlines()) == 1


def test_compiling_without_a_compiler_is_told_in_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    scene = write_scene(tmp_path / "scene.tif", colours(40, 40), photometric="RGB")
    status, _, wrong = run(capsys, model_file(tmp_path, "semantic"), scene, "--compile")
    assert status == 1
    assert "--compile on a CPU needs a C++ compiler" in wrong
    assert len(wrong.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_and_in_bf16_gives_nearly_the_same_map(tmp_path, capsys):
    torch.manual_seed(1)
    source = SourceConfig(ClassMap(("house", "tank")), ("semantic",), (100.0,) * 3, (50.0,) * 3)
    config = ModelConfig("vit_t_rvsa", 64, {"made": source}, semantic_channels=16)
    save(build_model(config), tmp_path / "model.safetensors")
    scene = write_scene(tmp_path / "scene.tif", colours(150, 200))
    maps = {}
    for name, flags in {
        "plain": (),
        "bf16": ("--precision", "bf16"),
        "compiled": ("--compile",),
    }.items():
        out = tmp_path / name
        status, _, wrong = run(capsys, tmp_path / "model.safetensors", scene, *flags, "--out", out)
        assert status == 0, wrong  # which holds a warning of torch's compiler where GPUs are missed
        maps[name] = values_of(out / "scene_semantic.tif")
    assert len(np.unique(maps["plain"])) > 1
    assert (maps["compiled"] == maps["plain"]).mean() > 0.999
    assert 0.9 < (maps["bf16"] == maps["plain"]).mean() < 1


def test_help_has_examples(capsys):
    assert main(["predict", "--help"]) == 0
    assert (
        "geomtp predict runs/roofs/best.safetensors scene.tif --out maps" in capsys.readouterr().out
    )
