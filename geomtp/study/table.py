"""The results of a study as rows, as a table of means and deviations, and as CSV."""

from __future__ import annotations

import csv
import dataclasses
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from geomtp.checkpoints import replacing
from geomtp.study.ledger import Ledger, Outcome
from geomtp.study.plan import StageRun, TransferRun

Place = tuple[str, str, str, float]
"""Ladder, rung, transfer, fraction."""


@dataclass(frozen=True)
class Row:
    """One cell of a study, as it stands in ``study.csv``; None where there is nothing to say.

    - kind: "pretraining" (then ``rung`` names its stages in order) or "transfer"
    - value: of ``figure``; status: "done", "failed" or "open"; reason: why it failed
    - seconds, cpu_seconds: of the clock and of the processor
    - pretraining_…: of all stages that came before
    """

    kind: str
    ladder: str
    rung: str
    pretraining_seed: int | None
    transfer: str | None = None
    figure: str | None = None
    fraction: float | None = None
    seed: int | None = None
    status: str = "open"
    value: float | None = None
    train_images: int | None = None
    test_images: int | None = None
    steps: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None
    pretraining_steps: int | None = None
    pretraining_seconds: float | None = None
    pretraining_cpu_seconds: float | None = None
    reason: str = ""
    cell: str = ""


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (NaN for less than two) and number of some values."""

    mean: float
    deviation: float
    count: int

    @staticmethod
    def of(values: Iterable[float]) -> Summary:
        """The summary of ``values``; the mean of none is NaN."""
        known = list(values)
        return Summary(
            statistics.fmean(known) if known else math.nan,
            statistics.stdev(known) if len(known) > 1 else math.nan,
            len(known),
        )

    def __str__(self) -> str:
        if not self.count:
            return "–"
        spread = "" if math.isnan(self.deviation) else f" ± {self.deviation:.3f}"
        return f"{self.mean:.3f}{spread} ({self.count})"


def rows_of(ledger: Ledger) -> list[Row]:
    """A row for each run of the study, pretraining first."""
    plan = ledger.plan
    return [
        *(_stage_row(run, ledger.outcome(run)) for run in plan.stages),
        *(_transfer_row(run, ledger) for run in plan.transfers),
    ]


def _stage_row(run: StageRun, outcome: Outcome) -> Row:
    row = Row("pretraining", run.ladder, " then ".join(s.stage for s in run.chain), run.seed)
    return _with_outcome(row, outcome)


def _transfer_row(run: TransferRun, ledger: Ledger) -> Row:
    outcome = ledger.outcome(run)
    row = Row(
        "transfer",
        run.ladder,
        run.rung,
        None if run.before is None else run.before.seed,
        transfer=run.transfer,
        figure=run.figure,
        fraction=run.fraction,
        seed=run.seed,
    )
    if outcome.result is None:
        return _with_outcome(row, outcome)
    images, value = outcome.result.images, outcome.result.figures[run.figure]
    chain = run.before.chain if run.before else []
    before = [ledger.outcome(stage).result for stage in chain if stage.config is not None]
    results = [result for result in before if result is not None]
    row = dataclasses.replace(
        row,
        value=None if math.isnan(value) else value,
        train_images=images["train"],
        test_images=images["test"],
        pretraining_steps=sum(result.steps for result in results),
        pretraining_seconds=sum(result.seconds for result in results),
        pretraining_cpu_seconds=sum(result.cpu_seconds for result in results),
    )
    return _with_outcome(row, outcome)


def _with_outcome(row: Row, outcome: Outcome) -> Row:
    status = outcome.status if outcome.status in ("done", "failed") else "open"
    key = "" if outcome.cell is None else outcome.cell.key
    row = dataclasses.replace(row, status=status, reason=outcome.reason, cell=key)
    if outcome.result is None:
        return row
    return dataclasses.replace(
        row,
        steps=outcome.result.steps,
        seconds=round(outcome.result.seconds, 1),
        cpu_seconds=round(outcome.result.cpu_seconds, 1),
    )


def write_csv(rows: Sequence[Row], path: Path) -> Path:
    """Write ``rows`` to ``path`` (UTF-8, a heading, nothing where nothing is known); the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [field.name for field in dataclasses.fields(Row)]
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(dataclasses.asdict(row) for row in rows)
    return path


def values_by_seed(rows: Iterable[Row]) -> dict[Place, dict[int, float]]:
    """The figures that there are, by place and seed."""
    found: dict[Place, dict[int, float]] = {}
    for row in rows:
        if row.kind != "transfer" or row.value is None:
            continue
        assert row.transfer is not None
        assert row.fraction is not None
        assert row.seed is not None
        place = (row.ladder, row.rung, row.transfer, row.fraction)
        found.setdefault(place, {})[row.seed] = row.value
    return found


