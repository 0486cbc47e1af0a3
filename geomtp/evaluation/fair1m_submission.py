"""Submissions to FAIR1M's server: a zip of one xml file per image."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from defusedxml import ElementTree

from geomtp.checkpoints import replacing
from geomtp.evaluation.official_classes import FAIR1M, nearest, official_names
from geomtp.evaluation.submission_files import Complaints, Expected, SubmissionFiles, number_of
from geomtp.evaluation.submitted_objects import SubmittedObject, objects_of_scenes
from geomtp.types import Predictions, SizeHW

_POINTS = 5  # four corners, and the first again
_NAMES_SHOWN = 3


def write_fair1m(
    scenes: Iterable[tuple[str, Predictions]],
    classes: Sequence[str],
    sizes_hw: Mapping[str, SizeHW],
    out: Path,
) -> int:
    """Write the zip ``out``: an xml for each image of ``sizes_hw``, empty ones too; their number.

    Args:
        scenes: name (a path without suffix; its last part is written) and rotated boxes in its
            pixels, with labels 0…K−1.
        classes: K names in any spelling that can be told.
        sizes_hw: height and width of each image, by name without folder and suffix.
        out: ends in ``.zip``.

    Raises:
        ValueError: a class that FAIR1M does not have, a scene whose size is not known, or two
            scenes of one name.
    """
    names = official_names(classes, FAIR1M, "FAIR1M")
    objects: dict[str, list[SubmittedObject]] = {name: [] for name in sizes_hw}
    for name, of_scene in objects_of_scenes(scenes, names):
        if name not in objects:
            raise ValueError(f"the size of {name} is not known: is its image in the folder?")
        objects[name] = of_scene
    write_xml_zip(objects, sizes_hw, out)
    return len(objects)


def write_xml_zip(
    objects: Mapping[str, Sequence[SubmittedObject]], sizes_hw: Mapping[str, SizeHW], out: Path
) -> None:
    """Write ``NAME.xml`` of each image into the zip ``out``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, of_image in objects.items():
            archive.writestr(f"{name}.xml", fair1m_xml(name, sizes_hw[name], of_image))


def fair1m_xml(name: str, size_hw: SizeHW, objects: Sequence[SubmittedObject]) -> bytes:
    """The xml of one image, in UTF-8, indented; the points with six decimals, the first twice."""
    root = Element("annotation")
    _texts(root, "source", {"filename": f"{name}.tif", "origin": "GF2/GF3"})
    research = {
        "version": "2.0",
        "provider": "geomtp",
        "author": "geomtp",
        "pluginname": "FAIR1M",
        "pluginclass": "object detection",
        "time": f"{datetime.datetime.now(tz=datetime.UTC):%Y-%m}",
    }
    _texts(root, "research", research)
    _texts(root, "size", {"width": size_hw[1], "height": size_hw[0], "depth": 3})
    listed = SubElement(root, "objects")
    for item in objects:
        entry = SubElement(listed, "object")
        for tag, text in (("coordinate", "pixel"), ("type", "rectangle"), ("description", "None")):
            SubElement(entry, tag).text = text
        _texts(entry, "possibleresult", {"name": item.name, "probability": repr(item.score)})
        points = SubElement(entry, "points")
        pairs = [item.corners[i : i + 2] for i in (0, 2, 4, 6, 0)]
        for x, y in pairs:
            SubElement(points, "point").text = f"{x:.6f},{y:.6f}"
    indent(root)
    return tostring(root, encoding="utf-8", xml_declaration=True)


def _texts(parent: Element, tag: str, values: Mapping[str, object]) -> None:
    group = SubElement(parent, tag)
    for name, value in values.items():
        SubElement(group, name).text = str(value)


def check_fair1m(files: SubmissionFiles, expected: Expected | None, complaints: Complaints) -> str:
    """Note all that the server would refuse; what there is, in one line."""
    if files.is_folder:
        complaints.note("kind", files.name, "FAIR1M's server takes a zip of the xml files")
    objects, found = 0, set()
    for path in files.names:
        if not path.endswith(".xml"):
            complaints.note("file", path, "expected files IMAGE.xml and no other")
            continue
        name = PurePosixPath(path).stem
        found.add(name)
        size_hw = None
        if expected is not None:
            size_hw = expected.sizes_hw.get(name)
            if size_hw is None:
                complaints.note("scene", path, f"no image of that name in {expected.folder}")
        objects += _checked_file(files, path, size_hw, complaints)
    if expected is not None and (missing := sorted(set(expected.sizes_hw) - found)):
        shown = ", ".join(missing[:_NAMES_SHOWN]) + (", …" if len(missing) > _NAMES_SHOWN else "")
        complaints.note(
            "missing",
            shown,
            f"no xml for {len(missing)} of {len(expected.sizes_hw)} images: each needs one, with "
            f"an empty <objects> where there is nothing",
        )
    return f"FAIR1M: {objects} objects in {len(found)} images"


def _checked_file(
    files: SubmissionFiles, path: str, size_hw: SizeHW | None, complaints: Complaints
) -> int:
    """The number of objects in one file."""
    try:
        root = ElementTree.fromstring(files.data(path))
    except (SyntaxError, ValueError, LookupError) as error:
        complaints.note("xml", path, f"it is no usable xml: {error}")
        return 0
    if root.tag != "annotation":
        complaints.note("root", path, f"its root must be <annotation>, found <{root.tag}>")
        return 0
    stem = PurePosixPath(path).stem
    named = (root.findtext("source/filename") or "").strip()
    if named != f"{stem}.tif":
        complaints.note("name", path, f"<filename> must be {stem}.tif, found {named!r}")
    said = [number_of(root.findtext(f"size/{side}") or "") for side in ("height", "width")]
    if None in said:
        complaints.note("size", path, "<size> must hold <width>, <height> and <depth>")
    elif size_hw is not None and tuple(said) != size_hw:
        height, width = size_hw
        complaints.note(
            "size",
            path,
            f"<size> says {said[1]:g} × {said[0]:g}, the image is {width} × {height} px",
        )
    entries = root.findall("objects/object")
    for number, entry in enumerate(entries, start=1):
        _check_object(entry, f"{path} object {number}", complaints)
    return len(entries)


def _check_object(entry: Element, where: str, complaints: Complaints) -> None:
    for tag, wanted in (("coordinate", "pixel"), ("type", "rectangle")):
        text = (entry.findtext(tag) or "").strip()
        if text != wanted:
            complaints.note(tag, where, f"<{tag}> must be {wanted!r}, found {text!r}")
    name = (entry.findtext("possibleresult/name") or "").strip()
    if name not in FAIR1M:
        complaints.note("class", where, f"FAIR1M has no class {name!r}; {nearest(name, FAIR1M)}")
    text = (entry.findtext("possibleresult/probability") or "").strip()
    score = number_of(text)
    if score is None or not 0 <= score <= 1:
        complaints.note("score", where, f"<probability> must be a number 0…1, found {text!r}")
    points = [(point.text or "").strip() for point in entry.findall("points/point")]
    if len(points) != _POINTS:
        complaints.note(
            "points",
            where,
            f"expected {_POINTS} points, the corners and the first again, found {len(points)}",
        )
    elif points[0] != points[-1]:
        complaints.note("closed", where, "the fifth point must repeat the first")
    for point in points:
        parts = point.split(",")
        if len(parts) != 2 or None in map(number_of, parts):
            complaints.note("point", where, f"a point is 'x,y' in pixels, found {point!r}")
            return
