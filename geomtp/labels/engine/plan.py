"""The plan of a labelling run: which images, in which order, in which shards; kept on disk.

A run's folder holds ``run.json`` (settings, classes, mean and standard deviation, number of shards)
and, until it is finished, ``shards/``: for each shard the annotations to label (``….jsonl``) and,
once done, its labels (``….arrow``). ``run.json`` is written last, so a plan is there whole or not.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from geomtp.checkpoints import replacing
from geomtp.labels.annotations import Annotations
from geomtp.labels.channel_statistics import measure_mean_std
from geomtp.labels.engine.annotation_lines import annotations_of, line_of
from geomtp.labels.engine.class_maps import Unmapped, apply_class_map, read_class_map
from geomtp.labels.engine.generate_config import GenerateLabels
from geomtp.labels.hash_order import hash_order
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.by_name import READERS
from geomtp.labels.store.building import check_classes, class_counts
from geomtp.labels.store.format import INFO_NAME, StoreInfo, read_json
from geomtp.labels.tiles.tile_names import tile_stem
from geomtp.types import ClassMap

_FILE = "run.json"
SPLIT_FOLDERS = {
    "train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Names of folders and the splits they stand for."""


@dataclass(frozen=True)
class Plan:
    """A run as planned.

    - settings: those that decide about the labels (``GenerateLabels.settings``)
    - classes: in order; mean, std: per channel
    - images, shards: how many
    - validation: the places (images without the part after ``__``) that go to "val"
    - notes: what the reader left out (``ReadNotes.content``)
    - finished: the store is there, and nothing is left to do
    """

    settings: dict[str, Any]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int
    shards: int
    validation: tuple[str, ...]
    notes: dict[str, Any]
    finished: bool = False

    def info(self, config: GenerateLabels) -> StoreInfo:
        """What the store says of all its images."""
        return StoreInfo(
            source=config.name,
            classes=ClassMap(self.classes),
            image_root=config.image_root,
            mean=self.mean,
            std=self.std,
            gsd_m=config.gsd_m,
            licence=config.licence,
        )


def shard_file(out: Path, number: int) -> Path:
    """Where the labels of a shard are written."""
    return out / "shards" / f"{number:06d}.arrow"


def work_of_shard(out: Path, number: int) -> list[Annotations]:
    """The annotations of a shard. Raises OSError where they are missing or damaged."""
    path = _work_file(out, number)
    try:
        return [annotations_of(line) for line in path.read_text("utf-8").splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise OSError(f"{path} is damaged ({error!r}): remove the folder {out}") from error


def _work_file(out: Path, number: int) -> Path:
    return out / "shards" / f"{number:06d}.jsonl"


def open_plan(config: GenerateLabels) -> Plan | None:
    """The plan of an earlier run in ``config.out``; None when there is none to go on with.

    Raises ValueError when labels were made with other settings (naming them), or when the folder
    holds a store that the label engine did not make.
    """
    path = config.out / _FILE
    if not path.is_file():
        if (config.out / INFO_NAME).is_file():
            raise ValueError(
                f"{config.out} already holds a label store that came about otherwise: "
                f"give another folder"
            )
        return None
    try:
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in read_json(path).items()
        }
        plan = Plan(**values)
    except (ValueError, TypeError) as error:
        raise OSError(f"{path} is damaged ({error}): remove the folder {config.out}") from error
    now = config.settings()
    changed = [
        f"{name} (was {plan.settings.get(name)!r}, now {now.get(name)!r})"
        for name in sorted({*now, *plan.settings})
        if plan.settings.get(name) != now.get(name)
    ]
    if changed and not any((config.out / "shards").glob("*.arrow")) and not plan.finished:
        return None  # nothing is lost when it is planned anew
    if changed:
        raise ValueError(
            f"{config.out} was begun with other settings: {', '.join(changed)}; repeat the old "
            f"ones to go on, or give another folder"
        )
    return plan


