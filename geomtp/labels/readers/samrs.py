"""The layout of SAMRS as multi-task pretraining reads it: three kinds of labels side by side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.coco import read_coco
from geomtp.labels.readers.dota import dota_objects
from geomtp.labels.readers.xml_files import dior_objects


@dataclass(frozen=True)
class SamrsLayout:
    """Where a SAMRS set keeps its parts, relative to its root.

    - images, grey, rotated: folders of images, grey maps (255 = background) and rotated boxes
    - rotated_suffix: ".txt" (as DOTA) or ".xml" (as DIOR)
    - instances: the COCO json (run-lengths) of each split
    """

    images: str
    grey: str
    rotated: str
    rotated_suffix: str
    instances: dict[str, str]


def read_samrs(
    root: Path, layout: SamrsLayout, split: str, notes: ReadNotes
) -> Iterator[Annotations]:
    """The images that the split's COCO json lists: objects (rotated boxes), instances, grey map.

    The two lists are independent. An image whose grey map or rotated boxes are missing is noted and
    left out. Raises FileNotFoundError or ValueError for a missing or unusable json.
    """
    for item in read_coco(root / layout.images, root / layout.instances[split], notes):
        stem = PurePosixPath(item.image).with_suffix("")
        semantic = f"{layout.grey}/{stem}.png"
        rotated = root / layout.rotated / f"{stem}{layout.rotated_suffix}"
        missing = [path for path in (root / semantic, rotated) if not path.is_file()]
        if missing:
            notes.left_out("incomplete", item.image, f"{missing[0]} does not exist")
            continue
        read = dota_objects if layout.rotated_suffix == ".txt" else dior_objects
        objects = read(rotated, notes)
        if objects is not None:
            yield Annotations(
                f"{layout.images}/{item.image}", item.size_hw, objects, item.objects, semantic
            )
