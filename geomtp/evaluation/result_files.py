"""The files of a result: JSON for programs, a page of tables for people."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geomtp import __version__
from geomtp.checkpoints import replacing
from geomtp.evaluation.result_tables import Matrix, Row, confusion_table, table

_MOST_COLUMNS = 20  # of a confusion matrix that is shown; larger ones are in the JSON alone


@dataclass(frozen=True)
class TaskReport:
    """What is reported of one task.

    - overall: figures of the whole set; rows: of each class
    - confusion: counts by true (row) and predicted class (column), with their names
    """

    overall: dict[str, float]
    rows: list[Row]
    confusion: Matrix | None = None
    confusion_rows: tuple[str, ...] = ()
    confusion_columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """A whole result. ``facts``: groups of named facts: model, data, protocol, software."""

    facts: Mapping[str, Mapping[str, Any]]
    tasks: Mapping[str, TaskReport]
    worst: Sequence[Mapping[str, str | float]] = ()
    remarks: Sequence[str] = ()
    title: str = "Result"

    def write(self, folder: Path) -> Path:
        """Write ``result.json`` and ``result.md``; the path of the second."""
        folder.mkdir(parents=True, exist_ok=True)
        page = self.page_in(folder)
        with replacing(folder / "result.json") as part:
            part.write_text(json.dumps(_plain(self.content()), indent=1) + "\n", "utf-8")
        with replacing(page) as part:
            part.write_text(self.page(), "utf-8")
        return page

    def page_in(self, folder: Path) -> Path:
        """Where ``write`` puts the page."""
        return folder / "result.md"

    def content(self) -> dict[str, Any]:
        """All of it as dicts and lists; figures that are not defined are NaN."""
        return {
            **self.facts,
            "scores": {k: v for report in self.tasks.values() for k, v in report.overall.items()},
            "classes": {task: report.rows for task, report in self.tasks.items()},
            "confusion": {
                task: {
                    "true": report.confusion_rows,
                    "predicted": report.confusion_columns,
                    "counts": report.confusion,
                }
                for task, report in self.tasks.items()
                if report.confusion is not None
            },
            "worst": list(self.worst),
            "remarks": list(self.remarks),
        }

    def page(self) -> str:
        """The tables, in Markdown."""
        lines = [f"# {self.title}", ""]
        figures: list[Row] = [
            {"figure": name, "value": value}
            for report in self.tasks.values()
            for name, value in report.overall.items()
        ]
        lines += [*table(figures), ""]
        for remark in self.remarks:
            lines += [remark, ""]
        for task, report in self.tasks.items():
            lines += [f"## {task}: each class", "", *table(report.rows), ""]
            if report.confusion is not None and len(report.confusion_columns) <= _MOST_COLUMNS:
                lines += [f"## {task}: confusion", ""]
                lines += confusion_table(
                    report.confusion, report.confusion_rows, report.confusion_columns
                )
                lines.append("")
        if self.worst:
            lines += ["## The worst images", "", *table(self.worst), ""]
        for group, facts in self.facts.items():
            lines += [f"## {group.capitalize()}", ""]
            lines += [f"- {name}: {_said(value)}" for name, value in facts.items()]
            lines.append("")
        return "\n".join(lines)


def software() -> dict[str, Any]:
    """Versions, and the commit where the package runs from a checkout."""
    return {
        "geomtp": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        words = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _plain(value: Any) -> Any:
    """What JSON holds: paths as text, what is not defined as null."""
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return str(value) if isinstance(value, Path) else value


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "–" if value is None else str(value)
