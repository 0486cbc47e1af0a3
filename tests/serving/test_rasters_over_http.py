"""Images come in by upload or from the folder, and nothing else does."""

import io
import json

import numpy as np
import pytest
import rasterio
from PIL import Image

from geomtp.rasters.reading import quiet
from tests.serving.servers import at_once, geotiff, picture, png, served, server, upload


@pytest.fixture
def client(tmp_path):
    with server(tmp_path, at_once, max_upload_mb=1, max_pixels=200_000) as client:
        yield client


def stored(tmp_path):
    return [path for path in (tmp_path / "work").rglob("*") if path.is_file()]


def virtual(path):
    """A VRT that shows the file at ``path``."""
    return (
        '<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{path}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    ).encode()


def jpeg_with(text):
    """A whole grey JPEG that holds ``text`` right after its first marker."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 100).save(buffer, format="JPEG")
    plain = buffer.getvalue()
    text = text.ljust(0x2F2F - 2)  # a length without a zero byte, where readers of text stop
    return plain[:2] + b"\xff\xe1//" + text + plain[2:]


def test_an_upload_is_described(client, tmp_path):
    content = geotiff()
    answer = upload(client, content, "../../Häfen & co.tif")
    raster = answer.json()
    assert answer.status_code == 201
    assert (raster["name"], raster["size_hw"], raster["bands"]) == ("Häfen & co.tif", [96, 128], 3)
    assert raster["view"]["kind"] == "map"
    assert (tmp_path / "work" / "rasters" / raster["id"] / "image").read_bytes() == content
    assert client.get(f"/api/rasters/{raster['id']}").json() == raster
    assert client.get("/api/rasters").json() == [raster]


@pytest.mark.parametrize(
    "content",
    [
        b"not an image",
        b"<html><script>alert(1)</script></html>",
        png()[:200],
        geotiff()[:500],
        b"\x89PNG\r\n\x1a\n",
        b"II*\0" + bytes(50),
        b"PK\x03\x04" + bytes(100),
    ],
    ids=["text", "html", "cut png", "cut tiff", "png mark", "empty tiff", "zip"],
)
def test_what_is_no_image_is_refused_in_a_sentence(client, tmp_path, content):
    answer = upload(client, content, "bad.png")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(("bad.png cannot be read", "bad.png is cut off"))
    assert str(tmp_path) not in answer.text
    assert stored(tmp_path) == []


def test_an_empty_upload_is_refused(client, tmp_path):
    answer = upload(client, b"")
    assert (answer.status_code, stored(tmp_path)) == (400, [])


def test_files_that_name_other_files_are_not_opened(client, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(png(np.full((8, 8, 3), 200, np.uint8)))
    assert upload(client, virtual(secret), "scene.vrt").status_code == 422
    raster = upload(client, jpeg_with(virtual(secret)), "scene.jpg").json()
    shown = client.get(f"/tiles/{raster['id']}/0/0/0.png")
    pixels = np.array(Image.open(io.BytesIO(shown.content)))
    assert pixels[:8, :8, 0].tolist() == [[100] * 8] * 8  # the picture's own grey


def grey_raster(path, side, driver, domain=None, items=None):
    """The bytes of a grey raster with metadata."""
    size = {"width": side, "height": side, "count": 1, "dtype": "uint8"}
    with quiet(), rasterio.open(path, "w", driver=driver, **size) as raster:
        raster.write(np.full((1, side, side), 10, np.uint8))
        if domain:
            raster.update_tags(ns=domain, **items)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("domain", "item"),
    [
        ("OVERVIEWS", "OVERVIEW_FILE"),
        ("overviews", "overview_file"),
        ("GEOLOCATION", "X_DATASET"),
    ],
)
def test_metadata_does_not_lead_to_other_files(client, tmp_path, domain, item):
    secret = tmp_path / "secret.tif"
    secret.write_bytes(geotiff(np.full((100, 100, 3), 222, np.uint8)))
    innocent = "Z" + domain[1:]  # GDAL would not write all of these domains itself
    plain = grey_raster(tmp_path / "plain.tif", 200, "GTiff", innocent, {item: str(secret)})
    assert innocent.encode() in plain
    evil = plain.replace(innocent.encode(), domain.encode())
    answer = upload(client, evil, "evil.tif")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("evil.tif takes pixels from other files")


def test_overviews_of_its_own_are_welcome(tmp_path):
    own = grey_raster(tmp_path / "own.tif", 700, "COG")
    with server(tmp_path, at_once) as client:
        assert upload(client, own).status_code == 201


def test_an_upload_is_bounded_while_it_comes(client, tmp_path):
    sent = 0

    def endless():
        nonlocal sent
        while sent < 50_000_000:
            sent += 100_000
            yield bytes(100_000)

    answer = upload(client, endless())
    assert answer.status_code == 413
    assert "larger than 1 MB" in answer.json()["detail"]
    assert stored(tmp_path) == []


def test_many_pixels_are_refused_by_the_header(client, tmp_path):
    answer = upload(client, png(np.zeros((500, 500, 3), np.uint8)), "wide.png")
    assert answer.status_code == 413
    assert answer.json()["detail"] == (
        "wide.png has 500 × 500 pixels, more than the 200,000 that this server takes (--max_pixels)"
    )
    assert stored(tmp_path) == []


def test_a_full_disk_is_told(tmp_path):
    with server(tmp_path, at_once, max_stored_gb=1e-6) as client:
        assert upload(client, png()).status_code == 201
        answer = upload(client, png())
        assert answer.status_code == 507
        assert "are full" in answer.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["..%2f..%2fsecret", "%2e%2e/%2e%2e/etc/passwd", "0" * 31, "0" * 32, "G" * 32, "%00" * 16],
)
def test_ids_are_no_paths(client, path):
    for address in (f"/api/rasters/{path}", f"/tiles/{path}/0/0/0.png", f"/page/{path}"):
        assert client.get(address).status_code in (404, 422)


def folder_of_images(tmp_path):
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.png").write_bytes(png())
    (folder / "sub" / "b.tif").write_bytes(geotiff())
    (folder / "notes.txt").write_text("secret")
    (folder / "c.vrt").write_bytes(virtual(tmp_path / "outside.png"))
    (tmp_path / "outside.png").write_bytes(png())
    (folder / "out.png").symlink_to(tmp_path / "outside.png")
    (folder / "in.png").symlink_to(folder / "a.png")
    (folder / "up").symlink_to(tmp_path)
    (folder / "circle.png").symlink_to(folder / "circle.png")
    return folder


def test_images_of_the_folder_are_picked(tmp_path):
    with server(tmp_path, at_once, images=folder_of_images(tmp_path)) as client:
        assert client.get("/api/folder").json() == ["a.png", "in.png", "sub/b.tif"]
        raster = client.post("/api/rasters/pick", json={"path": "sub/b.tif"}).json()
        assert (raster["name"], raster["size_hw"]) == ("b.tif", [96, 128])
        again = client.post("/api/rasters/pick", json={"path": "sub/b.tif"}).json()
        assert again["id"] == raster["id"]


@pytest.mark.parametrize(
    "path",
    [
        *("../outside.png", "sub/../../outside.png", "out.png", "up/outside.png", "circle.png"),
        *("notes.txt", "c.vrt", "", "sub", "a.png\0", "/etc/hostname", "gone.png", "x" * 999),
        *(
            "/vsicurl/http://127.0.0.1:1/a.png",
            "http://127.0.0.1:1/a.png",
            "a.png/../../outside.png",
        ),
    ],
)
def test_nothing_outside_the_folder_is_opened(tmp_path, path):
    with server(tmp_path, at_once, images=folder_of_images(tmp_path)) as client:
        answer = client.post("/api/rasters/pick", json={"path": path})
        assert answer.status_code == 404
        assert answer.json()["detail"].startswith("there is no image")
        absolute = client.post("/api/rasters/pick", json={"path": str(tmp_path / "outside.png")})
        assert absolute.status_code == 404


def test_a_picked_image_that_became_a_link_is_not_followed(tmp_path):
    folder = folder_of_images(tmp_path)
    with server(tmp_path, at_once, images=folder) as client:
        raster = client.post("/api/rasters/pick", json={"path": "a.png"}).json()
        (folder / "a.png").unlink()
        (folder / "a.png").symlink_to(tmp_path / "outside.png")
        answer = client.post("/api/jobs", json={"model": "made", "rasters": [raster["id"]]})
        assert answer.status_code == 404


def test_without_a_folder_nothing_is_picked(client):
    answer = client.post("/api/rasters/pick", json={"path": "a.png"})
    assert answer.status_code == 404
    assert client.get("/api/folder").json() == []


def test_images_outlive_the_server(tmp_path):
    with server(tmp_path, at_once) as client:
        raster = upload(client, png()).json()
    half = tmp_path / "work" / "rasters" / ("a" * 32)
    half.mkdir()
    (half / "image").write_bytes(b"half")
    with server(tmp_path, at_once) as client:
        assert client.get("/api/rasters").json() == [raster]
        assert client.get(f"/tiles/{raster['id']}/0/0/0.png").status_code == 200
    assert not half.exists()


def test_old_images_make_room_unless_jobs_need_them(tmp_path):
    with server(tmp_path, at_once, max_kept=2) as client:
        ids = [upload(client, png(picture(seed=n))).json()["id"] for n in range(2)]
        client.post("/api/jobs", json={"model": "made", "rasters": [ids[0]]})
        ids += [upload(client, png(picture(seed=n))).json()["id"] for n in range(2, 4)]
        kept = {raster["id"] for raster in client.get("/api/rasters").json()}
        assert kept == {ids[0], ids[2], ids[3]}


def test_the_interface_describes_itself(client):
    described = json.loads(client.get("/openapi.json").text)
    assert described["paths"]["/api/rasters"]["post"]["summary"] == "Upload"
    assert all(
        "description" in operation
        for path in described["paths"].values()
        for operation in path.values()
    )
    answer = client.post("/api/jobs", json={"model": "made"})
    assert answer.status_code == 422
    assert answer.json()["detail"] == "the request is not as expected: rasters: Field required"


def test_jobs_are_checked_before_they_wait(tmp_path):
    models = {"made": served(), "dates": served("dates", ("change",))}
    with server(tmp_path, at_once, models) as client:
        three = upload(client, png()).json()["id"]
        six = np.linspace(0, 9000, 40 * 40 * 6).reshape(40, 40, 6).astype(np.uint16)
        six = upload(client, geotiff(six), "six.tif").json()["id"]

        def sentence(model, rasters, status, **settings):
            wanted = {"model": model, "rasters": rasters, **settings}
            answer = client.post("/api/jobs", json=wanted)
            assert answer.status_code == status
            return answer.json().get("detail") or answer.json()["note"]

        assert sentence("gone", [three], 404) == "no model 'gone'; known: made, dates"
        assert sentence("made", [three, three], 422) == "made looks at one image at a time"
        assert sentence("dates", [three], 422).startswith("change is seen between two images")
        assert sentence("made", ["0" * 32], 404).startswith("there is no such image")
        assert sentence("made", [six], 422).startswith("six.tif has 6 bands")
        assert "no band 'nir'" in sentence("made", [six], 422, bands=["1", "2", "nir"])
        assert "results will be poor" in sentence("made", [six], 202, bands=["1", "2", "3"])
        assert sentence("made", [six], 202, bands=["1", "2", "3"], stretch=True) is None
        assert sentence("made", [three], 202) is None
        assert "score" in sentence("made", [three], 422, score=2)
