"""Averages that metrics share: means that leave out what is undefined, and average precision."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Rule = Literal["area", "11point"]


def mean_of_defined(values: Iterable[float]) -> float:
    """The mean of those ``values`` that are not NaN; NaN when there is none."""
    array = np.asarray(list(values), dtype=np.float64)
    defined = array[~np.isnan(array)]
    return float(defined.mean()) if defined.size else float("nan")


def average_precision(recall: Floats, precision: Floats, rule: Rule = "area") -> float:
    """The average precision of one curve, 0…1; 0 for an empty curve.

    "area" (VOC 2010 on) integrates the precision, made non-increasing, over the recall;
    "11point" (VOC 2007) averages the best precision at recall 0, 0.1, …, 1.0 or more.

    Args:
        recall: (N,) 0…1, non-decreasing; a point for each detection by falling score.
        precision: (N,) 0…1.
        rule: "area" or "11point".
    """
    if rule == "11point":
        # The same rounding as in the reference and in DOTA's own tool: 0.3 is 0.30000000000000004
        # here, so a curve that ends at recall 3/10 does not reach it.
        levels = np.arange(0.0, 1.0 + 1e-3, 0.1)
        return float(np.mean([precision[recall >= level].max(initial=0.0) for level in levels]))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
