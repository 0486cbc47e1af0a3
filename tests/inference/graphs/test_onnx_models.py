"""ONNX files as models: graphs made by hand whose answers are known, and files that are none."""

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from geomtp.cli import main
from geomtp.inference.graphs.graph_facts import ENTRY, GraphFacts
from geomtp.inference.graphs.onnx_models import load_onnx
from geomtp.model import SourceConfig
from geomtp.types import ClassMap

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CLASSES = ClassMap(("ship", "plane"))


def facts(output, tasks, **changes):
    values = {
        "encoder": "none",
        "image_size_hw": (64, 64),
        "any_size": False,
        "in_channels": 3,
        "normalises": True,
        "mean": (10.0, 20.0, 30.0),
        "std": (2.0, 3.0, 4.0),
        "source": "harbour",
        "tasks": tasks,
        "classes": CLASSES,
        "outputs": {output: ""},
    }
    return GraphFacts(**{**values, **changes})


def written(path, node, inputs, output, entries):
    """A graph of one node."""
    sides = ["batch", 3, "height", "width"]
    image = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [node],
        "by_hand",
        [onnx.helper.make_tensor_value_info(name, image, sides) for name in inputs],
        [onnx.helper.make_tensor_value_info(output, image, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)])
    model.ir_version = 8
    onnx.helper.set_model_props(model, entries)
    onnx.save_model(model, str(path))
    return path


def segmenter(path, **changes):
    """Logits are the three channels, as they come in."""
    node = onnx.helper.make_node("Identity", ["images"], ["semantic_logits"])
    entry = facts("semantic_logits", ("semantic",), **changes).to_json()
    return written(path, node, ["images"], "semantic_logits", {ENTRY: entry})


def test_a_model_tells_what_it_is_for(tmp_path):
    model = load_onnx(segmenter(tmp_path / "a.onnx"))
    assert model.tasks_of("harbour") == ["semantic"]
    assert model.config.image_size == 64
    wanted = SourceConfig(CLASSES, ("semantic",), mean=(10.0, 20.0, 30.0), std=(2.0, 3.0, 4.0))
    assert model.config.sources == {"harbour": wanted}
    with pytest.raises(ValueError, match="'sea'; known: harbour"):
        model.tasks_of("sea")


def test_a_graph_that_normalises_gets_images_as_they_were(tmp_path):
    model = load_onnx(segmenter(tmp_path / "a.onnx"))
    found = model.predict(torch.ones(1, 3, 64, 64), [(64, 64)], "harbour")[0].semantic_logits
    assert found.flatten(1).unique(dim=1).flatten().tolist() == [12, 23, 34]


def test_maps_are_cut_to_their_images_and_brought_to_the_size_asked_for(tmp_path):
    model = load_onnx(segmenter(tmp_path / "a.onnx", normalises=False))
    images = torch.arange(64.0).expand(2, 3, 40, 64)
    first, second = model.predict(images, [(40, 64), (8, 4)], "harbour", [(40, 64), (16, 8)])
    assert first.semantic_logits.equal(images[0])
    doubled = torch.tensor([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    torch.testing.assert_close(second.semantic_logits, doubled.expand(3, 16, 8))


@pytest.mark.parametrize(
    ("normalises", "inside", "padding"),
    [(True, [12, 23, 34], [10, 20, 30]), (False, [1, 1, 1], [0, 0, 0])],
)
def test_padding_is_what_is_zero_once_normalised(tmp_path, normalises, inside, padding):
    model = load_onnx(segmenter(tmp_path / "a.onnx", normalises=normalises))
    found = model.predict(torch.ones(1, 3, 40, 50), [(64, 64)], "harbour")[0].semantic_logits
    wanted = torch.tensor(padding)[:, None, None].repeat(1, 64, 64)
    wanted[:, :40, :50] = torch.tensor(inside)[:, None, None]
    assert found.equal(wanted.float())


def test_a_scene_is_mapped_by_an_onnx_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 100, 150), dtype=np.uint8)
    grid = {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_000_000, 0.5, 0.5)}
    size = {"width": 150, "height": 100, "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "scene.tif", "w", driver="GTiff", **size, **grid) as file:
        file.write(pixels)
    graph = segmenter(tmp_path / "a.onnx")
    words = [str(graph), str(tmp_path / "scene.tif"), "--out", str(tmp_path / "out")]
    assert main(["predict", *words]) == 0
    with rasterio.open(tmp_path / "out" / "scene_semantic.tif") as file:
        assert (file.crs, file.transform) == (grid["crs"], grid["transform"])
        np.testing.assert_array_equal(file.read(1), pixels.argmax(axis=0))


@pytest.mark.parametrize("flags", [["--precision", "bf16"], ["--compile"]])
def test_a_graph_computes_as_it_was_exported(tmp_path, capsys, flags):
    assert main(["predict", str(tmp_path / "a.onnx"), "scene.tif", *flags]) == 1
    assert "a.onnx is a graph, which computes as it was exported" in capsys.readouterr().err


def test_change_is_told_of_two_dates(tmp_path):
    node = onnx.helper.make_node("Sub", ["images_after", "images"], ["change_logits"])
    entry = facts("change_logits", ("change",), normalises=False).to_json()
    names = ["images", "images_after"]
    model = load_onnx(written(tmp_path / "a.onnx", node, names, "change_logits", {ENTRY: entry}))
    before, after = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    found = model.predict(before, [(64, 64)] * 2, "harbour", None, after)
    assert torch.stack([image.change_logits for image in found]).equal(after - before)
    with pytest.raises(ValueError, match="second date"):
        model.predict(before, [(64, 64)] * 2, "harbour")


def test_classes_of_whole_images_are_not_told_of_padded_ones(tmp_path):
    node = onnx.helper.make_node("ReduceMax", ["images"], ["scene_logits"], keepdims=0)
    node.input.append("axes")
    path = tmp_path / "a.onnx"
    entry = facts("scene_logits", ("scene",), normalises=False).to_json()
    written(path, node, ["images"], "scene_logits", {ENTRY: entry})
    graph = onnx.load(str(path))
    graph.graph.initializer.append(
        onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [2, 3])
    )
    onnx.save_model(graph, str(path))
    model = load_onnx(path)
    images = torch.rand(2, 3, 64, 64)
    found = model.predict(images, [(64, 64)] * 2, "harbour")
    assert torch.stack([image.scene_logits for image in found]).equal(images.amax(dim=(2, 3)))
    for size_hw in ((64, 60), (32, 64)):
        with pytest.raises(ValueError, match="without padding"):
            model.predict(images[..., : size_hw[0], : size_hw[1]], [size_hw] * 2, "harbour")


