"""XML annotations: Pascal VOC, DIOR (horizontal and oriented) and FAIR1M."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from geomtp.labels.annotations import AnnotatedObject, Annotations, ring_of
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder

_DIOR_CORNERS = ("left_top", "right_top", "right_bottom", "left_bottom")


def read_voc(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """One ``Annotations`` per Pascal VOC xml below the folder ``annotations``, sorted by path.

    A file belongs to the image with the same relative path but for the suffix (the name written in
    it is not used). Coordinates are taken as they are. Raises FileNotFoundError for a missing
    folder.
    """
    return _read(images, annotations, notes, "object", _voc_object)


def read_dior(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """As ``read_voc``, for DIOR: oriented corners (robndbox) where given; names in lower case."""
    return _read(images, annotations, notes, "object", _dior_object)


def read_fair1m(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """As ``read_voc``, for FAIR1M; spaces in class names become hyphens ("Small Car")."""
    return _read(images, annotations, notes, "objects/object", _fair1m_object)


def dior_objects(path: Path, notes: ReadNotes) -> tuple[AnnotatedObject, ...] | None:
    """The objects in one DIOR file; None (noted) when it is no usable xml."""
    return _objects(path, notes, "object", _dior_object)


def fair1m_objects(path: Path, notes: ReadNotes) -> tuple[AnnotatedObject, ...] | None:
    """The objects in one FAIR1M file; None (noted) when it is no usable xml."""
    return _objects(path, notes, "objects/object", _fair1m_object)


def _read(
    images: Path,
    annotations: Path,
    notes: ReadNotes,
    entries: str,
    parse: Callable[[Element, str], AnnotatedObject],
) -> Iterator[Annotations]:
    folder = ImageFolder(images, notes)
    for path, image, size_hw in folder.annotated(annotations, ".xml"):
        objects = _objects(path, notes, entries, parse)
        if objects is not None:
            yield Annotations(image, size_hw, objects)


def _objects(
    path: Path, notes: ReadNotes, entries: str, parse: Callable[[Element, str], AnnotatedObject]
) -> tuple[AnnotatedObject, ...] | None:
    """The elements ``entries`` of an xml file, parsed; entity tricks are refused by defusedxml."""
    try:
        root = ElementTree.parse(path).getroot()
    except (SyntaxError, ValueError, LookupError) as error:
        notes.malformed(path.name, f"it is no usable xml: {error}")
        return None
    if root is None or root.tag != "annotation":
        notes.malformed(path.name, "its root is not <annotation>")
        return None
    objects = []
    for number, element in enumerate(root.findall(entries), start=1):
        where = f"{path.name} object {number}"
        try:
            objects.append(parse(element, where))
        except ValueError as error:
            notes.malformed(where, str(error))
    return tuple(objects)


def _voc_object(element: Element, where: str) -> AnnotatedObject:
    x1, y1, x2, y2 = (
        _number(element, f"bndbox/{side}") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return AnnotatedObject(
        _text(element, "name"), where, box_xyxy=(x1, y1, x2, y2), difficulty=_difficulty(element)
    )


def _dior_object(element: Element, where: str) -> AnnotatedObject:
    name = _text(element, "name").lower()
    if element.find("robndbox") is None:
        horizontal = _voc_object(element, where)
        return AnnotatedObject(
            name, where, box_xyxy=horizontal.box_xyxy, difficulty=horizontal.difficulty
        )
    quad = ring_of(
        [_number(element, f"robndbox/{axis}_{corner}") for corner in _DIOR_CORNERS for axis in "xy"]
    )
    return AnnotatedObject(name, where, polygons=((quad,),), difficulty=_difficulty(element))


def _fair1m_object(element: Element, where: str) -> AnnotatedObject:
    coordinate = element.findtext("coordinate", "pixel").strip()
    if coordinate != "pixel":
        raise ValueError(f"coordinates must be of kind 'pixel', found {coordinate!r}")
    points = [point.text or "" for point in element.findall("points/point")]
    try:
        outline = ring_of([float(number) for point in points for number in point.split(",")])
    except ValueError as error:
        raise ValueError(f"expected points 'x,y', found {points!r}") from error
    name = "-".join(_text(element, "possibleresult/name").split())
    return AnnotatedObject(name, where, polygons=((outline,),))


def _text(element: Element, path: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"<{path}> is missing or empty")
    return text


def _number(element: Element, path: str) -> float:
    text = _text(element, path)
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"<{path}> must be a number, found {text!r}") from error


def _difficulty(element: Element) -> int:
    text = (element.findtext("difficult") or "").strip()
    return int(text) if text.isdecimal() else 0