def make_plan(config: GenerateLabels) -> Plan:
    """Read the annotations once, write what there is to label below ``config.out``.

    No more than one image's annotations are held in memory, and the names of all. Raises ValueError
    for an unknown format, unknown classes, or when there is no image or no class; FileNotFoundError
    for missing folders.
    """
    if config.form not in READERS:
        raise ValueError(f"unknown annotation format {config.form!r}; known: {', '.join(READERS)}")
    settings = config.settings()  # before reading: what changes meanwhile shows at the next start
    notes = ReadNotes(config.strict)
    found: Counter[str] = Counter()
    names: list[str] = []
    folder = config.out / "shards"
    new = not config.out.exists()
    try:
        shutil.rmtree(folder, ignore_errors=True)
        reader = READERS[config.form](config.images, config.annotations, notes)
        if config.class_map is not None:
            unmapped: Unmapped = "drop" if config.skip_unknown else "error"
            names_map = read_class_map(config.class_map)
            reader = apply_class_map(reader, names_map, notes, unmapped=unmapped)
        for item in _written(config, reader):
            split_of(item.image, config, frozenset())  # raises before any work is done
            names.append(item.image)
            found += class_counts([item])
        if not names:
            raise ValueError(
                "no annotated image was found: check the folders and the format\n"
                + str(notes.report(0, 0, Counter()))
            )
        if config.tile_px is not None:
            _check_tile_names(names)
        classes = config.classes or tuple(sorted(found))
        if not classes:
            raise ValueError(f"no object was found in {config.annotations}, and no class was named")
        if not config.skip_unknown:
            check_classes(found, ClassMap(classes))
        mean, std = config.mean, config.std
        if mean is None or std is None:
            mean, std = measure_mean_std(config.images, names, config.channels)
    except BaseException:
        shutil.rmtree(config.out if new else folder, ignore_errors=True)
        raise
    plan = Plan(
        settings=settings,
        classes=classes,
        mean=mean,
        std=std,
        images=len(names),
        shards=-(-len(names) // config.images_per_shard),
        validation=_validation(config, names),
        notes=notes.content(),
    )
    save_plan(config.out, plan)
    return plan


def _check_tile_names(names: Sequence[str]) -> None:
    """Raise ValueError where tiles of two images would overwrite each other."""
    stems = Counter(tile_stem(name) for name in names)
    twice = [stem for stem, count in stems.items() if count > 1]
    if twice:
        raise ValueError(
            f"tiles are named after their image without its suffix, and {len(twice)} names occur "
            f"more than once, such as {twice[0]}: rename one of the images, or label without tiles"
        )


def _written(config: GenerateLabels, read: Iterator[Annotations]) -> Iterator[Annotations]:
    """The annotations as read, each after it was written into its shard's list of work."""
    (config.out / "shards").mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    number = 0
    for item in read:
        lines.append(line_of(item) + "\n")
        if len(lines) == config.images_per_shard:
            _work_file(config.out, number).write_text("".join(lines), "utf-8")
            lines, number = [], number + 1
        yield item
    if lines:
        _work_file(config.out, number).write_text("".join(lines), "utf-8")


def save_plan(out: Path, plan: Plan) -> None:
    """Write ``run.json`` in one step."""
    with replacing(out / _FILE) as part:
        part.write_text(json.dumps(dataclasses.asdict(plan), indent=1), "utf-8")


def place_of(image: str) -> str:
    """The image that a tile was cut from, by DOTA's way of naming; the image itself otherwise."""
    path = PurePosixPath(image)
    return (path.parent / path.stem.split("__")[0]).as_posix()


def _validation(config: GenerateLabels, names: Sequence[str]) -> tuple[str, ...]:
    """The places held out for validation: those whose names hash lowest."""
    if config.split != "hash" or not config.val_share:
        return ()
    places = hash_order(place_of(name) for name in names)
    if len(places) < 2:
        return ()  # there must be something to train on
    return tuple(sorted(places[: max(1, round(config.val_share * len(places)))]))


def split_of(image: str, config: GenerateLabels, validation: frozenset[str]) -> str:
    """The split of an image. Raises ValueError when no folder tells."""
    if config.split == "hash":
        return "val" if place_of(image) in validation else "train"
    if config.split != "folders":
        return config.split
    for part in PurePosixPath(image).parts[:-1]:
        if part.lower() in SPLIT_FOLDERS:
            return SPLIT_FOLDERS[part.lower()]
    raise ValueError(
        f"{image} lies in no folder named train, val, valid or test: choose another way to split"
    )
