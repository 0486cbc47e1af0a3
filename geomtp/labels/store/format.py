"""The files of a label store: what ``store.json`` says, and rows as columns and back."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.ipc
from numpy.typing import NDArray

from geomtp.labels.annotations import relative_path
from geomtp.labels.store.image_labels import SPLITS, ImageLabels
from geomtp.types import ClassMap

pa: Any = pyarrow  # it has no types of its own

INFO_NAME = "store.json"
_FORMAT = "geomtp label store"
_VERSION = 3
SCHEMA = pa.schema(
    [
        pa.field("image", pa.string(), nullable=False),
        pa.field("height", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("split", pa.int8(), nullable=False),  # index into SPLITS
        pa.field("boxes", pa.list_(pa.list_(pa.float32(), 4))),
        pa.field("box_labels", pa.list_(pa.int64())),
        pa.field("rles", pa.list_(pa.binary())),
        pa.field("rboxes", pa.list_(pa.list_(pa.float32(), 5))),
        pa.field("rbox_labels", pa.list_(pa.int64())),
        pa.field("semantic", pa.string()),
        pa.field("scene_class", pa.int32()),
        pa.field("scores", pa.list_(pa.float32())),
        pa.field("flags", pa.list_(pa.list_(pa.string()))),
        pa.field("prompts", pa.list_(pa.string())),
        pa.field("coverage", pa.list_(pa.float32())),
        pa.field("raw_rles", pa.list_(pa.binary())),
        pa.field("image_after", pa.string()),
        pa.field("change", pa.string()),
    ]
)
_COLUMNS = {
    1: 11,  # up to scene_class
    2: 16,  # and how the masks came about
    _VERSION: len(SCHEMA),
}
"""How many of the columns stores of each version have."""
_VALUES = ("semantic_values", "change_values")


@dataclass(frozen=True)
class StoreInfo:
    """What holds for all images of a store.

    - source: name of the data set; classes: its classes in order
    - image_root: the folder that the image paths are relative to
    - mean, std: per channel in units of the image's values (0…255 for 8-bit images); their length
      is the number of channels that training reads: ``read_window(…, bands=range(len(mean)))``
    - gsd_m: metres per pixel, None where unknown or mixed
    - licence: of images and labels
    - semantic_values: what the values of grey class maps mean: 0 background, k + 1 class k, 255 to
      be ignored. None: 255 is background, c is class c
    - change_values: likewise of change maps: 0 unchanged, 1 changed, 255 to be ignored. None: the
      values are these

    Raises ValueError when mean and std differ in length, or a std is not positive.
    """

    source: str
    classes: ClassMap
    image_root: Path
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gsd_m: float | None = None
    licence: str = ""
    semantic_values: dict[int, int] | None = None
    change_values: dict[int, int] | None = None

    def __post_init__(self) -> None:
        if not self.mean or len(self.mean) != len(self.std):
            raise ValueError(
                f"mean and std hold one number per channel, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if not all(value > 0 for value in self.std):
            raise ValueError(f"every std must be positive, got {self.std}")


def check_row(labels: ImageLabels, class_count: int) -> None:
    """Raise ValueError for labels that a store of ``class_count`` classes must not hold."""
    for path in (labels.image, labels.semantic, labels.image_after, labels.change):
        if path is not None and relative_path(path) != path:
            raise ValueError(f"image paths have forward slashes and no '.', got {path!r}")
    for name, ids in (("box_labels", labels.box_labels), ("rbox_labels", labels.rbox_labels)):
        if ids is not None and len(ids) and not (ids.min() >= 0 and ids.max() < class_count):
            raise ValueError(
                f"{labels.image}: {name} must lie in 0…{class_count - 1}, "
                f"found {ids.min()}…{ids.max()}"
            )
    for name in ("boxes", "rboxes", "scores", "coverage"):
        numbers = getattr(labels, name)
        if numbers is not None and not np.isfinite(numbers.astype(np.float32)).all():
            raise ValueError(f"{labels.image}: {name} must be finite numbers")


def row_columns(labels: ImageLabels) -> dict[str, Any]:
    """One row by column name, as ``SCHEMA`` wants it."""

    def rows(entries: Iterable[Any] | None) -> list[Any] | None:
        return None if entries is None else list(entries)

    return {
        "image": labels.image,
        "height": labels.size_hw[0],
        "width": labels.size_hw[1],
        "split": SPLITS.index(labels.split),
        "boxes": rows(labels.boxes),
        "box_labels": rows(labels.box_labels),
        "rles": rows(labels.rles),
        "rboxes": rows(labels.rboxes),
        "rbox_labels": rows(labels.rbox_labels),
        "semantic": labels.semantic,
        "scene_class": labels.scene_class,
        "scores": rows(labels.scores),
        "flags": None if labels.flags is None else [list(words) for words in labels.flags],
        "prompts": rows(labels.prompts),
        "coverage": rows(labels.coverage),
        "raw_rles": rows(labels.raw_rles),
        "image_after": labels.image_after,
        "change": labels.change,
    }


def row_labels(batch: Any, row: int) -> ImageLabels:
    """One row as numpy arrays of its own (the map itself is read-only)."""
    known = set(batch.schema.names)

    def value(name: str) -> Any:
        return batch.column(name)[row].as_py() if name in known else None

    def several(name: str) -> tuple[Any, ...] | None:
        values = value(name)
        return None if values is None else tuple(values)

    def boxes(name: str, columns: int) -> NDArray[np.float32] | None:
        values = batch.column(name)[row].values
        if values is None:
            return None
        array: NDArray[np.float32] = values.flatten().to_numpy().reshape(-1, columns).copy()
        return array

    def numbers(name: str) -> NDArray[Any] | None:
        values = batch.column(name)[row].values if name in known else None
        return None if values is None else values.to_numpy().copy()

    flags = value("flags")
    return ImageLabels(
        image=value("image"),
        size_hw=(value("height"), value("width")),
        split=SPLITS[value("split")],
        boxes=boxes("boxes", 4),
        box_labels=numbers("box_labels"),
        rles=several("rles"),
        rboxes=boxes("rboxes", 5),
        rbox_labels=numbers("rbox_labels"),
        semantic=value("semantic"),
        scene_class=value("scene_class"),
        scores=numbers("scores"),
        flags=None if flags is None else tuple(tuple(words) for words in flags),
        prompts=several("prompts"),
        coverage=numbers("coverage"),
        raw_rles=several("raw_rles"),
        image_after=value("image_after"),
        change=value("change"),
    )


def info_json(path: Path, info: StoreInfo, labels_name: str) -> str:
    """The content of ``store.json``, for the store at ``path`` and labels in ``labels_name``."""
    # Images that lie inside the store move with it; others are found by their absolute path.
    root, store = info.image_root.resolve(), path.resolve()
    inside = root.is_relative_to(store)
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "labels": labels_name,
        "source": info.source,
        "classes": list(info.classes.names),
        "palette": [list(colour) for colour in info.classes.palette],
        "image_root": root.relative_to(store).as_posix() if inside else root.as_posix(),
        "mean": list(info.mean),
        "std": list(info.std),
        "gsd_m": info.gsd_m,
        "licence": info.licence,
    }
    for name in _VALUES:
        if (values := getattr(info, name)) is not None:
            content[name] = values  # JSON makes texts of the keys
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises OSError, or ValueError when it holds none."""
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError("expected an object")
    return content


