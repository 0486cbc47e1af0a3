"""What is handed in, and every complaint of the checkers."""

import io
import re
import struct
import zipfile
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from geomtp.cli import main
from geomtp.evaluation.dota_submission import write_dota
from geomtp.evaluation.fair1m_conversion import fair1m_from_dota
from geomtp.evaluation.fair1m_submission import write_fair1m
from geomtp.evaluation.loveda_submission import submitted_values
from geomtp.evaluation.official_classes import (
    DOTA_V1,
    DOTA_V2,
    FAIR1M,
    LOVEDA,
    dota_version,
    official_names,
)
from geomtp.evaluation.submission_check import check_submission
from geomtp.evaluation.submission_files import Expected
from geomtp.types import Predictions

HEADING = torch.tensor([[50.0, 40.0, 40.0, 20.0, 0.0]])


def found(labels=(0,), score=0.123456789):
    return Predictions(
        rboxes=HEADING.expand(len(labels), 5),
        rbox_scores=torch.full((len(labels),), score, dtype=torch.float64),
        rbox_labels=torch.tensor(labels, dtype=torch.long),
    )


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def expected(tmp_path, *names, size_hw=(100, 100)):
    return Expected(tmp_path, dict.fromkeys(names, size_hw))


def test_spellings():
    assert [len(names) for names in (DOTA_V1, DOTA_V2, FAIR1M, LOVEDA)] == [15, 18, 37, 7]
    assert official_names(["Large_Vehicle", "ship"], DOTA_V1, "DOTA") == ("large-vehicle", "ship")
    assert official_names(["Passenger-Ship", "other airplane"], FAIR1M, "FAIR1M") == (
        "Passenger Ship", "other-airplane",
    )  # fmt: skip
    assert dota_version(["plane"]) == "1.0"
    assert dota_version(["container crane"]) == "1.5"
    assert dota_version(["ship", "helipad"]) == "2.0"
    with pytest.raises(ValueError, match="DOTA has no class 'lorry'; known: plane"):
        dota_version(["lorry"])
    with pytest.raises(ValueError, match=r"no class 'harbour'; did you mean 'harbor'\?"):
        dota_version(["harbour"])


def test_dota_s_files(tmp_path):
    out = tmp_path / "sub" / "dota.zip"
    scenes = [("test/P1", found((1, 0))), ("test/P2", found(()))]
    assert write_dota(scenes, ["Small Vehicle", "plane"], out) == "1.0"
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == sorted(f"Task1_{name}.txt" for name in DOTA_V1)
        line = archive.read("Task1_plane.txt").decode()
        assert archive.read("Task1_ship.txt") == b""
    name, score, *corners = line.split()
    assert (name, score) == ("P1", "0.123456789")  # not rounded
    assert corners == ["70.00", "50.00", "70.00", "30.00", "30.00", "30.00", "30.00", "50.00"]
    checked = check_submission(out, expected=expected(tmp_path, "P1", "P2"))
    assert checked.complaints == ()
    assert checked.contents == "DOTA 1.0, task 1: 2 objects in 1 of 2 scenes"
    with pytest.raises(ValueError, match="two scenes are called P1"):
        write_dota([("a/P1", found()), ("b/P1", found())], ["plane"], out)


