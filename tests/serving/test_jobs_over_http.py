"""From an image to layers in files, over HTTP, with a real model in a process of its own."""

import json

import pyogrio
import pytest
from affine import Affine
from rasterio.io import MemoryFile

from tests.serving.servers import ended, geotiff, png, server, upload, write_checkpoint


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("server")
    (folder / "tiny").mkdir()
    checkpoint = write_checkpoint(folder / "tiny" / "best.safetensors")
    with server(folder, checkpoints=(checkpoint,)) as client:
        yield client


def finished(client, content, name, **settings):
    """The id and the results of a job that went well."""
    raster = upload(client, content, name).json()
    wanted = {"model": "tiny", "rasters": [raster["id"]], "score": 0.0, **settings}
    answer = client.post("/api/jobs", json=wanted)
    assert answer.status_code == 202
    job = ended(client, answer.json()["id"])
    assert (job["state"], job["error"]) == ("done", None)
    assert job["windows"][0] == job["windows"][1] > 0
    return job["id"], client.get(f"/api/jobs/{job['id']}/results").json()


def test_a_placed_image_becomes_layers_of_a_map(client, tmp_path):
    job, results = finished(client, geotiff(), "Hafen Süd.tif")
    assert [(la["task"], la["kind"]) for la in results["layers"]] == [
        ("semantic", "map"),
        ("rotated", "objects"),
    ]
    assert {file["name"] for file in results["files"]} == {
        f"Hafen Süd{ending}"
        for ending in (
            *("_summary.json", "_preview.png", "_semantic.tif", "_semantic.qml"),
            *("_rotated.gpkg", "_rotated.qml", "_rotated.geojson"),
        )
    }
    assert results["summary"]["scene"] == "Hafen Süd"
    assert "settings" not in results["summary"]
    tif = client.get(f"/api/jobs/{job}/files/Hafen Süd_semantic.tif").content
    with MemoryFile(tif) as memory, memory.open() as raster:
        assert (raster.crs.to_epsg(), raster.height, raster.width) == (32632, 96, 128)
    answer = client.get(f"/api/jobs/{job}/files/Hafen Süd_rotated.gpkg")
    assert "filename*=utf-8''Hafen%20S%C3%BCd_rotated.gpkg" in answer.headers["content-disposition"]
    (tmp_path / "objects.gpkg").write_bytes(answer.content)
    count = len(pyogrio.read_dataframe(tmp_path / "objects.gpkg"))
    whole = json.loads(client.get(f"/api/jobs/{job}/files/Hafen Süd_rotated.geojson").text)
    shown = client.get(f"/api/jobs/{job}/objects/rotated").json()
    assert count == len(whole["features"]) == len(shown["features"]) == shown["total"] > 0
    scores = [feature["properties"]["score"] for feature in shown["features"]]
    assert scores == sorted(scores, reverse=True)
    for feature in shown["features"]:
        for lon, lat in feature["geometry"]["coordinates"][0]:
            assert (abs(lon - 9) < 0.01, abs(lat - 45.15) < 0.01) == (True, True)


def test_an_image_without_a_place_has_layers_in_pixels(client):
    job, _ = finished(client, png(), "frame.png")
    shown = client.get(f"/api/jobs/{job}/objects/rotated").json()
    corners = [c for f in shown["features"] for c in f["geometry"]["coordinates"][0]]
    assert all(-64 < x < 192 and -64 < y < 160 for x, y in corners)
    assert max(x for x, _ in corners) > 10
    tile = client.get(f"/tiles/jobs/{job}/semantic/0/0/0.png?values=1,2")
    assert (tile.status_code, tile.headers["content-type"]) == (200, "image/png")


def test_a_plan_without_a_place_on_earth_has_no_geojson(client):
    plan = {"crs": 'LOCAL_CS["plan",UNIT["metre",1]]', "transform": Affine(1, 0, 0, 0, -1, 500)}
    job, results = finished(client, geotiff(**plan), "plan.tif")
    kinds = {file["name"].partition("_")[2] for file in results["files"]}
    assert "rotated.gpkg" in kinds
    assert "rotated.geojson" not in kinds
    shown = client.get(f"/api/jobs/{job}/objects/rotated").json()
    assert all(-64 < y < 160 for f in shown["features"] for _, y in f["geometry"]["coordinates"][0])


def test_results_are_not_reached_by_other_names(client):
    job, _ = finished(client, png(), "frame.png")
    for name in ("..%2fjob.json", "image_summary.json", "frame.txt", "%2e%2e", ".frame.work"):
        assert client.get(f"/api/jobs/{job}/files/{name}").status_code == 404
    assert client.get(f"/api/jobs/{job}/objects/semantic").status_code == 404
    assert client.get(f"/tiles/jobs/{job}/rotated/0/0/0.png").status_code == 404
    assert client.get(f"/tiles/jobs/{job}/semantic/9/0/0.png").status_code == 404
