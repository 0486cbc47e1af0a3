"""The page is whole and asks nothing of others; the command says what is missing."""

import re
import sys
from pathlib import Path

import pytest

import geomtp.serving
from geomtp.commands.serve import serve
from geomtp.serving.serve_config import Serve
from geomtp.serving.served_models import served_models
from tests.serving.servers import at_once, server, write_checkpoint

PAGE = Path(geomtp.serving.__file__).parent / "page"


def test_the_page_and_its_modules_are_served(tmp_path):
    with server(tmp_path, at_once) as client:
        page = client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        wanted = re.findall(r'(?:src|href)="(/[^"#]+)"', page.text)
        assert "/page/main.js" in wanted
        for address in wanted:
            assert client.get(address).status_code == 200
        for module in PAGE.glob("*.js"):
            answer = client.get(f"/page/{module.name}")
            assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
            for other in re.findall(r'from "\./([^"]+)"', answer.text):
                assert client.get(f"/page/{other}").status_code == 200


def test_nothing_of_the_page_is_elsewhere_or_in_line():
    for file in PAGE.iterdir():
        text = file.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert re.findall(r"https?://|//[a-z]+\.", text) == [], file.name
        assert "innerHTML" not in text
    page = (PAGE / "index.html").read_text("utf-8")
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", page)


def test_every_id_that_the_modules_use_is_on_the_page():
    page = (PAGE / "index.html").read_text("utf-8")
    ids = set(re.findall(r'\sid="([^"]+)"', page))
    for module in PAGE.glob("*.js"):
        used = set(re.findall(r'element\("([a-z-]+)"\)', module.read_text("utf-8")))
        assert used <= ids, module.name


def test_models_have_names_that_differ(tmp_path):
    paths = []
    for folder in ("roofs", "ships", "other/ships"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        paths.append(write_checkpoint(tmp_path / folder / "best.safetensors", ("semantic",)))
    models = served_models(paths)
    assert list(models) == ["roofs", "ships (1)", "ships (2)"]
    assert models["roofs"].classes == ("ship", "plane")
    assert (models["roofs"].dates, models["roofs"].channels) == (1, 3)


def test_what_is_no_model_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        served_models([tmp_path / "gone.safetensors"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"checkpoints": ()}, "no model was given"),
        ({"images": Path("gone")}, "--images names a folder of images, gone is none"),
        ({"max_upload_mb": 0}, "--max_upload_mb must be above 0"),
        ({"job_minutes": float("nan")}, "--job_minutes must be above 0"),
        ({"port": 70_000}, "a port is a number"),
        (
            {"checkpoints": (Path("a"), Path("b.onnx")), "precision": "bf16"},
            "b.onnx is a graph, which computes as it was exported",
        ),
    ],
)
def test_settings_are_checked(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        Serve(**{"checkpoints": (Path("a"),), **settings})


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "geomtp.serving.server", raising=False)
    with pytest.raises(ValueError, match=r'uvicorn\): pip install "geomtp\[serve\]"'):
        serve(["model.safetensors"])
