"""Submissions to LoveDA's server: a zip of grey pictures with values 0…6."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from geomtp.checkpoints import replacing
from geomtp.evaluation.official_classes import LOVEDA, official_names
from geomtp.evaluation.submission_files import Complaints, Expected, SubmissionFiles
from geomtp.types import Predictions, SizeHW

_SIZE_HW = (1024, 1024)  # of every image of LoveDA
_LARGEST_PX = 2**26


class LovedaWriter:
    """Writes the zip picture by picture: ``with LovedaWriter(out, classes) as writer: …add(…)``.

    The zip appears when the block ends without an exception.
    """

    def __init__(self, out: Path, classes: Sequence[str]) -> None:
        """``classes``: names of the classes 0…K−1; LoveDA's background may be among them.

        Raises ValueError for a class that LoveDA does not have.
        """
        self._values = submitted_values(classes)
        self._names: set[str] = set()
        out.parent.mkdir(parents=True, exist_ok=True)
        self._replacing = replacing(out)

    def __enter__(self) -> LovedaWriter:
        self._archive = zipfile.ZipFile(self._replacing.__enter__(), "w")
        return self

    def __exit__(self, *error: object) -> None:
        self._archive.close()
        self._replacing.__exit__(*error)  # type: ignore[arg-type]

    def add(self, image: str, found: Predictions) -> None:
        """Write the map of one image as ``NAME.png``. Raises ValueError for a name that was."""
        name = f"{PurePosixPath(image).stem}.png"
        if name in self._names:
            raise ValueError(f"two images are called {name}: the server tells them by their names")
        self._names.add(name)
        picture = io.BytesIO()
        Image.fromarray(self._values[found.semantic.numpy()]).save(picture, format="PNG")
        self._archive.writestr(name, picture.getvalue())


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


def _check_picture(
    data: bytes, where: str, size_hw: SizeHW | None, complaints: Complaints
) -> None:
    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > _LARGEST_PX:
            raise ValueError(f"{picture.width} × {picture.height} px")
        mode, pixels = picture.mode, np.asarray(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
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
    highest = int(pixels.max(initial=0))
    if highest >= len(LOVEDA):
        shifted = pixels.min(initial=255) >= 1 and highest == len(LOVEDA)
        hint = "; they look shifted by one: subtract 1" if shifted else ""
        complaints.note(
            "values",
            where,
            f"values must be 0…{len(LOVEDA) - 1}, found "
            f"{int(pixels.min(initial=0))}…{highest}{hint}",
        )
