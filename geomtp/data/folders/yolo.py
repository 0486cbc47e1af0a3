"""YOLO's text files in a folder: telling them from DOTA's, and the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.dota import text_lines
from geomtp.labels.readers.yolo_obb import NAME_FILES, find_names, read_class_names

_LEAST_WORDS = 5  # a class index and a box


def is_yolo(texts: Path) -> bool:
    """Whether the first line of the text files below ``texts`` is one of YOLO: numbers alone.

    It is a class index and pairs of coordinates, be they outlines that are not read here. The ninth
    word of DOTA's lines is a class name, and the tenth a difficulty. Without any line the names of
    classes decide, which YOLO needs.
    """
    for path in sorted(texts.rglob("*.txt")):
        if path.name in NAME_FILES:
            continue
        for line in text_lines(path, ReadNotes()) or ():
            if words := line.split():
                is_odd = len(words) >= _LEAST_WORDS and len(words) % 2 == 1
                return is_odd and all(map(_is_number, words))
    return find_names(texts) is not None


def yolo_names(texts: Path, classes: Sequence[str] | None) -> dict[int, str]:
    """The class names by index: those of a file near ``texts``, else ``classes`` in their order.

    Raises FileNotFoundError where there are neither, ValueError for a file of no use.
    """
    file = find_names(texts)
    if file is not None:
        return read_class_names(file)
    if classes:
        return dict(enumerate(classes))
    raise FileNotFoundError(
        f"{texts} holds YOLO's text files but nothing names their classes: put a data.yaml with "
        f"'names: [first, second]' beside the folder, or give --classes first,second"
    )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
