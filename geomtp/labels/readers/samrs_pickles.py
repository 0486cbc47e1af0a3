"""The instance pickles of SAMRS, read without running what a pickle may ask for."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.labels.annotations import AnnotatedObject, Annotations, ring_of
from geomtp.labels.masks.run_lengths import check_rle
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.types import SizeHW


def _latin_bytes(text: str, encoding: str) -> bytes:
    """How pickles up to protocol 2 hold bytes."""
    if encoding not in ("latin1", "latin-1"):
        raise pickle.UnpicklingError(f"it asks for the encoding {encoding}, which no label needs")
    return text.encode("latin1")


def _array_of_buffer(content: Any, dtype: Any, shape: tuple[int, ...], order: str) -> Any:
    """How pickles of protocol 5 hold arrays."""
    return np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if order == "F" else "C")


_REBUILD_ARRAY = np.empty(0).__reduce__()[0]
_REBUILD_NUMBER = np.float64(0).__reduce__()[0]
_NAMED: dict[tuple[str, str], Any] = {
    ("_codecs", "encode"): _latin_bytes,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    **{
        (f"numpy.{core}.multiarray", name): rebuild
        for core in ("core", "_core")  # of numpy 1 and numpy 2
        for name, rebuild in (("_reconstruct", _REBUILD_ARRAY), ("scalar", _REBUILD_NUMBER))
    },
    **{(f"numpy.{core}.numeric", "_frombuffer"): _array_of_buffer for core in ("core", "_core")},
}
"""All that such a pickle may name: what arrays and numbers of numpy are made of."""


def read_samrs_pickles(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """One ``Annotations`` per pkl file below the folder ``annotations``, sorted by path.

    A file belongs to the image with the same relative path but for the suffix. It holds a list of
    objects, each with its "category" (the class name), its "mask" (a run-length of the image's
    size), and most often "rbox" (four corners). The segmenter "polygon" takes the masks as they
    are. Raises FileNotFoundError for a missing folder.
    """
    folder = ImageFolder(images, notes)
    for path, image, size_hw in folder.annotated(annotations, ".pkl"):
        entries = _entries(path, notes)
        if entries is not None:
            objects = (
                _object(f"{path.name} object {i}", entry, size_hw, notes)
                for i, entry in enumerate(entries, start=1)
            )
            yield Annotations(image, size_hw, tuple(o for o in objects if o is not None))


class _PlainUnpickler(pickle.Unpickler):
    """Rebuilds plain values and numpy's arrays and numbers; refuses every other name."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _NAMED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which no label needs"
            ) from None


def _entries(path: Path, notes: ReadNotes) -> list[Any] | None:
    """The list in a pickle; None (noted) when it holds none."""
    try:
        with path.open("rb") as file:
            entries = _PlainUnpickler(file).load()
    except Exception as error:  # a damaged pickle raises whatever its opcodes stumble over
        notes.malformed(path.name, f"it is no pickle of labels: {error}")
        return None
    if not isinstance(entries, list):
        notes.malformed(path.name, f"expected a list of objects, found {type(entries).__name__}")
        return None
    return entries


def _object(where: str, entry: Any, size_hw: SizeHW, notes: ReadNotes) -> AnnotatedObject | None:
    """One entry of the list; None (noted) when it cannot be understood."""
    try:
        name, mask, corners = entry["category"], entry["mask"], entry.get("rbox")
        if not isinstance(name, str) or not name:
            raise ValueError(f"its category must be a class name, found {str(name)[:60]!r}")
        counts = mask["counts"]
        rle = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
        if [int(side) for side in mask["size"]] != list(size_hw):
            raise ValueError(f"its mask has size {mask['size']}, the image {list(size_hw)}")
        check_rle(rle, size_hw)
        outline = None if corners is None else ring_of(corners)
        if outline is not None and len(outline) != 4:
            raise ValueError(f"its rbox must have four corners, found {len(outline)}")
        polygons = None if outline is None else ((outline,),)
        return AnnotatedObject(name, where, polygons=polygons, rle=rle)
    except KeyError as error:
        notes.malformed(where, f"it has no {error}")
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError) as error:
        notes.malformed(where, f"it cannot be understood: {str(error)[:200]}")
    return None
