"""Pictures of a study: what each rung gains, and how far gradients agree."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from geomtp.study.table import Grid, Place, Row, grids_of, values_by_seed
from geomtp.study.verdicts import Difference, differences
from geomtp.training.conflicts import Agreement, Conflicts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#6a3d9a", "#7f7f7f")
_GREY = "#aaaaaa"
_APART = 1.03


def gain_picture(rows: Sequence[Row], ladder: str, base: str) -> bytes:
    """PNG: what the rungs of ``ladder`` gain over ``base`` by the number of training images.

    One panel per transfer. Points are means over seeds of the paired differences, bars are their
    standard errors. A rung without a paired seed is left out.
    """
    grids = [grid for grid in grids_of(rows) if grid.ladder == ladder]
    figure = _figure(len(grids), 3.6, 3.0)
    values = values_by_seed(rows)
    drawn: dict[str, Any] = {}
    for number, grid in enumerate(grids):
        axes = figure.add_subplot(1, len(grids), number + 1)
        _dress(axes, f"{grid.transfer}: {grid.figure}")
        axes.axhline(0, color=_GREY, linewidth=1)
        for i, (rung, colour) in enumerate(zip(grid.rungs, _cycled(len(grid.rungs)), strict=True)):
            if rung != base:  # lines are moved apart, so that bars do not hide each other
                apart = _APART ** (i - len(grid.rungs) / 2)
                line = _line(axes, grid, values, rung, base, colour, apart)
                drawn[rung] = line or drawn.get(rung)
        axes.set_xscale("log")
        ticks = [_x(grid, fraction) for fraction in grid.fractions]
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("training images", fontsize=8)
        if number == 0:
            axes.set_ylabel(f"gain over {base}", fontsize=8)
    known = {rung: line for rung, line in drawn.items() if line is not None}
    if known:
        figure.legend(
            list(known.values()),
            list(known),
            loc="outside upper left",
            ncols=2 * len(grids),  # what the width of the panels has room for
            fontsize=8,
            frameon=False,
        )
    return _png(figure)


def _line(
    axes: Axes,
    grid: Grid,
    values: Mapping[Place, Mapping[int, float]],
    rung: str,
    base: str,
    colour: str,
    apart: float,
) -> Any:
    points = []
    for fraction in grid.fractions:
        places = [(grid.ladder, name, grid.transfer, fraction) for name in (rung, base)]
        gain = Difference.of(differences(values, *places).values())
        if gain.count:
            points.append((_x(grid, fraction), gain))
    if not points:
        return None
    errors = [0.0 if math.isnan(gain.error) else gain.error for _, gain in points]
    xs, ys = [x * apart for x, _ in points], [gain.mean for _, gain in points]
    return axes.errorbar(
        xs, ys, errors, color=colour, marker="o", markersize=4, capsize=3, linewidth=1.5
    )


def _x(grid: Grid, fraction: float) -> float:
    return grid.images.get(fraction) or fraction


def conflict_picture(measurements: Sequence[Mapping[str, Any]]) -> bytes:
    """PNG of ``conflicts.json``: cosines at the end, over the steps, and the norms at the end."""
    steps = [int(entry["step"]) for entry in measurements]
    found = [
        Conflicts.from_json({k: v for k, v in entry.items() if k != "step"})
        for entry in measurements
    ]
    last = found[-1]
    figure = _figure(4, 3.4, 3.2)
    _matrix(figure.add_subplot(1, 4, 1), last.tasks, "tasks: cosine of gradients")
    _matrix(figure.add_subplot(1, 4, 2), last.sources, "sources: cosine of gradients")
    axes = figure.add_subplot(1, 4, 3)
    _dress(axes, "cosine by step")
    axes.axhline(0, color=_GREY, linewidth=1)
    for number, name in enumerate(last.sources.pairs()):
        curve = [each.sources.pairs().get(name, math.nan) for each in found]
        label = "" if number else "two sources"
        axes.plot(steps, curve, color=_GREY, linewidth=0.8, label=label)
    for name, colour in zip(last.tasks.pairs(), _cycled(len(last.tasks.pairs())), strict=True):
        curve = [each.tasks.pairs().get(name, math.nan) for each in found]
        axes.plot(steps, curve, color=colour, marker="o", markersize=3, label=name)
    if len(last.tasks.names) > 1 or len(last.sources.names) > 1:
        axes.legend(fontsize=7, frameon=False)
    axes = figure.add_subplot(1, 4, 4)
    _dress(axes, "norm of the gradient")
    axes.barh(list(last.norms), list(last.norms.values()), color=_COLOURS[0])
    axes.tick_params(labelsize=7)
    return _png(figure)


def _matrix(axes: Axes, agreement: Agreement, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10)
    values = np.array(agreement.cosines, dtype=np.float64)
    axes.imshow(values, vmin=-1, vmax=1, cmap="RdBu")
    for (y, x), value in np.ndenumerate(values):
        colour = "white" if abs(value) > 0.6 else "black"
        axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=8, color=colour)
    numbers = range(len(agreement.names))
    axes.set_xticks(numbers, agreement.names, fontsize=7, rotation=40, ha="right")
    axes.set_yticks(numbers, agreement.names, fontsize=7)


def _cycled(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]


def _figure(columns: int, width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width * max(1, columns), height), layout="constrained")


def _dress(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10, parse_math=False)
    axes.tick_params(labelsize=8, color=_GREY)
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