GOOD = "P1 0.5 0 0 9 0 9 9 0 9\n"
DOTA_FAULTS = [
    ({"Task1_plane.txt": None}, "Task1_plane.txt: missing: DOTA 1.0 wants a file of each class"),
    ({"Task1_plan.txt": ""}, "Task1_plan.txt: DOTA has no class 'plan'; did you mean 'plane'?"),
    ({"Task1_large_vehicle.txt": ""}, "has no class 'large_vehicle'; did you mean 'large-vehicle'"),
    ({"out/Task1_plane.txt": ""}, "out/Task1_plane.txt: expected files Task1_CLASS.txt at the top"),
    ({"Task1_plane.txt": "P1 0.5 0 0 9 0 9 9\n"}, "Task1_plane.txt line 1: expected a scene, a "
     "score and four points (eight numbers), found 8 words"),
    ({"Task1_plane.txt": GOOD + GOOD.replace("0.5", "50")}, "Task1_plane.txt line 2: the score "
     "must be a number 0…1, found '50'"),
    ({"Task1_plane.txt": GOOD.replace("9 0", "9 nan")}, "coordinates must be numbers, found 'nan'"),
    ({"Task1_plane.txt": GOOD.replace("P1", "P1__1024__0___0")}, "is the name of a tile"),
    ({"Task1_plane.txt": GOOD.replace("P1", "P1.png")}, "scenes are named without suffix"),
    ({"Task1_plane.txt": GOOD.replace("P1", "P9")}, "P9: no image of that name among the 1 of"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "message"), DOTA_FAULTS)
def test_what_dota_s_server_would_refuse(tmp_path, changes, message):
    files = {f"Task1_{name}.txt": "" for name in DOTA_V1} | {"Task1_ship.txt": GOOD} | changes
    files = {name: text for name, text in files.items() if text is not None}
    path = zipped(tmp_path / "d.zip", files)
    checked = check_submission(path, expected=expected(tmp_path, "P1"))
    assert len(checked.complaints) == 1
    assert message in checked.complaints[0]
    assert "\n" not in checked.complaints[0]


def fair1m_files(tmp_path, **changes):
    out = tmp_path / "fair1m.zip"
    sizes = {"1": (100, 100), "2": (80, 60)}
    scenes = [("test/1", found((0, 1), 0.25))]
    assert write_fair1m(scenes, ["other-airplane", "Passenger-Ship"], sizes, out) == 2
    with zipfile.ZipFile(out) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def test_fair1m_s_files(tmp_path):
    files = fair1m_files(tmp_path)
    assert sorted(files) == ["1.xml", "2.xml"]
    root = ElementTree.fromstring(files["1.xml"])
    assert root.findtext("source/filename") == "1.tif"
    assert [root.findtext(f"size/{tag}") for tag in ("width", "height", "depth")] == [
        "100", "100", "3",
    ]  # fmt: skip
    names = [node.text for node in root.findall("objects/object/possibleresult/name")]
    assert names == ["other-airplane", "Passenger Ship"]
    points = [node.text for node in root.find("objects/object").findall("points/point")]
    assert points == [
        "70.000000,50.000000", "70.000000,30.000000", "30.000000,30.000000",
        "30.000000,50.000000", "70.000000,50.000000",
    ]  # fmt: skip
    assert ElementTree.fromstring(files["2.xml"]).findall("objects/object") == []
    sizes = Expected(tmp_path, {"1": (100, 100), "2": (80, 60)})
    checked = check_submission(tmp_path / "fair1m.zip", expected=sizes)
    assert checked.complaints == ()
    assert checked.contents == "FAIR1M: 2 objects in 2 images"
    with pytest.raises(ValueError, match="the size of 7 is not known"):
        write_fair1m([("7", found())], ["Bus"], {}, tmp_path / "no.zip")


FAIR1M_FAULTS = [
    ("other-airplane", "other airplane", "FAIR1M has no class 'other airplane'; did you mean "
     "'other-airplane'?"),
    ("Passenger Ship", "Passenger-Ship", "1.xml object 2: FAIR1M has no class 'Passenger-Ship'"),
    ("<probability>0.25<", "<probability>25<", "must be a number 0…1, found '25' (and 1 more"),
    ("<point>30.000000,30.000000</point>", "", "expected 5 points, the corners and the first "
     "again, found 4"),
    ("30.000000,30.000000", "30 30", "a point is 'x,y' in pixels, found '30 30'"),
    ("<filename>1.tif", "<filename>1.png", "1.xml: <filename> must be 1.tif, found '1.png'"),
    ("<width>100", "<width>90", "1.xml: <size> says 90 × 100, the image is 100 × 100 px"),
    ("<width>100</width>", "", "<size> must hold <width>, <height> and <depth>"),
    ("<coordinate>pixel", "<coordinate>degree", "<coordinate> must be 'pixel', found 'degree'"),
    ("<type>rectangle", "<type>box", "<type> must be 'rectangle', found 'box'"),
    ("annotation>", "annotations>", "its root must be <annotation>, found <annotations>"),
    ("</annotation>", "", "1.xml: it is no usable xml"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), FAIR1M_FAULTS)
