"""Folders of images, one folder per class."""

from __future__ import annotations

from pathlib import Path

from geomtp.data.folders.found import Found
from geomtp.data.folders.layouts import parts_of, splitter
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.building import OtherClassesError
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.types import ClassMap


def read_scenes(
    root: Path, classes: tuple[str, ...] | None, val_share: float, notes: ReadNotes
) -> Found:
    """The images in ``root``/CLASS, or in ``root``/train/CLASS, ``root``/val/CLASS and so on.

    Raises FileNotFoundError where there are no such folders, ValueError for one that is no class of
    ``classes``.
    """
    folder = ImageFolder(root, notes)
    by_part: dict[str | None, list[str]] = {}
    class_of: dict[str, str] = {}
    for split, part in parts_of(root).items():
        by_part[split] = []
        for image in ImageFolder(part, notes).names():
            name, slash, _ = image.partition("/")
            if slash:
                path = (part / image).relative_to(root).as_posix()
                by_part[split].append(path)
                class_of[path] = name
    if not class_of:
        raise FileNotFoundError(
            f"{root} holds no class folders with images: expected CLASS/image.png, "
            f"or train/CLASS/image.png and val/CLASS/image.png"
        )
    names = classes or tuple(sorted(set(class_of.values())))
    if strangers := sorted(set(class_of.values()) - set(names)):
        raise OtherClassesError(
            f"{root} holds folders of other classes: {', '.join(strangers)}; "
            f"the classes are {', '.join(names)}"
        )
    split_of = splitter(by_part, val_share, class_of.__getitem__)
    rows = [
        ImageLabels(
            image=image,
            size_hw=size_hw,
            split=split_of(image),
            scene_class=names.index(class_of[image]),
        )
        for image in class_of
        if (size_hw := folder.size_hw(image)) is not None
    ]
    return Found(ClassMap(names), rows)
