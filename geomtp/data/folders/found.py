"""What was found in a folder of data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from geomtp.labels.store.image_labels import ImageLabels
from geomtp.types import ClassMap


@dataclass(frozen=True)
class Found:
    """Rows for a label store, with paths relative to the folder.

    - semantic_values, change_values: what the values of the maps mean (``StoreInfo``)
    - remarks: sentences for the user
    """

    classes: ClassMap
    rows: Sequence[ImageLabels]
    semantic_values: dict[int, int] | None = None
    change_values: dict[int, int] | None = None
    remarks: tuple[str, ...] = ()