def test_other_images_are_refused(tmp_path):
    model = load_onnx(segmenter(tmp_path / "a.onnx"))
    with pytest.raises(ValueError, match="3 channels, found 4"):
        model.predict(torch.rand(1, 4, 64, 64), [(64, 64)], "harbour")
    with pytest.raises(ValueError, match="64 × 64 px alone, found 96 × 64"):
        model.predict(torch.rand(1, 3, 64, 96), [(64, 96)], "harbour")


def test_a_graph_that_stops_is_told_in_one_sentence(tmp_path):
    node = onnx.helper.make_node("Sub", ["images", "missing"], ["semantic_logits"])
    entry = facts("semantic_logits", ("semantic",)).to_json()
    path = tmp_path / "a.onnx"
    written(path, node, ["images"], "semantic_logits", {ENTRY: entry})
    graph = onnx.load(str(path))
    graph.graph.initializer.append(
        onnx.helper.make_tensor("missing", onnx.TensorProto.FLOAT, [7], [0.0] * 7)
    )
    onnx.save_model(graph, str(path))
    with pytest.raises(ValueError, match="cannot be run on these images") as raised:
        load_onnx(path).predict(torch.rand(1, 3, 64, 64), [(64, 64)], "harbour")
    assert "\n" not in str(raised.value)


def test_files_that_are_none_are_refused_in_one_sentence(tmp_path):
    path = tmp_path / "a.onnx"
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_onnx(path)
    whole = segmenter(tmp_path / "whole.onnx").read_bytes()
    for content in (b"", b"no graph", whole[: len(whole) // 2], b"\xff" * 5000):
        path.write_bytes(content)
        with pytest.raises(ValueError) as raised:
            load_onnx(path)
        assert str(path) in str(raised.value)
        assert "\n" not in str(raised.value)


def test_graphs_of_others_are_refused(tmp_path):
    node = onnx.helper.make_node("Identity", ["images"], ["semantic_logits"])
    for entries, reason in (
        ({}, "was not written by geomtp"),
        ({ENTRY: "{}"}, "description is not geomtp's"),
        ({ENTRY: facts("scene_logits", ("scene",)).to_json()}, "not those it tells of"),
    ):
        path = written(tmp_path / "a.onnx", node, ["images"], "semantic_logits", entries)
        with pytest.raises(ValueError, match=reason):
            load_onnx(path)


@pytest.mark.parametrize(
    ("tasks", "reason"), [((), "an encoder alone"), (("rotated",), "raw outputs for rotated")]
)
def test_graphs_without_predictions_are_refused(tmp_path, tasks, reason):
    node = onnx.helper.make_node("Identity", ["images"], ["features_1"])
    entry = facts("features_1", tasks).to_json()
    path = written(tmp_path / "a.onnx", node, ["images"], "features_1", {ENTRY: entry})
    with pytest.raises(ValueError, match=reason):
        load_onnx(path)


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="cannot compute on device 'abacus'"):
        load_onnx(segmenter(tmp_path / "a.onnx"), device="abacus")


def test_without_the_package_it_is_said_how_to_get_it(tmp_path, monkeypatch):
    path = segmenter(tmp_path / "a.onnx")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"pip install 'geomtp\[onnx\]'"):
        load_onnx(path)
