"""Folders of images with objects: COCO json, or text files of DOTA or YOLO."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from geomtp.data.folders.layouts import IMAGES, parts_of
from geomtp.data.folders.yolo import is_yolo, yolo_names
from geomtp.labels.annotations import Annotations
from geomtp.labels.engine.plan import SPLIT_FOLDERS
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.coco import read_coco, read_json_object
from geomtp.labels.readers.dota import read_dota
from geomtp.labels.readers.yolo_obb import NAME_FILES, read_yolo_obb

TEXTS = ("labeltxt", "labels", "annotations")


def holds_objects(root: Path) -> bool:
    """Whether there are annotations of objects below ``root``."""
    return any(_coco_files(part) or _texts(part) for _, part in _places(root))


def read_objects(
    root: Path, notes: ReadNotes, classes: Sequence[str] | None = None
) -> Iterator[tuple[str | None, Annotations]]:
    """The annotations below ``root`` with their split, images relative to ``root``.

    COCO: one json in the folder or in its ``annotations``, of each split's folder or named after
    the split (``annotations/train.json``). DOTA: ``labelTxt`` beside ``images``. YOLO: ``labels``
    beside ``images`` with class names in ``data.yaml``, or else ``classes`` by index. The splits'
    folders may also lie below ``images`` and ``labels``.

    Raises FileNotFoundError that says what is expected, and what the readers raise; ValueError for
    YOLO's class indices without a name.
    """
    found = False
    for split, part in _places(root):
        for file in _coco_files(part):
            found = True
            own = split or _split_named(file)
            images = _images_of(file, root, part, own)
            for item in read_coco(images, file, notes):
                yield own, _below(root, images, item)
        texts = _texts(part)
        if texts is not None and not _coco_files(part):
            found = True
            images = _image_folder(part)
            for own, item in _of_texts(images, texts, notes, classes):
                yield split or own, _below(root, images, item)
    if not found:
        raise FileNotFoundError(
            f"{root} holds no annotations: expected annotations.json or annotations/train.json and "
            f"val.json (COCO), labelTxt beside images (DOTA), or labels and data.yaml beside "
            f"images (YOLO), also below train and val"
        )


def object_classes(root: Path) -> tuple[str, ...] | None:
    """The class names in the order of their indices, where YOLO's files name them."""
    for _, part in _places(root):
        texts = _texts(part)
        if texts is not None and not _coco_files(part) and is_yolo(texts):
            names = yolo_names(texts, None)
            return tuple(names[index] for index in sorted(names))
    return None


def _of_texts(
    images: Path, texts: Path, notes: ReadNotes, classes: Sequence[str] | None
) -> Iterator[tuple[str | None, Annotations]]:
    """The annotations of text files, with the split that a folder below ``images`` names."""
    if is_yolo(texts):
        names = yolo_names(texts, classes)
        items = list(read_yolo_obb(images, texts, notes, names=names, stop_at_unnamed=True))
    else:
        items = list(read_dota(images, texts, notes))
    splits = [SPLIT_FOLDERS.get(PurePosixPath(item.image).parts[0].lower()) for item in items]
    for split, item in zip(splits, items, strict=True):
        yield (None if None in splits else split), item


def _places(root: Path) -> list[tuple[str | None, Path]]:
    """Where annotations may lie: below the folders of the splits, and below ``root``."""
    parts = dict(parts_of(root))
    return list({**parts, None: root}.items())


def _below(root: Path, images: Path, item: Annotations) -> Annotations:
    path = (images / item.image).relative_to(root).as_posix()
    return dataclasses.replace(item, image=path)


def _coco_files(part: Path) -> list[Path]:
    files = sorted(part.glob("*.json")) + sorted((part / "annotations").glob("*.json"))
    return [file for file in files if not file.name.startswith((".", "store"))]


def _texts(part: Path) -> Path | None:
    """The folder of the text files of DOTA or YOLO; one of masks may hold a list of classes."""
    for path in sorted(part.iterdir()):
        if path.is_dir() and path.name.lower().startswith(TEXTS):
            texts = (file for file in path.rglob("*.txt") if file.name not in NAME_FILES)
            if next(texts, None) is not None:
                return path
    return None


def _split_named(file: Path) -> str | None:
    """The split that a file's name speaks of, such as instances_train2017.json."""
    words = file.stem.lower().replace("-", "_").rstrip("0123456789").split("_")
    return next((SPLIT_FOLDERS[word] for word in words if word in SPLIT_FOLDERS), None)


def _image_folder(part: Path) -> Path:
    return next((part / name for name in IMAGES if (part / name).is_dir()), part)


def _images_of(file: Path, root: Path, part: Path, split: str | None) -> Path:
    """The folder in which the first image of a COCO json lies; the likeliest where none does."""
    names = [name for name, meant in SPLIT_FOLDERS.items() if meant == split]
    folders = [_image_folder(part), part, *(root / name for name in names)]
    folders += [_image_folder(root) / name for name in names]
    entries = read_json_object(file).get("images")
    first = entries[0] if isinstance(entries, list) and entries else None
    name = str(first.get("file_name", first.get("filename", ""))) if isinstance(first, dict) else ""
    return next((folder for folder in folders if name and (folder / name).is_file()), folders[0])
