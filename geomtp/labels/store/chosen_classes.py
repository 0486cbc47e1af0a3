"""A store of some classes of another one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.types import IGNORE, ClassMap


def store_of_classes(store: LabelStore, names: Sequence[str], path: Path) -> LabelStore:
    """Write a store at ``path`` that has the classes ``names`` of ``store`` alone, in this order.

    Objects of other classes are left out, other pixels of maps are background, and images whose
    own class (``scene_class``) is another one are left out. Colours stay.

    Raises ValueError for a name that ``store`` lacks or that comes twice, or for none.
    """
    if not names:
        raise ValueError("choose at least one class")
    old = [store.classes.index(name) for name in names]
    classes = ClassMap(tuple(names), tuple(store.classes.palette[k] for k in old))
    new = np.full(len(store.classes), -1, dtype=np.int64)
    new[old] = np.arange(len(old))
    before = store.info.semantic_values
    if before is None:
        before = {IGNORE: 0} | {k: k + 1 for k in range(len(new))}
    after = {
        value: meaning if meaning in (0, IGNORE) else int(new[meaning - 1]) + 1
        for value, meaning in before.items()
    }
    info = dataclasses.replace(store.info, classes=classes, semantic_values=after)
    return write_store(path, _chosen(store, new), info)


def _chosen(store: LabelStore, new: NDArray[np.int64]) -> Iterator[ImageLabels]:
    """The rows with their classes renumbered; ``new`` (K,) holds -1 for classes that go."""
    for row in store:
        changes: dict[str, Any] = {}
        some = row
        if row.scene_class is not None:
            if new[row.scene_class] < 0:
                continue
            changes["scene_class"] = int(new[row.scene_class])
        if row.box_labels is not None:
            some = row.with_boxes(np.flatnonzero(new[row.box_labels] >= 0))
            changes["box_labels"] = new[some.box_labels]
        if row.rbox_labels is not None:
            kept = np.flatnonzero(new[row.rbox_labels] >= 0)
            changes["rboxes"] = None if row.rboxes is None else row.rboxes[kept]
            changes["rbox_labels"] = new[row.rbox_labels[kept]]
        yield dataclasses.replace(some, **changes)