def read_info(path: Path, image_root: str | Path | None) -> tuple[StoreInfo, Path]:
    """What ``store.json`` says, and the path of the labels."""
    file = path / INFO_NAME
    if not file.is_file():
        raise FileNotFoundError(
            f"{path} holds no label store (no store.json): build one with "
            f"`geomtp labels` or `geomtp data prepare`"
        )
    try:
        content = read_json(file)
        if content.get("format") != _FORMAT:
            raise ValueError(f"expected the format {_FORMAT!r}, found {content.get('format')!r}")
    except ValueError as error:
        raise OSError(f"{file} is damaged or no label store: {error}") from error
    if content.get("version") not in _COLUMNS:
        raise ValueError(
            f"{file} has version {content.get('version')}, this program reads "
            f"{', '.join(map(str, _COLUMNS))}: build the store anew"
        )
    try:
        info = StoreInfo(
            source=content["source"],
            classes=ClassMap(
                tuple(content["classes"]), tuple((r, g, b) for r, g, b in content["palette"])
            ),
            image_root=Path(image_root) if image_root else path / content["image_root"],
            mean=tuple(content["mean"]),
            std=tuple(content["std"]),
            gsd_m=content["gsd_m"],
            licence=content["licence"],
            **{
                name: {int(key): int(value) for key, value in content[name].items()}
                for name in _VALUES
                if name in content
            },
        )
        return info, path / relative_path(content["labels"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise OSError(f"{file} is damaged: {error!r}") from error


def read_batches(labels: Path) -> list[Any]:
    """The record batches in ``labels``, memory-mapped. Raises OSError naming a damaged file."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(labels)))
        count = len(reader.schema)
        if count not in _COLUMNS.values() or not reader.schema.equals(
            pa.schema(list(SCHEMA)[:count])
        ):
            raise pa.ArrowInvalid("its columns are not those of a label store")
        return [reader.get_batch(i) for i in range(reader.num_record_batches)]
    except (OSError, pa.ArrowException) as error:
        raise OSError(f"{labels} is missing or damaged: {error}; build the store anew") from error
