"""Graphs of small models say what the models say; what cannot be exported is told."""

import json
import sys

import pytest
import torch

from geomtp.checkpoints import save_weights
from geomtp.cli import main
from geomtp.encoders.presets import create_encoder
from geomtp.inference.graphs import exporting
from geomtp.inference.graphs.exporting import ExportGraph, compared, export_graph
from geomtp.inference.graphs.graph_facts import ENTRY, GraphFacts
from geomtp.inference.graphs.graph_files import write_onnx
from geomtp.inference.graphs.graphs import EncoderGraph, ModelGraph, Normalisation
from geomtp.inference.graphs.onnx_models import load_onnx, open_session
from geomtp.inference.graphs.tracing import traced
from tests.inference.exports import CLASSES, MEAN, STD, normalised, pixels, saved_model, sizes_of

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def told_by(model, images, source="harbour", after=None):
    """What the model itself says of pixels."""
    after = None if after is None else normalised(after)
    return model.predict(normalised(images), sizes_of(images), source, None, after)


def assert_same(model, graph, images, field, after=None):
    later = None if after is None else normalised(after)
    found = graph.predict(normalised(images), sizes_of(images), "harbour", None, later)
    wanted = told_by(model, images, after=after)
    assert len(found) == len(wanted)
    for ours, theirs in zip(found, wanted, strict=True):
        values = getattr(theirs, field)
        assert values.abs().max() > 0.05
        torch.testing.assert_close(getattr(ours, field), values, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scene")
    model, path = saved_model(folder, ("scene",))
    lines = []
    export_graph(ExportGraph(checkpoint=path, out=folder / "scene.onnx"), lines.append)
    return model, folder / "scene.onnx", lines


def test_the_class_of_an_image_by_onnx_for_any_batch_and_size(scene):
    model, path, _ = scene
    graph = load_onnx(path)
    for count, height, width in ((1, 64, 64), (3, 64, 64), (2, 96, 160)):
        assert_same(model, graph, pixels(count, height, width), "scene_logits")


def test_the_differences_are_printed(scene):
    *_, lines = scene
    assert [line.partition(" px")[0] for line in lines] == [
        "1 × 64 × 64",
        "3 × 64 × 64",
        "2 × 160 × 96",
        "1 × 64 × 64",
    ]
    assert all("largest difference from the model" in line for line in lines)


def test_the_file_tells_what_it_is_for(scene, capsys):
    _, path, _ = scene
    onnx = pytest.importorskip("onnx")
    entries = {prop.key: prop.value for prop in onnx.load(str(path)).metadata_props}
    values = json.loads(entries[ENTRY])
    assert values["classes"]["names"] == list(CLASSES.names)
    assert values["classes"]["palette"] == [list(colour) for colour in CLASSES.palette]
    assert (values["tasks"], values["in_channels"]) == (["scene"], 3)
    assert (values["image_size_hw"], values["any_size"]) == ([64, 64], True)
    assert (values["mean"], values["normalises"]) == (list(MEAN), True)
    assert main(["weights", "inspect", str(path)]) == 0
    assert "gives scene_logits: logits of the classes" in capsys.readouterr().out


def test_torch_export_of_a_graph_for_normalised_images(tmp_path, scene):
    model, *_ = scene
    path = tmp_path / "graph.pt2"
    checkpoint = scene[1].with_name("model.safetensors")
    words = ["--out", str(path), "--no-normalise", "--one-size"]
    assert main(["weights", "export-onnx", str(checkpoint), *words]) == 0
    extra = {ENTRY: ""}
    program = torch.export.load(path, extra_files=extra)
    facts = GraphFacts.from_json(extra[ENTRY])
    assert (facts.any_size, facts.normalises, facts.classes) == (False, False, CLASSES)
    for count in (1, 3):
        images = pixels(count, 64, 64)
        found = program.module()(normalised(images))["scene_logits"]
        wanted = torch.stack([one.scene_logits for one in told_by(model, images)])
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


class Doubled(torch.nn.Module):
    """Stands in for a graph."""

    dates = 1

    def forward(self, images):
        return {"logits": images * 2}


ANY_FACTS = GraphFacts("none", (64, 64), False, 3, False)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda images: {"logits": images[0] * 2.01},
        lambda images: {"logits": images[0] * torch.nan},
        lambda images: {"logits": images[0][:, :2] * 2},
    ],
)
def test_a_graph_that_says_something_else_is_refused(wrong):
    with pytest.raises(ValueError, match="does not say what the model says"):
        list(compared(Doubled(), wrong, ANY_FACTS))