@dataclass(frozen=True)
class Grid:
    """The figures of one ladder on one transfer.

    - rungs, fractions: names of lines and columns; images: trained on, by fraction
    - test_images: scored on
    - cells: by (rung, fraction); failed: how many runs failed, likewise
    """

    ladder: str
    transfer: str
    figure: str
    rungs: tuple[str, ...]
    fractions: tuple[float, ...]
    images: dict[float, int]
    test_images: int
    cells: dict[tuple[str, float], Summary]
    failed: dict[tuple[str, float], int]

    def text(self, rung: str, fraction: float) -> str:
        """One cell: mean ± deviation (n), and the number of failed runs."""
        failed = self.failed[rung, fraction]
        return f"{self.cells[rung, fraction]}{f', {failed} failed' if failed else ''}"

    def heading(self, fraction: float) -> str:
        """A column's heading."""
        images = self.images.get(fraction)
        return f"{fraction:g}" + (f" ({images} images)" if images else "")


def grids_of(rows: Sequence[Row]) -> list[Grid]:
    """The figures by ladder and transfer, in the order of the rows."""
    transfers = [row for row in rows if row.kind == "transfer"]
    values = values_by_seed(transfers)
    grids = []
    for ladder, transfer in dict.fromkeys((row.ladder, row.transfer) for row in transfers):
        assert transfer is not None
        own = [row for row in transfers if (row.ladder, row.transfer) == (ladder, transfer)]
        rungs = tuple(dict.fromkeys(row.rung for row in own))
        fractions = tuple(dict.fromkeys(row.fraction for row in own if row.fraction is not None))
        places = [(rung, fraction) for rung in rungs for fraction in fractions]
        grids.append(
            Grid(
                ladder=ladder,
                transfer=transfer,
                figure=str(own[0].figure),
                rungs=rungs,
                fractions=fractions,
                images={r.fraction: r.train_images for r in own if r.fraction and r.train_images},
                test_images=max((row.test_images or 0 for row in own), default=0),
                cells={
                    (r, f): Summary.of(values.get((ladder, r, transfer, f), {}).values())
                    for r, f in places
                },
                failed={
                    (r, f): sum(
                        (row.rung, row.fraction, row.status) == (r, f, "failed") for row in own
                    )
                    for r, f in places
                },
            )
        )
    return grids


@dataclass(frozen=True)
class Cost:
    """What a rung of a ladder costs.

    - pretraining_steps, pretraining_seconds, pretraining_cpu_seconds: the mean over its seeds of
      pretraining, of all stages together
    - seconds, cpu_seconds: of one fine-tuning, the mean
    """

    ladder: str
    rung: str
    pretraining_steps: float
    pretraining_seconds: float
    pretraining_cpu_seconds: float
    seconds: float
    cpu_seconds: float


def costs_of(rows: Iterable[Row]) -> list[Cost]:
    """The cost of each rung that has a result."""
    by_rung: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.kind == "transfer" and row.status == "done":
            by_rung.setdefault((row.ladder, row.rung), []).append(row)
    names = (
        *("pretraining_steps", "pretraining_seconds", "pretraining_cpu_seconds"),
        *("seconds", "cpu_seconds"),
    )
    return [
        Cost(*place, *(statistics.fmean(getattr(row, name) for row in own) for name in names))
        for place, own in by_rung.items()
    ]


def table_text(rows: Sequence[Row]) -> str:
    """The table for a terminal: means ± deviations with n, then the costs."""
    lines = []
    for grid in grids_of(rows):
        lines.append(
            f"\n{grid.ladder}, {grid.transfer}: {grid.figure}, {grid.test_images} test images"
        )
        lines.append(f"{'':<20}" + "".join(f"{grid.heading(f):>24}" for f in grid.fractions))
        for rung in grid.rungs:
            cells = "".join(f"{grid.text(rung, f):>24}" for f in grid.fractions)
            lines.append(f"{rung:<20}{cells}")
    costs = costs_of(rows)
    if costs:
        lines.append("\ncost, in minutes of the clock (of the processor)")
        lines.append(f"{'':<28}{'steps before':>14}{'pretraining':>20}{'one fine-tuning':>20}")
    for cost in costs:
        before = _minutes(cost.pretraining_seconds, cost.pretraining_cpu_seconds)
        after = _minutes(cost.seconds, cost.cpu_seconds)
        name = f"{cost.ladder}, {cost.rung}"
        lines.append(f"{name:<28}{cost.pretraining_steps:>14.0f}{before:>20}{after:>20}")
    return "\n".join(lines).lstrip("\n")


def _minutes(seconds: float, cpu_seconds: float) -> str:
    return f"{seconds / 60:.1f} ({cpu_seconds / 60:.1f})"
