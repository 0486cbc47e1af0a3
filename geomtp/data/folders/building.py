"""A label store from a folder of data, laid out as people do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geomtp.data.folders.found import Found
from geomtp.data.folders.layouts import splitter
from geomtp.data.folders.maps import read_change, read_semantic
from geomtp.data.folders.objects import holds_objects, object_classes, read_objects
from geomtp.data.folders.scenes import read_scenes
from geomtp.data.folders.suspicions import suspicions
from geomtp.labels.annotations import Annotations
from geomtp.labels.channel_statistics import measure_mean_std
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.segmenters.segmenter import PolygonSegmenter, Segmenter
from geomtp.labels.store.building import build_store, classes_in
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.rasters import raster_info
from geomtp.types import ClassMap


@dataclass(frozen=True)
class FolderStore:
    """How to read a folder for one task.

    - task: one of ``ALL_TASKS``; classes: names in order, None: as found
    - val_share: how much is held out where no folders named train and val say it
    - channels: bands to read, None: those of the first image (grey ones count as three)
    - strict: stop at the first malformed annotation
    """

    task: str
    classes: tuple[str, ...] | None = None
    val_share: float = 0.2
    channels: int | None = None
    strict: bool = False

    def build(self, root: Path, out: Path) -> tuple[LabelStore, str]:
        """Write the label store ``out`` of the folder ``root``; with what was found, for the user.

        Raises FileNotFoundError or ValueError in one sentence when the layout is another, or the
        labels mean nothing.
        """
        notes = ReadNotes(self.strict)
        if self.task in ("instance", "horizontal", "rotated"):
            return self._objects(root, out, notes)
        if self.task == "semantic" and holds_objects(root):
            return self._objects(root, out, notes)
        found = self._found(root, notes)
        info = self._info(root, found.rows, found.classes, found)
        store = write_store(out, found.rows, info)
        counts = Counter(
            found.classes.names[row.scene_class]
            for row in found.rows
            if row.scene_class is not None
        )
        report = notes.report(len(found.rows), 0, counts)
        left_out = [str(report)] if report.left_out else []
        return store, "\n".join([describe(store), *found.remarks, *left_out])

    def _found(self, root: Path, notes: ReadNotes) -> Found:
        if self.task == "scene":
            return read_scenes(root, self.classes, self.val_share, notes)
        if self.task == "change":
            return read_change(root, self.classes, self.val_share, notes)
        return read_semantic(root, self.classes, self.val_share, notes)

    def _objects(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, str]:
        read = list(read_objects(root, notes, self.classes))
        items = [item for _, item in read]
        if not items:
            raise ValueError(f"none of the annotations below {root} has an image{_first(notes)}")
        if not any(item.objects for item in items):
            raise ValueError(f"the annotations below {root} hold no object{_first(notes)}")
        twice = [image for image, n in Counter(item.image for item in items).items() if n > 1]
        if twice:
            raise ValueError(
                f"{len(twice)} images below {root} are annotated in several places, such as "
                f"{twice[0]}: an image belongs to one file and one split"
            )
        names = self.classes or object_classes(root)
        classes = ClassMap(names) if names else classes_in(items)
        parts: dict[str | None, list[str]] = {}
        for split, item in read:
            parts.setdefault(split, []).append(item.image)
        rows = [ImageLabels(item.image, item.size_hw) for item in items]
        store, report = build_store(
            items,
            self._segmenter(items),
            self._info(root, rows, classes, None),
            out,
            notes,
            split_of=splitter(parts, self.val_share, lambda image: ""),
        )
        return store, "\n".join([describe(store), str(report), *suspicions(items, self.task)])

    def _segmenter(self, items: list[Annotations]) -> Segmenter | None:
        """What makes masks for the task: outlines, and filled boxes where an object has none.

        Raises ValueError for semantic maps of boxes.
        """
        if self.task in ("horizontal", "rotated"):
            return None
        boxed = [o.where for item in items for o in item.objects if o.is_box and not o.ignore]
        if boxed and self.task == "semantic":
            raise ValueError(
                f"boxes without outlines make no semantic map ({len(boxed)}, such as {boxed[0]}): "
                f"make masks of them first by `geomtp labels --segmenter sam`, and give the label "
                f"store as --data"
            )
        return PolygonSegmenter(fill_boxes=True)

    def _info(
        self, root: Path, rows: Sequence[ImageLabels], classes: ClassMap, found: Found | None
    ) -> StoreInfo:
        """What the store says; mean and standard deviation are measured on training images."""
        if not rows:
            raise ValueError(f"none of the images below {root} can be read")
        training = [row for row in rows if row.split == "train"] or rows
        images = [p for row in training for p in (row.image, row.image_after) if p is not None]
        channels = self.channels or raster_info(root / images[0]).channels
        mean, std = measure_mean_std(root, images, channels)
        return StoreInfo(
            source=source_name(root.resolve().name),
            classes=classes,
            image_root=root,
            mean=mean,
            std=std,
            semantic_values=None if found is None else found.semantic_values,
            change_values=None if found is None else found.change_values,
        )


def _first(notes: ReadNotes) -> str:
    """The first sentence about what was left out, as the end of another."""
    examples = notes.report(0, 0, Counter()).examples
    return f", such as {examples[0]}" if examples else ""


def source_name(text: str) -> str:
    """A name as models name sources: letters, digits, - and _."""
    return re.sub(r"[^\w-]+", "_", text).strip("_") or "data"


def describe(store: LabelStore) -> str:
    """Images by split, their sizes, and the classes, in two lines."""
    splits = Counter(row.split for row in store)
    sizes = Counter(row.size_hw for row in store)
    most = ", ".join(f"{w} × {h} ({n})" for (h, w), n in sizes.most_common(3))
    more = f" and {len(sizes) - 3} other sizes" if len(sizes) > 3 else ""
    counts = ", ".join(f"{split} {splits[split]}" for split in ("train", "val", "test"))
    return (
        f"{store.source}: {len(store)} images ({counts}), {len(store.mean)} channels, "
        f"{most}{more}\n{_classes(store)}"
    )


def _classes(store: LabelStore) -> str:
    """The classes and how often each is labelled; those of the validation alone are pointed out."""
    counts: dict[str, Counter[int]] = {"train": Counter(), "val": Counter(), "test": Counter()}
    for row in store:
        labels = row.rbox_labels if row.rbox_labels is not None else row.box_labels
        counts[row.split].update([] if labels is None else labels.tolist())
        if row.scene_class is not None:
            counts[row.split][row.scene_class] += 1
    total = counts["train"] + counts["val"] + counts["test"]
    names = store.classes.names
    text = ", ".join(f"{n} {total[i]}" if total else n for i, n in enumerate(names))
    missing = [n for i, n in enumerate(names) if total[i] and not counts["train"][i]]
    warning = f"; NOT in training: {', '.join(missing)}" if missing else ""
    return f"{len(names)} classes: {text}{warning}"
