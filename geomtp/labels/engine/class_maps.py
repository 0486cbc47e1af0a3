"""Class maps: the names of a data set's annotations turned into one's own, by a file."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.mapping_files import read_mapping
from geomtp.labels.store.building import check_classes, class_counts
from geomtp.types import ClassMap

NewNames = dict[str, str | None]
"""The new name of each original class name; None drops the class."""

Unmapped = Literal["error", "keep", "drop"]


def read_class_map(path: str | Path) -> NewNames:
    """The class map in a YAML or JSON file: lines ``original name: new name``, null to drop.

    Several originals may get one name. Raises FileNotFoundError, or ValueError for a file that is
    no such mapping or drops every class.
    """
    path = Path(path)
    names: NewNames = {}
    for original, new in read_mapping(path).items():
        if isinstance(original, bool) or not isinstance(original, str | int):
            raise ValueError(f"{path}: {original!r} is no class name (put it in quotes)")
        if isinstance(new, bool) or not (new is None or isinstance(new, str | int)):
            raise ValueError(
                f"{path}: {original!r} must get a name (in quotes where it is a word such as yes "
                f"or no) or null, found {str(new)[:60]!r}"
            )
        names[str(original)] = None if new is None else str(new).strip()
    if not any(names.values()) or "" in names.values():
        raise ValueError(f"{path}: expected names for the classes, and at least one that is kept")
    return names


def apply_class_map(
    annotations: Iterable[Annotations],
    names: NewNames,
    notes: ReadNotes,
    *,
    unmapped: Unmapped = "error",
) -> Iterator[Annotations]:
    """The annotations, one by one, with new class names and without objects of dropped classes.

    Those are counted in ``notes`` as "dropped class". A class that ``names`` lacks stays as it is
    ("keep"), is dropped ("drop"), or is an error once all annotations are through. Objects marked
    to be ignored keep names that ``names`` lacks. Grey maps (``semantic``) hold numbers, not names:
    they stay as they are.

    Raises ValueError listing the unmapped classes with counts and near matches.
    """
    if unmapped not in ("error", "keep", "drop"):
        raise ValueError(f"unmapped is 'error', 'keep' or 'drop', got {unmapped!r}")
    found: Counter[str] = Counter()

    def renamed(objects: Iterable[AnnotatedObject]) -> tuple[AnnotatedObject, ...]:
        kept = []
        for item in objects:
            new = names.get(item.name, item.name if unmapped != "drop" or item.ignore else None)
            if new is None:
                notes.left_out("dropped class", item.where, f"class {item.name!r} is dropped")
            else:
                kept.append(dataclasses.replace(item, name=new))
        return tuple(kept)

    for image in annotations:
        found += class_counts([image])
        yield dataclasses.replace(
            image,
            objects=renamed(image.objects),
            instances=None if image.instances is None else renamed(image.instances),
        )
    if unmapped == "error":
        check_classes(found, ClassMap(tuple(names)))


def classes_of_map(names: NewNames) -> ClassMap:
    """The classes that a map leads to, in the order of their first mention."""
    return ClassMap(tuple(dict.fromkeys(name for name in names.values() if name is not None)))