def test_what_fair1m_s_server_would_refuse(tmp_path, old, new, message):
    files = fair1m_files(tmp_path)
    assert old in files["1.xml"]
    path = zipped(tmp_path / "f.zip", {**files, "1.xml": files["1.xml"].replace(old, new)})
    sizes = Expected(tmp_path, {"1": (100, 100), "2": (80, 60)})
    checked = check_submission(path, expected=sizes)
    assert len(checked.complaints) == 1
    assert message in checked.complaints[0]


def test_fair1m_s_files_that_are_missing_or_too_many(tmp_path):
    files = fair1m_files(tmp_path)
    closed = files["1.xml"].rindex("70.000000,50.000000")
    files["1.xml"] = files["1.xml"][:closed] + "1" + files["1.xml"][closed:]
    files["3.xml"] = files.pop("2.xml").replace("2.tif", "3.tif")
    files["readme.md"] = ""
    sizes = Expected(tmp_path, {"1": (100, 100), "2": (80, 60)})
    complaints = check_submission(zipped(tmp_path / "f.zip", files), "fair1m", sizes).complaints
    assert len(complaints) == 4
    assert re.search(r"3\.xml: no image of that name", complaints[1])
    assert "the fifth point must repeat the first" in complaints[0]
    assert "readme.md: expected files IMAGE.xml and no other" in complaints[2]
    assert "2: no xml for 1 of 2 images" in complaints[3]


def test_fair1m_from_dota_as_the_reference_s_script_does(tmp_path, capsys):
    Image.new("RGB", (60, 80)).save(tmp_path / "2.tif")
    Image.new("RGB", (100, 100)).save(tmp_path / "1.tif")
    texts = tmp_path / "txt"
    texts.mkdir()
    (texts / "Task1_other-ship.txt").write_text("1 0.75 0.00 0.00 9.00 0.00 9.00 9.00 0.00 9.00\n")
    (texts / "Task1_Small-Car.txt").write_text("")
    out = tmp_path / "o.zip"
    words = ["evaluate", "fair1m-xml", str(texts), "--images", str(tmp_path), "--out", str(out)]
    assert main(words) == 0
    assert "1 objects in 2 images" in capsys.readouterr().out
    assert check_submission(out, expected=Expected.of_folder(tmp_path)).complaints == ()
    assert main([*words, "--reference-spelling"]) == 0
    with zipfile.ZipFile(out) as archive:
        root = ElementTree.fromstring(archive.read("1.xml"))
    entry = root.find("objects/object")
    assert entry.findtext("possibleresult/name") == "other ship"
    assert entry.findtext("possibleresult/probability") == "0.75"
    assert [p.text for p in entry.findall("points/point")] == [
        f"{x}.000000,{y}.000000" for x, y in ((0, 0), (9, 0), (9, 9), (0, 9), (0, 0))
    ]
    (texts / "Task1_Bus.txt").write_text("5 0.5 0 0 9 0 9 9 0 9\n")
    with pytest.raises(ValueError, match=r"Task1_Bus\.txt line 1: no image '5'"):
        fair1m_from_dota(texts, tmp_path, out)
    (texts / "Task1_Bus.txt").write_text("1 0.5 0 0 9\n")
    with pytest.raises(ValueError, match="expected an image, a score and eight numbers"):
        fair1m_from_dota(texts, tmp_path, out)
    (texts / "Task1_Bus.txt").write_text("1 1.5 0 0 9 0 9 9 0 9\n")
    with pytest.raises(
        ValueError, match=r"would be refused: 1.xml object 1: <probability> must be"
    ):
        fair1m_from_dota(texts, tmp_path, out)


