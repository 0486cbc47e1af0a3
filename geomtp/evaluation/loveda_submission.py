"""Submissions to LoveDA's server: a zip of grey pictures with values 0…6."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomtp.checkpoints import replacing
from geomtp.evaluation.official_classes import LOVEDA, official_names
from geomtp.evaluation.submission_files import Complaints, Expected, SubmissionFiles
from geomtp.types import Predictions, SizeHW

_SIZE_HW = (1024, 1024)  # of every image of LoveDA
_LARGEST_PX = 2**26


def write_picture(folder: Path, image: str, found: Predictions, values: NDArray[np.uint8]) -> str:
    """Write the map of one image as ``folder/NAME.png``; its file's name.

    ``values``: the submitted value of each value of our maps (``submitted_values``).
    """
    name = f"{PurePosixPath(image).stem}.png"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values[found.semantic.numpy()]).save(folder / name)
    return name


def zip_pictures(folder: Path, names: Sequence[str], out: Path) -> None:
    """Put the pictures ``names`` of ``folder`` into the zip ``out``, without folders."""
    with replacing(out) as part, zipfile.ZipFile(part, "w") as archive:
        for name in names:
            archive.write(folder / name, name)


def submitted_values(classes: Sequence[str]) -> NDArray[np.uint8]:
    """The submitted value 0…6 of each value of our maps (0 background, k+1 for class k): (K+1,).

    Raises ValueError for a class that LoveDA does not have.
    """
    names = ("background", *official_names(classes, LOVEDA, "LoveDA"))
    return np.array([LOVEDA.index(name) for name in names], dtype=np.uint8)


def check_loveda(files: SubmissionFiles, expected: Expected | None, complaints: Complaints) -> str:
    """Note all that the server would refuse; what there is, in one line."""
    found = set()
    for path in files.names:
        name = PurePosixPath(path)
        if name.suffix != ".png":
            complaints.note("file", path, "expected files IMAGE.png and no other")
            continue
        found.add(name.stem)
        size_hw: SizeHW | None = _SIZE_HW
        if expected is not None:
            size_hw = expected.sizes_hw.get(name.stem)
            if size_hw is None:
                complaints.note("scene", path, f"no image of that name in {expected.folder}")
        _check_picture(files.data(path), path, size_hw, complaints)
    if expected is not None and (missing := sorted(set(expected.sizes_hw) - found)):
        shown = ", ".join(f"{name}.png" for name in missing[:3]) + ", …" * (len(missing) > 3)
        complaints.note(
            "missing", shown, f"{len(missing)} of {len(expected.sizes_hw)} images have no picture"
        )
    return f"LoveDA: {len(found)} pictures"


def _check_picture(data: bytes, where: str, size_hw: SizeHW | None, complaints: Complaints) -> None:
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > _LARGEST_PX:
            raise ValueError(f"{picture.width} × {picture.height} px")
        mode, pixels = picture.mode, np.asarray(picture)
    except (Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        complaints.note("png", where, f"it is no usable PNG: {error}")
        return
    if mode not in ("L", "P"):
        complaints.note("mode", where, f"expected one channel of 8 bits, found mode {mode}")
        return
    if size_hw is not None and pixels.shape != size_hw:
        complaints.note(
            "size",
            where,
            f"expected {size_hw[1]} × {size_hw[0]} px, found {pixels.shape[1]} × {pixels.shape[0]}",
        )
    highest = int(pixels.max())
    if highest >= len(LOVEDA):
        shifted = pixels.min() >= 1 and highest == len(LOVEDA)
        hint = "; they look shifted by one: subtract 1" if shifted else ""
        complaints.note(
            "values",
            where,
            f"values must be 0…{len(LOVEDA) - 1}, found {int(pixels.min())}…{highest}{hint}",
        )