def test_a_graph_within_the_bound_is_accepted():
    near = compared(Doubled(), lambda images: {"logits": images[0] * 2 + 1e-4}, ANY_FACTS)
    assert [line.partition("difference from the model ")[2][:7] for line in near] == ["1.0e-04"] * 2


def test_nothing_is_left_of_a_refused_graph(tmp_path, monkeypatch):
    _, path = saved_model(tmp_path, ("scene",))
    monkeypatch.setitem(
        exporting.WRITERS, "onnx", lambda *_: lambda images: {"scene_logits": images[0]}
    )
    monkeypatch.setattr(exporting, "traced", lambda *_: None)
    with pytest.raises(ValueError, match="nothing written"):
        export_graph(ExportGraph(checkpoint=path, out=tmp_path / "out" / "a.onnx"), str)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "asked", "side"),
    [(None, None, 64), ("evaluation_size: 90", None, 96), ("evaluation_size: 90", 128, 128)],
)
def test_a_graph_is_for_images_as_in_validation(tmp_path, monkeypatch, settings, asked, side):
    _, path = saved_model(tmp_path, ("scene",))
    if settings:
        path.with_name("config.yaml").write_text(settings)
    monkeypatch.setattr(exporting, "traced", lambda *_: None)
    monkeypatch.setattr(exporting, "compared", lambda *_: [])
    monkeypatch.setitem(exporting.WRITERS, "onnx", lambda _, facts, part, dates: part.touch())
    config = ExportGraph(checkpoint=path, out=tmp_path / "a.onnx", image_size=asked)
    assert export_graph(config, str).image_size_hw == (side, side)
    assert config.out.is_file()


@pytest.fixture(scope="module")
def two_sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    return saved_model(folder, ("scene",), sources=("harbour", "lake"))[1]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"out": "graph.pth"}, "ending in .onnx or .pt2, got graph.pth"),
        ({"out": "graph.onnx", "form": "torch_export"}, "ending in .pt2 for torch_export"),
        ({"image_size": 100}, "multiple of 32, at least 64; found 100"),
        ({"image_size": 32}, "multiple of 32, at least 64; found 32"),
        ({"source": "sea"}, "no source 'sea'; known: harbour, lake"),
        ({}, "knows harbour, lake: say by --source"),
    ],
)
def test_settings_that_do_not_do(tmp_path, two_sources, changes, reason):
    given = {"source": None if changes == {} else "harbour", "out": "graph.onnx", **changes}
    config = ExportGraph(checkpoint=two_sources, **{**given, "out": tmp_path / given["out"]})
    with pytest.raises(ValueError, match=reason):
        export_graph(config)


def test_files_that_hold_neither_model_nor_encoder(tmp_path):
    save_weights({"a": torch.zeros(1)}, tmp_path / "a.safetensors", {"kind": "mae"})
    with pytest.raises(ValueError, match="neither a model nor an encoder of ours"):
        export_graph(ExportGraph(checkpoint=tmp_path / "a.safetensors", out=tmp_path / "a.onnx"))


def test_without_the_packages_it_is_said_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ValueError, match=r"package onnxscript .*pip install 'geomtp\[onnx\]'"):
        export_graph(ExportGraph(checkpoint=tmp_path / "a", out=tmp_path / "a.onnx"))


def test_the_module_that_is_traced_says_what_the_model_says(tmp_path):
    model, _ = saved_model(tmp_path, ("semantic", "scene", "change"))
    graph = ModelGraph(model, "harbour", Normalisation(MEAN, STD)).eval()
    before, after = pixels(2, 64, 96), pixels(2, 64, 96, seed=2)
    with torch.no_grad():
        found = graph(before, after)
    wanted = told_by(model, before, after=after)
    assert sorted(found) == ["change_logits", "scene_logits", "semantic_logits"]
    for name, values in found.items():
        stacked = torch.stack([getattr(one, name) for one in wanted])
        torch.testing.assert_close(values, stacked, atol=1e-5, rtol=1e-5)


