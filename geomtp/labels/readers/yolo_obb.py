"""YOLO text files: a class index and a quadrilateral or a box in fractions of the image a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.labels.annotations import AnnotatedObject, Annotations, ring_of
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.dota import text_lines
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.readers.mapping_files import read_mapping
from geomtp.types import SizeHW

NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "classes.txt", "names.txt", "obj.names")
"""Where class names are looked for, in the annotation folder and the two folders above it."""

_FARTHEST = 2.0  # sides of the image; what lies farther off was surely not normalised


def read_yolo_obb(
    images: Path,
    annotations: Path,
    notes: ReadNotes,
    *,
    names: Path | Mapping[int, str] | None = None,
    stop_at_unnamed: bool = False,
) -> Iterator[Annotations]:
    """One ``Annotations`` per txt file below the folder ``annotations``, sorted by path.

    A line holds the class index (from 0) and x1 y1 x2 y2 x3 y3 x4 y4, or the upright box cx cy w h,
    in fractions of the image's width and height. A file belongs to the image with the same relative
    path but for the suffix.

    - names: by index; a text file with one name a line, or a YAML with the list or mapping "names";
      without it the first of ``NAME_FILES`` is taken
    - stop_at_unnamed: a class index without a name stops the reading instead of being noted, for it
      shows that the names belong to other files

    Raises FileNotFoundError for a missing folder or where no names are found, ValueError for
    unusable names.
    """
    folder = ImageFolder(images, notes)
    if isinstance(names, Mapping):
        class_names = dict(names)
    else:
        class_names = read_class_names(names or _names_file(annotations))
    for path, image, size_hw in folder.annotated(annotations, ".txt", passed_over=NAME_FILES):
        lines = text_lines(path, notes)
        if lines is None:
            continue
        objects = []
        for number, line in enumerate(lines, start=1):
            where = f"{path.name} line {number}"
            try:
                if words := line.split():
                    objects.append(_object(words, where, class_names, size_hw))
            except UnnamedClassError as error:
                if stop_at_unnamed:
                    raise ValueError(f"{path}, line {number}: {error}") from error
                notes.malformed(where, str(error))
            except ValueError as error:
                notes.malformed(where, str(error))
        yield Annotations(image, size_hw, tuple(objects))


class UnnamedClassError(ValueError):
    """A class index that has no name."""


def _object(
    words: list[str], where: str, class_names: dict[int, str], size_hw: SizeHW
) -> AnnotatedObject:
    if len(words) not in (5, 9):
        raise ValueError(
            f"expected a class index and eight coordinates, or four of a box, found {len(words)} "
            f"words"
        )
    try:
        index, *fractions = (float(word) for word in words)
    except ValueError as error:
        raise ValueError(
            f"expected {len(words)} numbers, found {' '.join(words)[:80]!r}"
        ) from error
    if index not in class_names:
        raise UnnamedClassError(
            f"the class index {words[0]} has no name; known: {_range(class_names)}"
        )
    if not (np.abs(fractions) <= _FARTHEST).all():  # also for NaN
        raise ValueError(
            f"coordinates must be fractions of the image's width and height, found "
            f"{' '.join(words[1:])[:80]!r}"
        )
    height, width = size_hw
    name = class_names[int(index)]
    if len(fractions) == 4:
        x, y, w, h = fractions
        sides = (
            (x - w / 2) * width,
            (y - h / 2) * height,
            (x + w / 2) * width,
            (y + h / 2) * height,
        )
        return AnnotatedObject(name, where, box_xyxy=sides)
    quad = ring_of(fractions) * (width, height)
    return AnnotatedObject(name, where, polygons=((quad,),))


def _range(class_names: dict[int, str]) -> str:
    return f"{min(class_names)}…{max(class_names)}"


def find_names(annotations: Path) -> Path | None:
    """The first of ``NAME_FILES`` in the annotation folder or the two above it; None without."""
    folders = [annotations.absolute(), *annotations.absolute().parents[:2]]
    places = [folder / name for folder in folders for name in NAME_FILES]
    return next((place for place in places if place.is_file()), None)


def _names_file(annotations: Path) -> Path:
    found = find_names(annotations)
    if found is None:
        raise FileNotFoundError(
            f"no class names were found for {annotations}: put a data.yaml or a classes.txt in it "
            f"or in one of the two folders above"
        )
    return found


def read_class_names(path: Path) -> dict[int, str]:
    """Class names by index, from a text file (a name a line) or a YAML ("names": list or mapping).

    Raises FileNotFoundError, or ValueError for names that are missing, empty or not text.
    """
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        listed = read_mapping(path).get("names")
    elif not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a file with one class a line")
    else:
        try:
            listed = path.read_bytes().decode("utf-8-sig").rstrip().splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is no text in UTF-8: expected one class a line") from error
    return _by_index(path, listed)


def _by_index(path: Path, listed: Any) -> dict[int, str]:
    pairs: list[tuple[Any, Any]] = []
    if isinstance(listed, list | dict):
        pairs = list(listed.items() if isinstance(listed, dict) else enumerate(listed))
    if not pairs:
        raise ValueError(f"{path} names no classes: expected 'names:' with a list or mapping")
    named: dict[int, str] = {}
    for key, name in pairs:
        index = int(key) if isinstance(key, int) or str(key).isdecimal() else -1
        text = str(name).strip()
        if index < 0 or isinstance(name, bool) or not isinstance(name, str | int) or not text:
            raise ValueError(
                f"{path}: expected names by index from 0, found {str(key)[:40]!r}: "
                f"{str(name)[:40]!r} (words such as yes, no and null need quotes)"
            )
        named[index] = text
    if len(set(named.values())) < len(pairs):
        raise ValueError(f"{path} gives two classes the same name or index")
    return named
