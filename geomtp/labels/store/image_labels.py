"""The labels of one image as they are stored: plain numpy, nothing decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from geomtp.types import SizeHW

SPLITS = ("train", "val", "test")

PER_BOX = ("boxes", "box_labels", "rles", "scores", "flags", "prompts", "coverage", "raw_rles")
"""The columns of ``ImageLabels`` that have one entry per box."""


@dataclass(frozen=True)
class ImageLabels:
    """One row of a label store. None: the task is not labelled here; length 0: there is nothing.

    - image: path relative to the store's image root, with forward slashes
    - size_hw: height and width of the image in pixels
    - split: "train", "val" or "test"
    - boxes: (N, 4) float32, x1 y1 x2 y2 pixels; box_labels: (N,) int64, 0…K−1
    - rles: one COCO run-length string (compressed "counts") per box, of the full image size
    - rboxes: (M, 5) float32, cx cy w h pixels, angle radians (le90); rbox_labels: (M,) int64
    - semantic: path (like ``image``) of a grey map that holds the class id, 255 for background;
      where it is None and ``rles`` is not, the semantic map is painted from the masks, larger
      objects first, so that the smaller lie on top (equal areas: the higher score, then the later)
    - scene_class: class id of the whole image
    - image_after: path (like ``image``) of the same place at a second date, of the same size
    - change: path (like ``image``) of a grey map of what changed between the dates: 0 unchanged,
      1 changed, 255 unknown

    Grey maps of other values are read through ``StoreInfo.semantic_values`` and ``change_values``.

    How the masks came about, one entry per box, where a segmenter made them (else None):

    - scores: (N,) float32, the segmenter's own, 0…1
    - flags: what quality control did to the mask or thinks of it, none or several words per box
    - prompts: what the segmenter was shown ("h", "r", "rh"; "" for nothing)
    - coverage: (N,) float32, the share of the rotated box that the mask fills, 0…1
    - raw_rles: the masks as the segmenter gave them, before quality control; may be empty masks

    Not stored, but made by ``DoubtRule``:

    - ignored_rles: masks whose pixels are to be ignored in the painted semantic map

    Raises ValueError for an unknown split or when lengths disagree.
    """

    image: str
    size_hw: SizeHW
    split: str = "train"
    boxes: NDArray[np.float32] | None = None
    box_labels: NDArray[np.int64] | None = None
    rles: tuple[bytes, ...] | None = None
    rboxes: NDArray[np.float32] | None = None
    rbox_labels: NDArray[np.int64] | None = None
    semantic: str | None = None
    scene_class: int | None = None
    scores: NDArray[np.float32] | None = None
    flags: tuple[tuple[str, ...], ...] | None = None
    prompts: tuple[str, ...] | None = None
    coverage: NDArray[np.float32] | None = None
    raw_rles: tuple[bytes, ...] | None = None
    image_after: str | None = None
    change: str | None = None
    ignored_rles: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise ValueError(f"unknown split {self.split!r}; known: {', '.join(SPLITS)}")
        for name in (*PER_BOX, "rboxes"):
            items = getattr(self, name)
            labels = self.rbox_labels if name == "rboxes" else self.box_labels
            if items is not None and (labels is None or len(items) != len(labels)):
                count = None if labels is None else len(labels)
                raise ValueError(f"{self.image}: {len(items)} {name} but {count} labels")

    def with_boxes(self, kept: NDArray[np.intp]) -> Self:
        """The same with the boxes ``kept`` (numbers) alone, and what belongs to them."""
        columns: dict[str, Any] = {
            name: tuple(value[i] for i in kept) if isinstance(value, tuple) else value[kept]
            for name in PER_BOX
            if (value := getattr(self, name)) is not None
        }
        return replace(self, **columns)
