"""From annotations to a label store: the labels of all three tasks from one set of objects."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.quality import check_masks
from geomtp.labels.masks.run_lengths import rle_box
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.segmenters.segmenter import PolygonSegmenter, Segmenter
from geomtp.labels.shapes import faults, horizontal_box, rotated_boxes
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, StoreWriter
from geomtp.types import ClassMap, SizeHW

Unknown = Literal["error", "skip"]


@dataclass(frozen=True, slots=True)
class Making:
    """How masks become labels.

    - check: compare each mask with its rotated box, and mend or flag it (``quality.py``)
    - keep_raw: store the mask as the segmenter gave it too
    """

    check: bool = True
    keep_raw: bool = False


def all_train(image: str) -> str:
    """Every image belongs to "train"."""
    return "train"


def build_store(
    annotations: Iterable[Annotations],
    segmenter: Segmenter | None,
    info: StoreInfo,
    out: str | Path,
    notes: ReadNotes,
    *,
    split_of: Callable[[str], str] = all_train,
    unknown: Unknown = "error",
    progress: bool = False,
) -> tuple[LabelStore, ReadReport]:
    """Write the store ``out`` from ``annotations`` and open it; with the report of what was kept.

    Each image gets rotated boxes, and horizontal boxes with masks from ``segmenter`` (the boxes are
    those around the masks; an empty mask leaves an object out of this list only). Without a
    segmenter there are boxes but no masks. Objects marked to be ignored, without area or wholly
    outside the image are left out and counted. ``split_of`` gives the split of an image by its
    path; ``notes`` are those that the reader of ``annotations`` was given.

    All annotations are held in memory (about 1 kB an object), so that unknown classes are found
    before the first image is segmented.

    Raises ValueError for classes that are not in ``info.classes`` (unless ``unknown="skip"``), and
    when there is not a single image.
    """
    read = list(annotations)
    if not read:
        raise ValueError(
            "no annotated image was found: check the folders and the format\n"
            + str(notes.report(0, 0, Counter()))
        )
    if unknown == "error":
        check_classes(class_counts(read), info.classes)
    images, empty, kept = 0, 0, Counter[str]()
    with StoreWriter(out, info) as writer:
        for item in track(read, "labels", disable=not progress):
            labels = labels_of(item, segmenter, info, split_of(item.image), notes)
            writer.add(labels)
            images += 1
            ids = labels.rbox_labels if labels.rbox_labels is not None else labels.box_labels
            empty += int(ids is None or len(ids) == 0)
            kept.update(info.classes.names[i] for i in (() if ids is None else ids.tolist()))
    return LabelStore.open(out), notes.report(images, empty, kept)


def classes_in(annotations: Sequence[Annotations]) -> ClassMap:
    """The classes that occur, in alphabetical order."""
    names = {item.name for image in annotations for item in image.objects if not item.ignore}
    return ClassMap(tuple(sorted(names)))


def class_counts(annotations: Iterable[Annotations]) -> Counter[str]:
    """How many objects each class name has, those to be ignored left out."""
    return Counter(
        item.name
        for image in annotations
        for item in (*image.objects, *(image.instances or ()))
        if not item.ignore
    )


class OtherClassesError(ValueError):
    """Labels of classes that are not among those that were asked for."""


def check_classes(found: Counter[str], classes: ClassMap) -> None:
    """Raise OtherClassesError: the names that ``classes`` lacks, with counts and near matches."""
    strangers = [(name, count) for name, count in found.most_common() if name not in classes.names]
    if not strangers:
        return
    lines = []
    for name, count in strangers[:20]:
        near = get_close_matches(name, classes.names, n=1)
        lines.append(f"{name!r} ({count} objects{f'; did you mean {near[0]!r}?' if near else ''})")
    raise OtherClassesError(
        f"{len(strangers)} unknown classes: {', '.join(lines)}; known: {', '.join(classes.names)}. "
        f"Name the classes as in the annotations, or ask to skip unknown ones"
    )


def labels_of(
    annotations: Annotations,
    segmenter: Segmenter | None,
    info: StoreInfo,
    split: str,
    notes: ReadNotes,
    making: Making | None = None,
) -> ImageLabels:
    """The row of one image; what is left out is counted in ``notes``.

    With ``making`` the masks are checked, or not, as it says, and the row says how they came about;
    without it masks are taken as the segmenter gives them and the row says nothing of it.
    """
    size_hw = annotations.size_hw
    objects = tuple(_usable(annotations.objects, annotations, info.classes, notes))
    rboxes = rotated_boxes(objects, size_hw)
    if annotations.instances is not None:
        instances = tuple(_usable(annotations.instances, annotations, info.classes, notes))
        instance_rboxes = rotated_boxes(instances, size_hw)
        segmenter = PolygonSegmenter()  # these come with their masks
    else:
        instances, instance_rboxes = objects, rboxes
    columns: dict[str, Any] = {}
    boxes: Sequence[tuple[float, float, float, float]]
    if segmenter is None:
        boxes = [horizontal_box(item, size_hw) for item in instances]
    else:
        to_segment = dataclasses.replace(annotations, objects=instances)
        masks = segmenter.segment(info.image_root / annotations.image, to_segment)
        columns = _mask_columns(masks, instance_rboxes, size_hw, making)
        found = [rle_box(rle, size_hw) for rle in columns["rles"]]
        for item, box in zip(instances, found, strict=True):
            if box is None:
                notes.left_out("empty mask", item.where, "its mask holds no pixel of the image")
        kept = [i for i, box in enumerate(found) if box]
        columns = {name: tuple(values[i] for i in kept) for name, values in columns.items()}
        instances = tuple(instances[i] for i in kept)
        boxes = [box for box in found if box]
    for name in {"scores", "coverage"} & set(columns):
        columns[name] = np.array(columns[name], dtype=np.float32)
    return ImageLabels(
        image=annotations.image,
        size_hw=size_hw,
        split=split,
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        box_labels=_ids(instances, info.classes),
        rboxes=_rounded(rboxes),
        rbox_labels=_ids(objects, info.classes),
        semantic=annotations.semantic,
        **columns,
    )


def _mask_columns(
    masks: Sequence[ObjectMask], rboxes: NDArray[np.float64], size_hw: SizeHW, making: Making | None
) -> dict[str, Sequence[Any]]:
    """The columns of ``ImageLabels`` on the masks, an entry per mask, the empty ones included."""
    if making is None:
        return {"rles": [mask.rle for mask in masks]}
    columns: dict[str, Sequence[Any]] = {
        "scores": [mask.score for mask in masks],
        "prompts": [mask.prompt for mask in masks],
        "rles": [mask.rle for mask in masks],
    }
    if making.check:
        checked = check_masks(masks, rboxes, size_hw)
        columns["rles"] = [mask.rle for mask in checked]
        columns["scores"] = [mask.score for mask in checked]
        columns["flags"] = [mask.flags for mask in checked]
        columns["coverage"] = [mask.coverage for mask in checked]
    if making.keep_raw:
        columns["raw_rles"] = [mask.rle for mask in masks]
    return columns


def _rounded(rboxes: NDArray[np.float64]) -> NDArray[np.float32]:
    """In float32; an angle that rounding lifts to π/2 is -π/2, so that the boxes stay le90."""
    stored = rboxes.astype(np.float32)
    stored[stored[:, 4] >= np.float32(np.pi / 2), 4] = -np.float32(np.pi / 2)
    return stored


def _ids(objects: Sequence[AnnotatedObject], classes: ClassMap) -> NDArray[np.int64]:
    return np.array([classes.index(item.name) for item in objects], dtype=np.int64)


def _usable(
    objects: Sequence[AnnotatedObject], image: Annotations, classes: ClassMap, notes: ReadNotes
) -> Iterator[AnnotatedObject]:
    """The objects that become labels; horizontal boxes clipped to the image."""
    wanted = []
    for item in objects:
        if item.ignore:
            notes.left_out("ignored", item.where, "marked to be ignored")
        elif item.name not in classes.names:
            notes.left_out("unknown class", item.where, f"class {item.name!r} is skipped")
        else:
            wanted.append(item)
    for item, found in zip(wanted, faults(wanted, image.size_hw), strict=True):
        if found:
            notes.left_out(found[0], f"{image.image}, {item.where}", found[1])
        elif item.box_xyxy is not None:
            yield dataclasses.replace(item, box_xyxy=horizontal_box(item, image.size_hw))
        else:
            yield item
