"""Small copies of the layouts of annotation formats, made in a temporary folder."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from geomtp.labels import ReadNotes, StoreInfo, read_annotations
from geomtp.types import ClassMap


def image(path, height=100, width=120):
    """A grey picture of the given size."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width), 128, dtype=np.uint8)).save(path)
    return path


def text(path, content):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def read(form, images, annotations, strict=False):
    """The annotations by image, and the report of what was left out."""
    found, notes = read_annotations(form, images, annotations, strict=strict)
    return {item.image: item for item in found}, notes.report(len(found), 0, Counter())


def info(root, *names):
    return StoreInfo("test", ClassMap(names or ("a", "b")), Path(root), (0.0,) * 3, (1.0,) * 3)


def notes():
    return ReadNotes()