@pytest.mark.slow
def test_classes_of_pixels_by_a_transformer_of_rotated_windows(tmp_path, capsys):
    model, path = saved_model(tmp_path, ("semantic",), "vit_t_rvsa")
    out = tmp_path / "graph.onnx"
    assert main(["weights", "export-onnx", str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "for images of 64 × 64 px alone: windows or tables" in said
    graph = load_onnx(out)
    for count in (1, 3):
        assert_same(model, graph, pixels(count, 64, 64), "semantic_logits")
    with pytest.raises(ValueError, match="64 × 64 px alone"):
        graph.predict(pixels(1, 96, 64), [(96, 64)], "harbour")


@pytest.mark.slow
def test_change_and_classes_of_pixels_by_a_convolutional_network(tmp_path):
    model, path = saved_model(tmp_path, ("semantic", "change"))
    out = tmp_path / "graph.onnx"
    export_graph(ExportGraph(checkpoint=path, out=out), str)
    graph = load_onnx(out)
    for count, height, width in ((1, 64, 64), (3, 64, 64), (2, 90, 170)):
        before, after = pixels(count, height, width), pixels(count, height, width, seed=2)
        for field in ("semantic_logits", "change_logits"):
            assert_same(model, graph, before, field, after)


@pytest.mark.slow
def test_internimage_samples_its_points_in_a_graph_too(tmp_path):
    from geomtp.encoders.internimage import InternImage

    torch.manual_seed(0)
    encoder = InternImage(width=8, depths=(1, 1, 1, 1), groups=(1, 2, 4, 8)).eval()
    for name, parameter in encoder.named_parameters():
        if ".offset." in name or ".mask." in name:
            torch.nn.init.normal_(parameter, std=0.5)
    names = {f"features_{level}": "" for level in (1, 2, 3, 4)}
    facts = GraphFacts("internimage", (64, 64), True, 3, False, outputs=names)
    graph = EncoderGraph(encoder, Normalisation(None, None)).eval()
    run = write_onnx(traced(graph, facts), facts, tmp_path / "a.onnx", 1)
    images = torch.randn(3, 3, 96, 64)
    with torch.no_grad():
        wanted = encoder(images).levels
    for found, level in zip(run([images]).values(), wanted, strict=True):
        torch.testing.assert_close(found, level, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_a_detector_gives_what_is_raw_and_says_so(tmp_path, capsys):
    model, path = saved_model(tmp_path, ("rotated", "horizontal"))
    out = tmp_path / "graph.onnx"
    assert main(["weights", "export-onnx", str(path), "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "px alone: the anchors of the task rotated and horizontal" in said
    assert "gives rotated_proposal_deltas: raw: corrections of each anchor, not decoded" in said
    images = pixels(3, 64, 64)
    session = open_session(out)
    arrays = session.run(None, {"images": images.numpy()})
    found = {
        o.name: torch.from_numpy(a) for o, a in zip(session.get_outputs(), arrays, strict=True)
    }
    with torch.no_grad():
        pyramid = model.encoder(normalised(images))
        levels = model.decoders["rotated"].trunk.neck(pyramid)
        proposed = model.decoders["rotated"].trunk.rpn_head(levels)
    for index, level in enumerate(levels.levels, start=1):
        torch.testing.assert_close(found[f"rotated_features_{index}"], level, atol=1e-4, rtol=1e-4)
    anchors = torch.cat(proposed.anchors)
    torch.testing.assert_close(found["rotated_anchors"], anchors)
    deltas = torch.cat(proposed.deltas, dim=1)
    assert deltas.shape == (3, len(anchors), 6)
    torch.testing.assert_close(found["rotated_proposal_deltas"], deltas, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="raw outputs for rotated, horizontal, no boxes"):
        load_onnx(out)


@pytest.mark.slow
def test_an_encoder_alone(tmp_path):
    encoder = create_encoder("test_efficientnet", image_size=96, in_channels=4).eval()
    info = {
        "kind": "encoder",
        "encoder": "test_efficientnet",
        "image_size": 96,
        "in_channels": 4,
        "encoder_options": {},
    }
    save_weights(encoder.state_dict(), tmp_path / "encoder.safetensors", info)
    out = tmp_path / "encoder.pt2"
    facts = export_graph(ExportGraph(checkpoint=tmp_path / "encoder.safetensors", out=out), str)
    assert (facts.any_size, facts.normalises, facts.in_channels) == (True, False, 4)
    assert facts.outputs["features_3"].endswith("H/16, W/16)")
    images = torch.randn(2, 4, 128, 64)
    with torch.no_grad():
        wanted = encoder(images).levels
        found = torch.export.load(out).module()(images)
    for index, level in enumerate(wanted, start=1):
        torch.testing.assert_close(found[f"features_{index}"], level, atol=1e-5, rtol=1e-5)
