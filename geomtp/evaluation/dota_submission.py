"""Submissions to DOTA's server, task 1: a zip of one text file per class."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from geomtp.checkpoints import replacing
from geomtp.evaluation.official_classes import (
    DOTA_VERSIONS,
    dota_version,
    nearest,
    official_names,
)
from geomtp.evaluation.submission_files import Complaints, Expected, SubmissionFiles, number_of
from geomtp.evaluation.submitted_objects import objects_of_scenes
from geomtp.types import Predictions

_FILE = re.compile(r"Task1_(.+)\.txt")
_FIELDS = 10  # image, score, eight coordinates


def write_dota(scenes: Iterable[tuple[str, Predictions]], classes: Sequence[str], out: Path) -> str:
    """Write the zip ``out``; the version of DOTA that it is for.

    One ``Task1_CLASS.txt`` per class of the version, empty ones included. A line holds the scene's
    name, the score as it is (not rounded: rounding makes ties, and ties change the average
    precision) and the four corners in pixels with two decimals.

    Args:
        scenes: name (a path without suffix; its last part is written) and rotated boxes (M, 5) in
            pixels of the scene, with labels 0…K−1.
        classes: K names in any spelling that can be told.
        out: ends in ``.zip``.

    Raises:
        ValueError: a class that DOTA does not have, or two scenes of one name.
    """
    version = dota_version(classes)
    names = official_names(classes, DOTA_VERSIONS[version], "DOTA")
    lines: dict[str, list[str]] = {name: [] for name in DOTA_VERSIONS[version]}
    for scene, objects in objects_of_scenes(scenes, names):
        for item in objects:
            corners = " ".join(f"{number:.2f}" for number in item.corners)
            lines[item.name].append(f"{scene} {item.score!r} {corners}\n")
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, of_class in lines.items():
            archive.writestr(f"Task1_{name}.txt", "".join(of_class))
    return version


def check_dota(files: SubmissionFiles, expected: Expected | None, complaints: Complaints) -> str:
    """Note all that the server would refuse; what there is, in one line."""
    if files.is_folder:
        complaints.note("kind", files.name, "DOTA's server takes a zip of the text files")
    by_class = {}
    for path in files.names:
        match = _FILE.fullmatch(path)
        if match is None:
            complaints.note(
                "file", path, "expected files Task1_CLASS.txt at the top of the zip and no other"
            )
        else:
            by_class[match[1]] = path
    all_classes = DOTA_VERSIONS["2.0"]
    for name in by_class:
        if name not in all_classes:
            complaints.note(
                "class", by_class[name], f"DOTA has no class {name!r}; {nearest(name, all_classes)}"
            )
    right = [name for name in by_class if name in all_classes]
    version = dota_version(right)
    for name in DOTA_VERSIONS[version]:
        if name not in by_class:
            complaints.note(
                "missing class",
                f"Task1_{name}.txt",
                f"missing: DOTA {version} wants a file of each class, an empty one without objects",
            )
    objects, scenes = 0, set[str]()
    for name in right:
        for number, line in enumerate(files.text(by_class[name]).splitlines(), start=1):
            if line.strip():
                objects += 1
                scenes.add(_checked_line(line, f"{by_class[name]} line {number}", complaints))
    scenes.discard("")
    if expected is not None:
        for scene in sorted(scenes - set(expected.sizes_hw)):
            complaints.note("scene", scene, _no_scene(scene, expected))
    of_all = "" if expected is None else f" of {len(expected.sizes_hw)}"
    return f"DOTA {version}, task 1: {objects} objects in {len(scenes)}{of_all} scenes"


def _checked_line(line: str, where: str, complaints: Complaints) -> str:
    """The scene that a line is about; "" for a line that says none."""
    words = line.split()
    if len(words) != _FIELDS:
        complaints.note(
            "line",
            where,
            f"expected a scene, a score and four points (eight numbers), found {len(words)} words",
        )
        return words[0] if len(words) > 1 else ""
    score = number_of(words[1])
    if score is None or not 0 <= score <= 1:
        complaints.note("score", where, f"the score must be a number 0…1, found {words[1]!r}")
    corners = [number_of(word) for word in words[2:]]
    if None in corners:
        bad = next(w for w, c in zip(words[2:], corners, strict=True) if c is None)
        complaints.note("coordinate", where, f"coordinates must be numbers, found {bad!r}")
    if "__" in words[0]:
        complaints.note(
            "tile",
            where,
            f"{words[0]!r} is the name of a tile: tiles have to be merged into scenes first "
            f"(`geomtp evaluate --submit dota` does it)",
        )
        return ""
    if words[0].lower().endswith((".png", ".tif", ".jpg")):
        complaints.note("suffix", where, f"scenes are named without suffix, found {words[0]!r}")
        return ""
    return words[0]


def _no_scene(scene: str, expected: Expected) -> str:
    return f"no image of that name among the {len(expected.sizes_hw)} of {expected.folder}"
