"""The annotation readers by the name that the command line uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.coco import read_coco
from geomtp.labels.readers.dota import read_dota
from geomtp.labels.readers.geojson import read_geojson
from geomtp.labels.readers.geopackage import read_geopackage
from geomtp.labels.readers.samrs_pickles import read_samrs_pickles
from geomtp.labels.readers.xml_files import read_dior, read_fair1m, read_voc
from geomtp.labels.readers.xview import read_xview
from geomtp.labels.readers.yolo_obb import read_yolo_obb

Reader = Callable[[Path, Path, ReadNotes], Iterator[Annotations]]
"""Called with the image folder, the annotation file or folder, and the notes to write into."""

READERS: dict[str, Reader] = {
    "coco": read_coco,
    "dior": read_dior,
    "dota": read_dota,
    "fair1m": read_fair1m,
    "geojson": read_geojson,
    "geopackage": read_geopackage,
    "samrs": read_samrs_pickles,
    "voc": read_voc,
    "xview": read_xview,
    "yolo_obb": read_yolo_obb,
}


def read_annotations(
    form: str, images: str | Path, annotations: str | Path, *, strict: bool = False
) -> tuple[list[Annotations], ReadNotes]:
    """All annotations in a format by name, and the notes of what was left out so far.

    Raises ValueError for an unknown format (listing the known ones), and with ``strict`` for the
    first malformed entry; FileNotFoundError for missing folders.
    """
    if form not in READERS:
        raise ValueError(f"unknown annotation format {form!r}; known: {', '.join(READERS)}")
    notes = ReadNotes(strict)
    return list(READERS[form](Path(images), Path(annotations), notes)), notes
