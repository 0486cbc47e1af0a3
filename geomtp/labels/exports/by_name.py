"""A label store in the layouts of other tools: COCO, DOTA text, semantic PNG, SAMRS."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from geomtp.labels.exports.coco_stores import export_coco
from geomtp.labels.exports.dota import export_dota, path_beside
from geomtp.labels.exports.samrs import export_samrs
from geomtp.labels.store.label_store import LabelStore
from geomtp.labels.store.semantic_maps import semantic_map
from geomtp.types import IGNORE


def export_store(store: str | Path, form: str, out: str | Path, *, split: str | None = None) -> str:
    """Write a store, or one split of it, into the folder ``out``; a sentence of what was written.

    ``form`` is one of ``EXPORTS``. Raises ValueError for an unknown form, for a folder that is not
    empty, and for a store that lacks what the form holds; OSError when images cannot be read or
    files not written.
    """
    if form not in EXPORTS:
        raise ValueError(f"unknown export format {form!r}; known: {', '.join(EXPORTS)}")
    opened, folder = LabelStore.open(store), Path(out)
    part = opened if split is None else opened.subset(split)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} is not empty: give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    EXPORTS[form](part, folder)
    return f"{len(part)} images of {part.source} written to {folder} ({form})"


def _export_coco(store: LabelStore, out: Path) -> None:
    export_coco(store, out / "instances.json")


def export_semantic(store: LabelStore, out: Path) -> None:
    """``out/maps/NAME.png`` per image, indexed colours, and ``out/classes.csv``.

    A pixel is 0 for the background (black), k + 1 for class k in its colour, 255 for what does not
    count (white). Raises ValueError for a row without masks and map.
    """
    palette = palette_of(store)
    for labels in store:
        path = path_beside(out / "maps", labels.image, ".png")
        picture = Image.fromarray(
            semantic_map(labels, store.image_root, values=store.info.semantic_values)
        )  # mode L, then indexed
        picture.putpalette(palette.reshape(-1).tolist())
        picture.save(path, optimize=False)
    with (out / "classes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("value", "name", "red", "green", "blue"))
        for value, name in enumerate(("background", *store.classes.names)):
            writer.writerow((value, name, *palette[value].tolist()))


def palette_of(store: LabelStore) -> NDArray[np.uint8]:
    """Colours by pixel value: (256, 3) uint8; black background, white where nothing counts."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[1 : len(store.classes) + 1] = np.array(store.classes.palette).reshape(-1, 3)
    palette[IGNORE] = 255
    return palette


EXPORTS: dict[str, Callable[[LabelStore, Path], None]] = {
    "coco": _export_coco,
    "dota": export_dota,
    "samrs": export_samrs,
    "semantic": export_semantic,
}
"""The exports by the name that the command line uses."""
