"""The curves of a run: its ``metrics.csv`` as numbers and as one picture of small panels."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from geomtp.checkpoints import replacing
from geomtp.types import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Curve = list[tuple[int, float]]
"""Steps, ascending, with their values."""

Lines = dict[str, Curve]
"""Curves of one panel, by source."""

HEADER = ["step", "name", "value"]

_COLUMNS = 4
_FEWEST_SMOOTHED = 20
_LARGEST = 1e30  # of what is drawn: axes cannot show the limits of floats
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#7f7f7f")


def read_metrics(path: str | Path) -> dict[str, Curve]:
    """The curves by name, from a file of lines ``step,name,value`` under that heading (UTF-8).

    Of several rows of one step and name the last counts, so that a resumed run may repeat steps.
    A last line without its end is still being written and is left out, and so is a row that a
    crash cut short.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not begin with the heading.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no metrics at {path}: the file does not exist")
    whole = path.read_bytes().rpartition(b"\n")[0]
    rows = csv.reader(whole.decode("utf-8-sig", errors="replace").splitlines())
    if next(rows, None) != HEADER:
        raise ValueError(f"{path} must begin with the line {','.join(HEADER)}")
    values: dict[str, dict[int, float]] = {}
    for row in rows:
        try:
            step, name, value = row
            values.setdefault(name, {})[int(step)] = float(value)
        except ValueError:
            continue
    return {name: sorted(by_step.items()) for name, by_step in values.items() if by_step}


def draw_curves(metrics: Mapping[str, Curve], path: str | Path) -> None:
    """Write one picture of all curves: losses, learning rate, then validation metrics.

    One panel per loss or metric with one line per source, in the same colour everywhere. Losses
    are smoothed; their values as they came are behind, faint. The file appears whole or not at all.

    Args:
        metrics: by name, as ``read_metrics`` returns them: ``loss/total``,
            ``loss/<task>/<loss>/<source>``, ``lr``, ``val/<source>/<metric>``; other names get a
            panel each.
        path: its ending says the format (png, svg, pdf). Its folder is made where it is missing.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import EngFormatter, MaxNLocator

    path = Path(path)
    rows = panel_rows(metrics)
    sources = dict.fromkeys(s for row in rows for _, lines in row for s in lines if s)
    colours = {source: _COLOURS[i % len(_COLOURS)] for i, source in enumerate(sources)}
    columns = max((len(row) for row in rows), default=1)
    size = 3.5 * columns, 2.3 * max(1, len(rows)) + 0.3 * bool(sources)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(max(1, len(rows)), columns)
    last_step = max((curve[-1][0] for curve in metrics.values() if curve), default=0)
    for r, row in enumerate(rows):
        for c, (title, lines) in enumerate(row):
            axes = figure.add_subplot(grid[r, c])
            _dress(axes, title)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.set_xlim(0, 1.02 * max(1, last_step))
            _draw_lines(axes, lines, colours, is_loss=title.startswith("loss"))
    if not rows:
        figure.text(0.5, 0.5, "no metrics yet", ha="center", va="center", color="#777777")
    if sources:
        handles = [Line2D([], [], color=colours[s], linewidth=2, label=s) for s in colours]
        figure.legend(handles=handles, loc="outside upper left", ncols=2 * columns, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as beside:
        figure.savefig(beside, format=path.suffix.lstrip(".") or "png", dpi=110)


def panel_rows(metrics: Mapping[str, Curve]) -> list[list[tuple[str, Lines]]]:
    """Rows of panels, each its title and its curves by source; validation begins a new row."""
    panels: dict[bool, dict[str, Lines]] = {False: {}, True: {}}  # by whether it is validation
    for name in sorted(metrics, key=_rank):
        title, source = _place(name)
        if metrics[name]:
            panels[name.startswith("val/")].setdefault(title, {})[source] = metrics[name]
    return [
        list(part.items())[i : i + _COLUMNS]
        for part in panels.values()
        for i in range(0, len(part), _COLUMNS)
    ]


def _rank(name: str) -> tuple[int, int]:
    """The total loss and the learning rate first, then by task; else as in the file."""
    first = ("loss/total", "lr")
    if name in first:
        return 0, first.index(name)
    tasks = [i for i, task in enumerate(TASKS) if f"/{task}/" in name]
    return 1, tasks[0] if tasks else len(TASKS)


def _place(name: str) -> tuple[str, str]:
    """Title of the panel, and source ("" where the name holds none)."""
    kind, *rest = name.split("/")
    if kind == "val" and len(rest) > 1:
        return "/".join((kind, *rest[1:])), rest[0]
    if kind == "loss" and len(rest) > 2:
        return "/".join((kind, *rest[:-1])), rest[-1]
    return name, ""


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.tick_params(labelsize=8, color="#aaaaaa")
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#aaaaaa")
    axes.yaxis.set_major_formatter("{x:g}")


def _draw_lines(
    axes: Axes, lines: Mapping[str, Curve], colours: Mapping[str, str], *, is_loss: bool
) -> None:
    raw, strong = [], []
    for source, curve in lines.items():
        steps = np.array([step for step, _ in curve])
        values = np.array([value for _, value in curve], dtype=np.float64)
        values[~(np.abs(values) < _LARGEST)] = np.nan
        colour = colours.get(source, "#333333")
        smooth = smoothed(values) if is_loss else values
        if smooth is not values:
            axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.2, zorder=2)
        marker = "o" if len(steps) <= 2 * _FEWEST_SMOOTHED else ""
        axes.plot(steps, smooth, color=colour, linewidth=1.6, marker=marker, markersize=3, zorder=3)
        raw.append(values)
        strong.append(smooth)
    if is_loss:
        _frame(axes, np.concatenate(raw), np.concatenate(strong))


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """A centred, bell-shaped moving average over about a twentieth of the values: (N,).

    What is missing (nan) has no weight. Fewer than 20 values come back as they are.
    """
    if len(values) < _FEWEST_SMOOTHED:
        return values
    radius = max(1, len(values) // 40)
    bell = np.hanning(2 * radius + 3)[1:-1]
    present = np.isfinite(values)
    total = np.convolve(np.where(present, values, 0), bell, mode="same")
    weight = np.convolve(present, bell, mode="same")
    return np.where(weight > 0, total / np.maximum(weight, 1e-12), np.nan)


def _frame(axes: Axes, raw: NDArray[np.float64], strong: NDArray[np.float64]) -> None:
    """Show all of the smoothed lines but not the rarest peaks; many decades on a log scale."""
    raw, strong = raw[np.isfinite(raw)], strong[np.isfinite(strong)]
    if len(strong) == 0:
        return
    low, high = np.percentile(raw, (0.5, 99.5))
    low, high = min(low, strong.min()), max(high, strong.max())
    if low > 0 and strong.max() > 50 * strong.min():
        axes.set_yscale("log")
        axes.set_ylim(low / 1.1, high * 1.1)
    elif low < high:
        margin = 0.04 * (high - low)
        axes.set_ylim(low - margin, high + margin)
