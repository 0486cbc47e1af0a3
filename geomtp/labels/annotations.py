"""What an annotation file says of one image, whatever its format: objects by class name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.types import SizeHW

Ring = NDArray[np.float64]
"""A closed line, (V, 2) x y pixels; the first point is not repeated at the end."""

Polygon = tuple[Ring, ...]
"""The outer ring and then the holes."""


@dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object, described by whichever of the four shapes its file gives (at least one).

    - name: the class name
    - box_xyxy: x1 y1 x2 y2 pixels
    - rbox_cxcywha: cx cy w h pixels, angle radians, clockwise; any of the equivalent descriptions
    - polygons: the parts of its outline (a quadrilateral is one polygon of four points)
    - rle: COCO run-length string (compressed "counts") of the full image size
    - difficulty: as the file says, 0 where it says nothing
    - ignore: to be left out of training (crowds, "don't care")
    - where: file and line, for messages
    """

    name: str
    where: str
    box_xyxy: tuple[float, float, float, float] | None = None
    rbox_cxcywha: tuple[float, float, float, float, float] | None = None
    polygons: tuple[Polygon, ...] | None = None
    rle: bytes | None = None
    difficulty: int = 0
    ignore: bool = False

    @property
    def is_box(self) -> bool:
        """Whether it is a box alone, without an outline or a mask."""
        return self.polygons is None and self.rle is None


@dataclass(frozen=True, slots=True)
class Annotations:
    """The annotated objects of one image.

    - image: path relative to the image root, with forward slashes
    - size_hw: height and width of the image in pixels
    - objects: in the order of the file; empty: the image was looked at and holds none
    - instances: masks that are listed independently of the objects (SAMRS); None: there is one list
    - semantic: path (like ``image``) of a grey class map, 255 for background
    """

    image: str
    size_hw: SizeHW
    objects: tuple[AnnotatedObject, ...]
    instances: tuple[AnnotatedObject, ...] | None = None
    semantic: str | None = None


def ring_of(numbers: Any) -> Ring:
    """Numbers x1 y1 x2 y2 …, or pairs, as a ring; a repeated last point is left out.

    Raises ValueError for an odd count, fewer than three points or what is no number.
    """
    try:
        flat = np.asarray(numbers, dtype=np.float64).reshape(-1)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"expected numbers, found {str(numbers)[:60]!r}") from error
    if len(flat) % 2:
        raise ValueError(f"expected pairs of coordinates, found {len(flat)} numbers")
    ring = flat.reshape(-1, 2)
    if len(ring) > 3 and (ring[0] == ring[-1]).all():
        ring = ring[:-1]
    if len(ring) < 3:
        raise ValueError(f"an outline needs three points or more, found {len(ring)}")
    return ring


def relative_path(name: str) -> str:
    """``name`` as a path below the image root, with forward slashes.

    Raises ValueError for a path that is absolute, empty or leaves the root: a file of annotations
    must not be able to name other files of the machine.
    """
    slashed = name.replace("\\", "/")
    path = PurePosixPath(slashed)
    drive = len(slashed) > 1 and slashed[1] == ":"
    if path.is_absolute() or drive or ".." in path.parts or "\0" in name or not path.parts:
        raise ValueError(f"the path {name!r} must lie below the image folder")
    return path.as_posix()
