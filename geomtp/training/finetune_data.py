"""The data of a fine-tuning: its label store, and the share of it that is trained on."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from geomtp.data.folders import FolderStore, describe, source_name
from geomtp.data.sources import SOURCES
from geomtp.data.transforms import has_semantic
from geomtp.labels import ImageLabels, LabelStore
from geomtp.labels.hash_order import hash_order
from geomtp.labels.store.chosen_classes import store_of_classes
from geomtp.labels.store.format import INFO_NAME
from geomtp.training.configs import FineTune
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import LONGEST_WAIT_S, Say, wait_for_store


def build_fine_tune_store(config: FineTune, folder: RunFolder, say: Say) -> None:
    """Make the label store of ``config.data`` below ``folder``, if it is none, and describe it.

    That of a resumed run is used again. Raises FileNotFoundError or ValueError in one sentence when
    it can't be had.
    """
    if config.source is not None and config.source not in SOURCES:
        raise ValueError(f"unknown source {config.source!r}; known: {', '.join(SOURCES)}")
    place, whole = _place(config, folder), _place_of_all(config, folder)
    if config.resume and (place / INFO_NAME).is_file():
        say(describe(LabelStore.open(place)))
        return
    say(describe(LabelStore.open(whole)) if whole == _data(config) else _built(config, whole))
    if place != whole:
        assert config.classes is not None
        say("of these " + describe(store_of_classes(LabelStore.open(whole), config.classes, place)))


def _built(config: FineTune, place: Path) -> str:
    """Make the store of a known data set or of the user's folders; what was found."""
    data = _data(config)
    if config.source is None:
        return folder_store_of(config).build(data, place)[1]
    store, report = SOURCES[config.source].build_with_report(data, place, strict=config.strict)
    left_out = f"\n{report}" if report.left_out else ""
    return describe(store) + left_out


def folder_store_of(config: FineTune) -> FolderStore:
    """How a folder without a known layout is read for this run."""
    return FolderStore(
        config.task, config.classes, config.val_share, config.in_channels, config.strict
    )


def open_fine_tune_store(config: FineTune, folder: RunFolder) -> LabelStore:
    """The store that the first process made, perhaps on another machine, or that was brought."""
    place = _place(config, folder)
    wait_for_store(place, time.monotonic() + LONGEST_WAIT_S)
    return LabelStore.open(place)


def _data(config: FineTune) -> Path:
    if config.data is None:
        raise ValueError("fine-tuning needs --data: the folder of the data set")
    return config.data


def _place(config: FineTune, folder: RunFolder) -> Path:
    """Where the label store is, or is to be, of those classes that were asked for."""
    whole = _place_of_all(config, folder)
    named_as_found = config.source is None and whole != _data(config)
    if named_as_found or config.classes is None:
        return whole  # of plain folders: --classes names what they hold
    return folder.stores / "chosen_classes"


def _place_of_all(config: FineTune, folder: RunFolder) -> Path:
    data = _data(config)
    if (data / INFO_NAME).is_file():
        return data
    return folder.stores / (config.source or source_name(data.resolve().name))


def labelled_part(store: LabelStore, split: str, task: str) -> LabelStore:
    """The images of a split that are labelled for ``task``.

    Raises ValueError when there is none, naming what there is.
    """
    part = store.subset(split)
    labelled = [i for i, row in enumerate(part) if is_labelled(row, task)]
    if labelled:
        return part if len(labelled) == len(part) else part.rows(labelled)
    if len(part):
        raise ValueError(f"the {split!r} images of {store.source} have no labels for {task!r}")
    found = Counter(row.split for row in store)
    splits = ", ".join(f"{name} ({count})" for name, count in found.items())
    hint = "" if split == "train" else "; choose another by --validation-split, or give more images"
    raise ValueError(f"{store.source} has no images in its {split!r} split, only {splits}{hint}")


def labelled_parts(store: LabelStore, splits: Sequence[str], task: str) -> LabelStore:
    """The images of several splits that are labelled for ``task``; raises like ``labelled_part``.

    A split without images is passed over as long as another one has some.
    """
    if len(splits) == 1:
        return labelled_part(store, splits[0], task)
    chosen = [i for i, row in enumerate(store) if row.split in splits and is_labelled(row, task)]
    if not chosen:
        raise ValueError(f"{store.source} has no images for {task!r} in {' or '.join(splits)}")
    return store.rows(chosen)


def check_masks(store: LabelStore) -> None:
    """Raise ValueError where no image has masks, of which a mask decoder would learn nothing."""
    if all(row.rles is None for row in store):
        raise ValueError(
            f"the images of {store.source} have boxes but no masks: learn the boxes by the task "
            f"'horizontal', or make masks by `geomtp labels --segmenter sam`"
        )


def with_objects(store: LabelStore, task: str) -> LabelStore:
    """The images with at least one object of ``task``. Raises ValueError when there is none."""
    chosen = [i for i, row in enumerate(store) if _count_of_objects(row, task)]
    if not chosen:
        raise ValueError(f"no image of {store.source} has an object of {task!r} to train on")
    return store.rows(chosen)


def _count_of_objects(row: ImageLabels, task: str) -> int:
    objects = row.rboxes if task == "rotated" else row.boxes if row.boxes is not None else row.rles
    return 0 if objects is None else len(objects)


def is_labelled(row: ImageLabels, task: str) -> bool:
    """Whether an image has labels for ``task``; an image labelled as empty has."""
    return {
        "semantic": has_semantic(row),
        "instance": row.boxes is not None or row.rles is not None,
        "horizontal": row.boxes is not None or row.rles is not None,
        "rotated": row.rboxes is not None,
        "scene": row.scene_class is not None,
        "change": row.change is not None and row.image_after is not None,
    }[task]


def train_share(
    store: LabelStore, *, fraction: float = 1.0, limit: int | None = None, seed: int = 0
) -> LabelStore:
    """A ``fraction`` (0…1) of the images, at most ``limit`` of them, at least one.

    Which they are depends on ``seed`` and the images' names alone. A smaller share lies within a
    larger one; images with a class of their own (``scene_class``) come in the classes' proportions.
    """
    count = max(1, round(fraction * len(store)))
    if limit is not None:
        count = min(count, limit)
    if count == len(store):
        return store
    return store.rows(sorted(_drawing_order(store, seed)[:count]))


def _drawing_order(store: LabelStore, seed: int) -> list[int]:
    """All indices in the order in which they are drawn."""
    rows = {f"{seed} {row.image}": (i, row.scene_class) for i, row in enumerate(store)}
    sizes = Counter(scene_class for _, scene_class in rows.values())
    seen: Counter[int | None] = Counter()
    places = []
    for rank, key in enumerate(hash_order(rows)):
        index, scene_class = rows[key]
        # How far its class is drawn when it is its turn: classes take turns by their sizes.
        places.append((seen[scene_class] / sizes[scene_class], rank, index))
        seen[scene_class] += 1
    return [index for _, _, index in sorted(places)]
