"""Annotation files made to do harm, of every format, from a seed."""

import json
import pickle
import random
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geomtp.rasters import tile_georeference, write_raster
from tests.labels.layouts import image
from tests.labels.readers.test_coco import RLE, coco
from tests.labels.readers.test_dota import LINES as DOTA
from tests.labels.readers.test_geojson import TILE, collection, feature, square
from tests.labels.readers.test_geopackage import UTM, blob, geopackage, on_map
from tests.labels.readers.test_xml_files import DIOR_OBJECT, FAIR1M, annotation, voc_object
from tests.labels.readers.test_xview import feature as xview_feature
from tests.labels.readers.test_yolo_obb import LINES as YOLO

FOREIGN = "../outside/secret"  # an image beside the image folder, without its suffix
WORDS = [b"nan", b"inf", b"-", b"1e400", b"null", b"[]", b"{}", b'"', b"\0", b"\xff", b"<", b"&x;"]
WORDS += [b"../", b"true", b"\xed\xa0\x80", b"\\ud800", b"9" * 400, b"\r", b"\x0b", b"-0"]
HUGE = ["1e308", "-1e308", "1e400", "9" * 400, "9" * 5000, "0." + "1" * 5000]
NOT_FINITE = ["NaN", "nan", "Infinity", "-Infinity", "inf", "-inf"]


@dataclass(frozen=True)
class Hostile:
    """One file: its format, what was done to it, its path below the annotation folder."""

    form: str
    attack: str
    name: str
    content: bytes


