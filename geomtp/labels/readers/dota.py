"""DOTA text files: one quadrilateral a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geomtp.labels.annotations import AnnotatedObject, Annotations, ring_of
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder


def read_dota(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """One ``Annotations`` per txt file below the folder ``annotations``, sorted by path.

    A file belongs to the image with the same relative path but for the suffix. An empty file is an
    image without objects; an image without a file is left out. Raises FileNotFoundError for a
    missing folder.
    """
    folder = ImageFolder(images, notes)
    for path, image, size_hw in folder.annotated(annotations, ".txt"):
        objects = dota_objects(path, notes)
        if objects is not None:
            yield Annotations(image, size_hw, objects)


def dota_objects(path: Path, notes: ReadNotes) -> tuple[AnnotatedObject, ...] | None:
    """The objects in one file; None (noted) when it is no text.

    A line holds x1 y1 x2 y2 x3 y3 x4 y4, the class name (which may contain spaces) and, possibly,
    the difficulty. The header lines ``imagesource:…`` and ``gsd:…`` are passed over.
    """
    lines = text_lines(path, notes)
    if lines is None:
        return None
    objects = []
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if not words or words[0].lower().startswith(("imagesource:", "gsd:")):
            continue
        try:
            objects.append(_object(words, f"{path.name} line {number}"))
        except ValueError as error:
            notes.malformed(f"{path.name} line {number}", str(error))
    return tuple(objects)


def text_lines(path: Path, notes: ReadNotes) -> list[str] | None:
    """The lines of a text file; None (noted) when it is no text in UTF-8."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        notes.malformed(path.name, "it is no text in UTF-8")
        return None
    return text.splitlines()


def _object(words: list[str], where: str) -> AnnotatedObject:
    if len(words) < 9:
        raise ValueError(
            f"expected eight coordinates, a class and a difficulty, found {len(words)} words"
        )
    try:
        quad = ring_of([float(word) for word in words[:8]])
    except ValueError as error:
        raise ValueError(f"expected eight coordinates, found {' '.join(words[:8])!r}") from error
    difficulty = 0
    name = words[8:]
    if len(name) > 1 and name[-1].lstrip("-").isdecimal():
        difficulty = int(name.pop())
    return AnnotatedObject(" ".join(name), where, polygons=((quad,),), difficulty=difficulty)
