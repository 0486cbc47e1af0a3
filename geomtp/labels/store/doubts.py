"""Leaving out instances that quality control or the segmenter itself doubts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geomtp.labels.masks.quality import FLAGS
from geomtp.labels.store.image_labels import ImageLabels


@dataclass(frozen=True)
class DoubtRule:
    """Which instances of a store are not trained on.

    - least_score: those that the segmenter gave less, 0…1
    - flags: those with any of these flags (``quality.FLAGS``)

    The default leaves nothing out. Stores without scores or flags are not touched by that part of
    the rule.

    Raises ValueError for a flag that there is not.
    """

    least_score: float = 0.0
    flags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := [flag for flag in self.flags if flag not in FLAGS]:
            raise ValueError(f"unknown flag {unknown[0]!r}; known: {', '.join(FLAGS)}")

    def apply(self, labels: ImageLabels) -> ImageLabels:
        """``labels`` without the doubtful instances; their pixels are to be ignored.

        Rotated boxes stay: they are the annotation itself. A semantic map that is stored as a file
        stays as it is.
        """
        if labels.boxes is None:
            return labels
        doubtful = np.zeros(len(labels.boxes), dtype=bool)
        if self.least_score and labels.scores is not None:
            doubtful |= labels.scores < self.least_score
        if self.flags and labels.flags is not None:
            doubtful |= [bool(set(self.flags) & set(flags)) for flags in labels.flags]
        if not doubtful.any():
            return labels
        ignored = labels.rles or ()
        left_out = tuple(rle for rle, bad in zip(ignored, doubtful, strict=False) if bad)
        rest = labels.with_boxes(np.flatnonzero(~doubtful))
        return replace(rest, ignored_rles=(*labels.ignored_rles, *left_out))
