"""FAIR1M's xml from DOTA's text files of detections."""

from __future__ import annotations

import re
from pathlib import Path

from geomtp.evaluation.fair1m_submission import write_xml_zip
from geomtp.evaluation.official_classes import FAIR1M, official_names
from geomtp.evaluation.submission_check import require_accepted
from geomtp.evaluation.submission_files import Expected, SubmissionFiles, number_of
from geomtp.evaluation.submitted_objects import SubmittedObject

_FILE = re.compile(r"Task1_(.+)\.txt")


def fair1m_from_dota(
    detections: Path, images: Path, out: Path, *, reference_spelling: bool = False
) -> str:
    """Write the zip ``out`` with one xml per image; what was written, in one line.

    Args:
        detections: folder or zip of ``Task1_CLASS.txt``, lines "image score x1 y1 … x4 y4".
        images: folder of the test images: their sizes, and those without any object.
        out: ends in ``.zip``.
        reference_spelling: replace every hyphen in class names by a space, as the reference does,
            in "other-airplane", "other-ship" and "other-vehicle" too, which FAIR1M hyphenates.

    Raises:
        FileNotFoundError: no such file or folder.
        ValueError: a file of another name, a class that FAIR1M does not have, a malformed line, an
            image that is not in ``images``, or what the server would refuse (but for the spelling).
    """
    files, expected = SubmissionFiles(detections), Expected.of_folder(images)
    objects: dict[str, list[SubmittedObject]] = {name: [] for name in expected.sizes_hw}
    for path in files.names:
        match = _FILE.fullmatch(path)
        if match is None:
            raise ValueError(f"{detections} holds {path}: expected files Task1_CLASS.txt alone")
        (name,) = official_names([match[1]], FAIR1M, "FAIR1M")
        if reference_spelling:
            name = match[1].replace("-", " ")
        for number, line in enumerate(files.text(path).splitlines(), start=1):
            if line.strip():
                image, item = _object(line, name, f"{path} line {number}")
                if image not in objects:
                    raise ValueError(
                        f"{path} line {number}: no image {image!r} in {images}; are these tiles "
                        f"that were not merged, or another set of images?"
                    )
                objects[image].append(item)
    write_xml_zip(objects, expected.sizes_hw, out)
    if not reference_spelling:
        require_accepted(out, "fair1m", expected)
    count = sum(len(items) for items in objects.values())
    return f"{out}: {count} objects in {len(objects)} images"


def _object(line: str, name: str, where: str) -> tuple[str, SubmittedObject]:
    words = line.split()
    numbers = [number_of(word) for word in words[1:]]
    known = [number for number in numbers if number is not None]
    if len(words) != 10 or len(known) != 9:
        raise ValueError(f"{where}: expected an image, a score and eight numbers, found {line!r}")
    return words[0], SubmittedObject(name, known[0], tuple(known[1:]))
