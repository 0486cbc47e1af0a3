"""The scores of each class, task by task, as rows of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from geomtp.metrics import (
    ChangeResult,
    CocoResult,
    RotatedResult,
    SceneResult,
    SemanticResult,
)
from geomtp.metrics.source_scores import Result

Row = dict[str, str | float | int]
"""A class and its figures by name; fractions 0…1, counts, NaN where a figure is not defined."""

Matrix = Sequence[Sequence[int]]


def class_rows(result: Result, classes: Sequence[str]) -> list[Row]:
    """One row per class of ``result``; ``classes``: the names of 0…K−1."""
    if isinstance(result, SemanticResult):
        return _map_rows(result, ("background", *classes), "pixels")
    if isinstance(result, ChangeResult):
        confusion = np.array(result.confusion)
        return _map_rows(SemanticResult.of_confusion(confusion), ("unchanged", "changed"), "pixels")
    if isinstance(result, SceneResult):
        maps = SemanticResult.of_confusion(np.array(result.confusion))
        rows = _map_rows(maps, classes, "images")
        return [{name: row[name] for name in row if name != "iou"} for row in rows]
    if isinstance(result, RotatedResult):
        return _rotated_rows(result)
    return _box_rows(result)


def _map_rows(result: SemanticResult, classes: Sequence[str], counted: str) -> list[Row]:
    return [
        {
            "class": name,
            "iou": result.iou[i],
            "f1": result.dice[i],
            "precision": result.precision[i],
            "recall": result.recall[i],
            counted: sum(result.confusion[i]),
        }
        for i, name in enumerate(classes)
    ]


def _rotated_rows(result: RotatedResult) -> list[Row]:
    return [
        {
            "class": name,
            "ap50": result.ap50[i],
            "ap50_11point": result.ap50_11point[i],
            "ap75": result.ap75[i],
            "ap": result.ap[i],
            "objects": matches.num_truth,
        }
        for i, (name, matches) in enumerate(result.matches.items())
    ]


def _box_rows(result: CocoResult) -> list[Row]:
    rows: list[Row] = []
    for i, name in enumerate(result.class_names):
        row: Row = {"class": name, "box ap": result.box.class_ap[i]}
        row["box ap50"] = result.box.class_ap50[i]
        if result.mask is not None:
            row["mask ap"] = result.mask.class_ap[i]
            row["mask ap50"] = result.mask.class_ap50[i]
        rows.append(row)
    return rows


def confusion_of(result: Result) -> Matrix | None:
    """Counts by true (row) and predicted class (column), of tasks that give each pixel or image one
    class; else None.
    """
    if isinstance(result, SemanticResult | ChangeResult | SceneResult):
        return result.confusion
    return None


def overall(result: Result) -> dict[str, float]:
    """The figures of the whole set that come first in a report, fractions 0…1."""
    if isinstance(result, CocoResult):
        more = {
            "box/ap_small": result.box.ap_small,
            "box/ap_medium": result.box.ap_medium,
            "box/ap_large": result.box.ap_large,
        } | {f"box/ar{most}": value for most, value in result.box.ar.items()}
        return result.summary() | more
    return result.summary()


def table(rows: Sequence[Mapping[str, str | float | int]]) -> list[str]:
    """Rows as the lines of a Markdown table; fractions with four decimals, "–" for NaN."""
    if not rows:
        return []
    names = list(rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    return lines + [f"| {' | '.join(_shown(row[name]) for name in names)} |" for row in rows]


def _shown(value: str | float | int) -> str:
    if not isinstance(value, float):
        return str(value)
    return "–" if value != value else f"{value:.4f}"


def confusion_table(matrix: Matrix, rows: Sequence[str], columns: Sequence[str]) -> list[str]:
    """A confusion matrix as the lines of a Markdown table."""
    return table(
        [
            {"true \\ predicted": name} | dict(zip(columns, map(int, counts), strict=True))
            for name, counts in zip(rows, matrix, strict=True)
        ]
    )
