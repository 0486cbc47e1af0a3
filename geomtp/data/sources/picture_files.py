"""Writing pictures whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def write_picture(path: Path, pixels: NDArray[Any]) -> None:
    """Write (H, W), (H, W, 1) or (H, W, 3) bytes as PNG.

    The file appears whole or not at all: a file that is there is complete. Raises ValueError for
    other values than bytes, OSError where it cannot be written.
    """
    if pixels.dtype != np.uint8:
        raise ValueError(f"{path}: a PNG of bytes is written, found values of {pixels.dtype}")
    partial = _partial(path)
    try:
        flat = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
        Image.fromarray(np.ascontiguousarray(flat)).save(partial, format="PNG")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def copy_picture(path: Path, out: Path) -> None:
    """Copy a file, whole or not at all, unless it is there already."""
    if out.is_file():
        return
    partial = _partial(out)
    try:
        shutil.copyfile(path, partial)
        os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.partial")
