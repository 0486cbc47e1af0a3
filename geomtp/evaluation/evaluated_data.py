"""The images that a model is measured on, and whether its classes are theirs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from geomtp.data.folders import FolderStore, source_name
from geomtp.data.folders.layouts import IMAGES
from geomtp.data.sources import SOURCES
from geomtp.evaluation.evaluate_config import Evaluate
from geomtp.labels import ImageLabels, LabelStore, StoreInfo, write_store
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import IMAGE_SUFFIXES, ImageFolder
from geomtp.labels.store.building import OtherClassesError
from geomtp.labels.store.format import INFO_NAME
from geomtp.model import MultiTaskModel, SourceConfig


def source_of(config: Evaluate, model: MultiTaskModel) -> str:
    """The source of ``model`` whose classes are meant.

    Raises ValueError where several might be, or the one that is named is unknown.
    """
    known = list(model.config.sources) if model.config else []
    wanted = config.classes_of
    if wanted is None and len(known) > 1:
        stored = config.data / INFO_NAME
        name = LabelStore.open(config.data).source if stored.is_file() else config.source
        wanted = name if name in known else None
        if wanted is None:
            raise ValueError(
                f"the model knows {', '.join(known)}: say by --classes-of whose classes are meant"
            )
    if wanted is not None and wanted not in known:
        raise ValueError(f"the model knows no source {wanted!r}; known: {', '.join(known)}")
    return wanted or known[0]


def evaluated_store(
    config: Evaluate, tasks: list[str], source: SourceConfig, val_share: float
) -> LabelStore:
    """The images that are looked at, as a label store; made below ``config.out`` if DATA is none.

    Raises FileNotFoundError or ValueError in one sentence when it can't be had, holds no image of
    the split, or has other classes than ``source``.
    """
    store = _store(config, tasks, source, val_share)
    if store.classes.names != source.classes.names:
        raise ValueError(_other_classes(source.classes.names, store.classes.names))
    part = store if config.split == "all" else store.subset(config.split)
    if not len(part):
        found = Counter(row.split for row in store)
        splits = ", ".join(f"{name} ({count})" for name, count in found.items())
        raise ValueError(
            f"{config.data} has no images in its {config.split!r} split, only {splits}; "
            f"choose another by --split, or all of them by --split all"
        )
    return part


def _store(
    config: Evaluate, tasks: list[str], source: SourceConfig, val_share: float
) -> LabelStore:
    data, place = config.data, config.out / "store"
    if (data / INFO_NAME).is_file():
        return LabelStore.open(data)
    if not data.is_dir():
        raise FileNotFoundError(f"{data} is no folder: expected the folder of the data set")
    if config.source is not None:
        if config.source not in SOURCES:
            raise ValueError(f"unknown source {config.source!r}; known: {', '.join(SOURCES)}")
        return SOURCES[config.source].build(data, place)
    if _images_alone(data):
        return _unlabelled(config, source, place)
    task = config.task or (tasks[0] if len(tasks) == 1 else None)
    if task is None:
        raise ValueError(
            f"the model has the tasks {', '.join(tasks)}: say by --task what the labels of "
            f"{data} are for, or give a label store"
        )
    names = source.classes.names
    folder = FolderStore(task, names, val_share=val_share, channels=len(source.mean))
    try:
        return folder.build(data, place)[0]
    except OtherClassesError as error:
        raise ValueError(
            f"the checkpoint's classes are not the data's: it knows {', '.join(names)}, but {error}"
        ) from error


def _images_alone(data: Path) -> bool:
    """Whether a folder holds images and no labels: directly, or in its one folder ``images``."""
    entries = [path for path in data.iterdir() if not path.name.startswith(".")]
    if len(entries) == 1 and entries[0].is_dir() and entries[0].name.lower() in IMAGES:
        return True
    return bool(entries) and all(path.suffix.lower() in IMAGE_SUFFIXES for path in entries)


def _unlabelled(config: Evaluate, source: SourceConfig, place: Path) -> LabelStore:
    """Rows without labels, all of the split that was asked for."""
    folder = ImageFolder(config.data, ReadNotes(strict=not config.skip_bad))
    split = "test" if config.split == "all" else config.split
    rows = [
        ImageLabels(name, size_hw, split)
        for name in folder.names()
        if (size_hw := folder.size_hw(name)) is not None
    ]
    if not rows:
        raise ValueError(f"none of the images below {config.data} can be read")
    info = StoreInfo(
        source=source_name(config.data.resolve().name),
        classes=source.classes,
        image_root=config.data,
        mean=source.mean,
        std=source.std,
    )
    return write_store(place, rows, info)


def _other_classes(model: tuple[str, ...], data: tuple[str, ...]) -> str:
    if sorted(model) == sorted(data):
        return (
            f"model and data have the same classes in another order: the model {', '.join(model)}; "
            f"the data {', '.join(data)}; make the labels again with --classes in the model's order"
        )
    missing = [name for name in model if name not in data]
    strange = [name for name in data if name not in model]
    chosen = "" if missing else "; a run with --classes keeps its labels in stores/chosen_classes"
    return (
        f"the checkpoint's classes are not the data's ({len(model)} and {len(data)}): "
        f"only the model has {', '.join(missing) or 'none'}; "
        f"only the data have {', '.join(strange) or 'none'}{chosen}"
    )
