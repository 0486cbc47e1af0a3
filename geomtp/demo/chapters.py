"""What each stage of the demo came to, kept on disk so that a stage is done once."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geomtp.checkpoints import write_json

Cell = str | int | float

FILE = "chapter.json"


@dataclass(frozen=True)
class Chapter:
    """What one stage came to.

    - text: paragraphs on what was done and what the figures say
    - command: what does this stage on one's own data
    - heads, rows: its figures; floats are fractions 0…1 or differences of such
    - pictures: file relative to the folder of the demo, and its caption
    - seconds, cpu_seconds: by the clock and of the processor, stopped attempts included
    """

    text: tuple[str, ...]
    command: str
    heads: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    pictures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    def save(self, folder: Path) -> None:
        """Write it into the folder of its stage, whole or not at all."""
        keep(folder / FILE, dataclasses.asdict(self))

    @staticmethod
    def read(folder: Path) -> Chapter | None:
        """That of the stage in ``folder``; None where the stage is not done."""
        content = kept(folder / FILE)
        if content is None:
            return None
        texts = {name: tuple(content[name]) for name in ("text", "heads")}
        return Chapter(**{**content, **texts, "rows": tuple(map(tuple, content["rows"]))})

    def table(self) -> list[list[str]]:
        """Its figures as people read them, by row; a "gain" has a sign."""
        return [
            [shown(cell, signed=head == "gain") for head, cell in zip(self.heads, row, strict=True)]
            for row in self.rows
        ]

    def lines(self) -> list[str]:
        """Its figures as lines of a terminal, in columns; none where there are no figures."""
        rows = [list(self.heads), *self.table()] if self.rows else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join(_set(row, widths, self.rows[0])).rstrip() for row in rows]


def shown(cell: Cell, *, signed: bool = False) -> str:
    """A figure as people read it; a dash for one that is not defined."""
    if isinstance(cell, float):
        if math.isnan(cell):
            return "–"
        return f"{cell:+.3f}" if signed else f"{cell:.3f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _set(row: list[str], widths: list[int], like: tuple[Cell, ...]) -> list[str]:
    """Words to the left of their columns, numbers to the right, as the cells of ``like`` are."""
    return [
        text.ljust(width) if isinstance(cell, str) else text.rjust(width)
        for text, width, cell in zip(row, widths, like, strict=True)
    ]


def keep(path: Path, content: dict[str, Any]) -> None:
    """Write ``content`` as JSON, whole or not at all; its folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, content)


def kept(path: Path) -> dict[str, Any] | None:
    """What ``keep`` wrote, None where there is no such file.

    Raises OSError in one sentence for another content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise OSError(f"{path} is damaged ({error}): remove it to do its stage anew") from error
    return dict(content)