def good_files(scratch: Path) -> dict[str, tuple[str, bytes]]:
    """One good file of each format, by name; they belong to the images ``a.png`` and the tile."""
    place = tile_georeference(TILE)
    corners = on_map(square(9, 9, 40), "EPSG:32636"), on_map(square(60, 9, 40), "EPSG:32636")
    rows = [(blob(corner), "hut") for corner in corners]
    package = geopackage(scratch / "good.gpkg", ("huts", 32636, ["geom", "class"], rows))
    objects = [
        {"bbox": [10, 20, 30, 40], "segmentation": [[0, 0, 10, 0, 10, 10]]},
        {"bbox": [50, 60, 30, 10, 0.25], "category_id": 7},
        {"segmentation": {"size": [100, 120], "counts": RLE.decode()}},
    ]
    boxes = [xview_feature("a.png"), xview_feature("a.png", 73, "1,2,30,40")]
    outlines = [
        feature(place, square(9, 9, 40), square(20, 20, 5)),
        feature(place, square(70, 9, 9)),
    ]
    mask = {"size": [100, 120], "counts": RLE.decode()}
    corners = np.array([[9, 9], [49, 9], [49, 49], [9, 49]], dtype=np.float64)
    pickled = [
        {"category": name, "mask": mask, "rbox": corners, "size": np.int64(400)}
        for name in ("plane", "ship")
    ]
    return {
        "coco": ("a.json", json.dumps(coco(objects)).encode()),
        "dior": ("a.xml", annotation(DIOR_OBJECT, voc_object()).encode()),
        "dota": ("a.txt", DOTA.encode()),
        "fair1m": ("a.xml", FAIR1M.encode()),
        "geojson": ("a.geojson", json.dumps(collection(*outlines)).encode()),
        "geopackage": ("a.gpkg", package.read_bytes()),
        "samrs": ("a.pkl", pickle.dumps(pickled, protocol=2)),
        "voc": ("a.xml", annotation(voc_object(), voc_object()).encode()),
        "xview": ("a.geojson", json.dumps({"features": boxes}).encode()),
        "yolo_obb": ("a.txt", YOLO.encode()),
    }


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The content with a few bytes cut out, doubled, overwritten or replaced by a nasty word."""
    for _ in range(rng.choice([1, 1, 2, 4])):
        start = rng.randrange(len(content))
        end = min(len(content), start + rng.randint(1, 12))
        middle = rng.choice(
            [b"", content[start:end] * 2, rng.randbytes(end - start), rng.choice(WORDS)]
        )
        content = content[:start] + middle + content[end:] or b"x"
    return content


def _numbers_replaced(content: bytes, rng: random.Random, words: list[str]) -> bytes:
    return re.sub(
        rb"(?<![\w.\"-])-?\d+(\.\d+)?(?![\w.\"])",
        lambda found: rng.choice(words).encode() if rng.random() < 0.3 else found[0],
        content,
    )


def _recoded(content: bytes, rng: random.Random) -> bytes:
    try:
        text = content.decode().replace("a", "ä")
    except UnicodeDecodeError:
        return content[::-1]
    return text.encode(rng.choice(["utf-16", "utf-32", "latin-1", "utf-7", "cp037"]))


def _nested(form: str, content: bytes, rng: random.Random) -> bytes:
    depth = rng.choice([900, 5_000, 100_000])
    if content.startswith(b"{"):
        opening, closing = rng.choice([("[", "]"), ('{"geometry":', "}")])
        inner = f"{opening * depth}1{closing * depth}".encode()
        return rng.choice([inner, re.sub(rb"\[[\d., -]+\]", lambda _: inner, content, count=1)])
    if b"<annotation>" in content:
        return content.replace(b"<object>", b"<object>" * depth, 1)
    return b"[" * depth + content


def _bomb(content: bytes, rng: random.Random) -> bytes:
    """Entities that grow without end, or that name another file or address."""
    lines = "".join(f'<!ENTITY e{k + 1} "{f"&e{k};" * 10}">' for k in range(12))
    kind = rng.choice(
        [
            f'<!ENTITY e0 "lol">{lines}',
            '<!ENTITY e12 SYSTEM "file:///etc/passwd">',
            '<!ENTITY e12 SYSTEM "http://localhost:9/x">',
            '<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;',
        ]
    )
    body = re.sub(rb"^<\?xml.*?\?>\s*", b"", content)
    body = re.sub(rb"<name>.*?</name>", b"<name>&e12;</name>", body)
    return f"<!DOCTYPE annotation [{kind}]>".encode() + body


def _elsewhere(content: bytes, rng: random.Random) -> bytes:
    """Names of files that lie outside the image folder."""
    name = rng.choice([f"{FOREIGN}.png", "/etc/passwd", "C:\\\\boot.ini", "..", "a.png\\u0000.png"])
    name = rng.choice([name, "x" * 5000 + ".png", "\\ud800.png", f"a/../{FOREIGN}.png", ""])
    content = content.replace(b'"a.png"', f'"{name}"'.encode())
    return content.replace(b"other.tif", name.encode())


def _values_exchanged(content: bytes, rng: random.Random) -> bytes:
    """JSON with values of other types, at random places."""
    try:
        tree = json.loads(content)
    except ValueError:
        return content + rng.randbytes(40)
    others = [None, True, -1, 1e300, "", "x" * 10_000, [], {}, [[]], {"a": {}}, 2**70, "\ud800"]

    def walk(node):
        if rng.random() < 0.08:
            return rng.choice(others)
        if isinstance(node, dict):
            return {key: walk(value) for key, value in node.items()}
        return [walk(value) for value in node] if isinstance(node, list) else node

    return json.dumps({key: walk(value) for key, value in tree.items()}).encode()


def _repeated(content: bytes, rng: random.Random) -> bytes:
    """One long line, or many."""
    return rng.choice([content.replace(b"\n", b" ") * 300, content * 300, b"0 " * 500_000])


ATTACKS = {
    "cut off": lambda form, content, rng: content[: rng.randrange(len(content))],
    "damage": lambda form, content, rng: damaged(content, rng),
    "not finite": lambda form, content, rng: _numbers_replaced(content, rng, NOT_FINITE),
    "huge": lambda form, content, rng: _numbers_replaced(content, rng, HUGE),
    "encoding": lambda form, content, rng: _recoded(content, rng),
    "nesting": _nested,
    "bomb": lambda form, content, rng: _bomb(content, rng),
    "elsewhere": lambda form, content, rng: _elsewhere(content, rng),
    "types": lambda form, content, rng: _values_exchanged(content, rng),
    "length": lambda form, content, rng: _repeated(content, rng),
    "noise": lambda form, content, rng: rng.randbytes(rng.randrange(3000)),
}


def hostile_files(scratch: Path, count: int, seed: int) -> list[Hostile]:
    """``count`` files: formats in turn, attacks in turn, the rest drawn from the seed."""
    rng = random.Random(seed)
    good = good_files(scratch)
    files = []
    for i in range(count):
        form = list(good)[i % len(good)]
        attack = list(ATTACKS)[i // len(good) % len(ATTACKS)]
        name, content = good[form]
        files.append(Hostile(form, attack, name, ATTACKS[attack](form, content, rng)))
    return files


def write_images(folder: Path) -> None:
    """The images that the good files belong to, one for each way of finding them."""
    image(folder / "a.png", 100, 120)
    image(folder / f"{TILE}.png", 256, 256)
    write_raster(folder / "utm.tif", np.zeros((64, 64), np.uint8), UTM)