def png(values, mode="L", size=(1024, 1024)):
    pixels = np.zeros((size[1], size[0]), np.uint8)
    pixels.flat[: len(values)] = values
    if min(values) > 0:
        pixels[pixels == 0] = min(values)
    data = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(data, format="PNG")
    return data.getvalue()


def huge_png(side=20_000):
    """A small file that says it holds a picture of this side."""
    data = png([0], size=(1, 1))
    header = b"IHDR" + struct.pack(">II", side, side) + data[24:29]
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


def test_loveda_s_values():
    assert submitted_values(LOVEDA[1:]).tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert submitted_values(LOVEDA).tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    assert submitted_values(["Water", "road"]).tolist() == [0, 3, 2]
    with pytest.raises(ValueError, match="LoveDA has no class 'sand'"):
        submitted_values(["sand"])


LOVEDA_FAULTS = [
    ({"1.png": png([1, 7])}, "1.png: values must be 0…6, found 1…7; they look shifted by one"),
    ({"1.png": png([0, 9])}, "1.png: values must be 0…6, found 0…9"),
    ({"1.png": png([0, 1], "RGB")}, "expected one channel of 8 bits, found mode RGB"),
    ({"1.png": png([0, 1], size=(512, 512))}, "expected 1024 × 1024 px, found 512 × 512"),
    ({"1.png": b"no picture"}, "1.png: it is no usable PNG"),
    ({"1.png": huge_png()}, "1.png: it is no usable PNG: Image size (400000000 pixels)"),
    ({"1.png": None}, "1.png: 1 of 2 images have no picture"),
    ({"3.png": png([0])}, "3.png: no image of that name in"),
    ({"1.tif": b""}, "1.tif: expected files IMAGE.png and no other"),
]


@pytest.mark.parametrize(("changes", "message"), LOVEDA_FAULTS)
def test_what_loveda_s_server_would_refuse(tmp_path, changes, message):
    files = {"1.png": png([0, 6]), "2.png": png([3])} | changes
    path = zipped(tmp_path / "l.zip", {n: d for n, d in files.items() if d is not None})
    images = expected(tmp_path, "1", "2", size_hw=(1024, 1024))
    checked = check_submission(path, "loveda", images)
    assert len(checked.complaints) == 1
    assert message in checked.complaints[0]


def test_the_check_as_it_is_typed(tmp_path, capsys):
    path = zipped(tmp_path / "l.zip", {"1.png": png([0, 6])})
    assert main(["evaluate", "--check-submission", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == ["LoveDA: 1 pictures", "no fault found"]
    zipped(path, {"1.png": png([0, 9])})
    assert main(["evaluate", f"--check-submission={path}", "--submit", "loveda"]) == 1
    assert "geomtp: 1.png: values must be 0…6" in capsys.readouterr().err
    assert main(["evaluate", "--check-submission", str(tmp_path / "none.zip")]) == 1
    assert "does not exist" in capsys.readouterr().err
    path.write_text("text")
    assert main(["evaluate", "--check-submission", str(path)]) == 1
    assert "is neither a zip nor a folder" in capsys.readouterr().err
    zipped(path, {"Task1_plane.txt": GOOD * 500})
    whole = path.read_bytes()
    for damage in (whole[100:], whole[:50] + bytes(b ^ 255 for b in whole[50:70]) + whole[70:]):
        path.write_bytes(damage)
        assert main(["evaluate", "--check-submission", str(path)]) == 1
        assert f"{path} cannot be read as a zip: " in capsys.readouterr().err
    zipped(path, {"a.csv": ""})
    assert main(["evaluate", "--check-submission", str(path)]) == 1
    assert "cannot be told to be a submission" in capsys.readouterr().err
