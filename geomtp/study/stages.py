"""Does staged pretraining pay? All runs of the study, then its table and its report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.study.ledger import Ledger
from geomtp.study.plan import plan_study
from geomtp.study.report import write_report
from geomtp.study.settings import StudyStages
from geomtp.study.stores import StudyData
from geomtp.study.table import Row, rows_of, table_text, write_csv
from geomtp.study.verdicts import Verdict, claims_of, verdict_lines, verdict_of
from geomtp.study.work import StudyStoppedError, Worker
from geomtp.training.stores import Say


@dataclass(frozen=True)
class StudyResult:
    """How a study ended: rows, what they say of the claims, files, and whether it was stopped."""

    rows: tuple[Row, ...]
    verdicts: tuple[Verdict, ...]
    csv: Path
    report: Path
    stopped: bool

    @property
    def failed(self) -> int:
        """How many runs failed."""
        return sum(row.status == "failed" for row in self.rows)


def study_stages(study: StudyStages, say: Say = print) -> StudyResult:
    """Do the runs of ``study`` that are not done, and write ``study.csv`` and ``report.html``.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    data = StudyData(study.data, study.out / "stores")
    plan = plan_study(study, data)
    data.stores.mkdir(parents=True, exist_ok=True)
    for each in plan.data:
        data.prepare(each, say)
    ledger = Ledger(plan, data, study.out / "cells")
    ledger.check_held_out()
    stopped = False
    if not study.report_only:
        if study.retry_failed:
            forget_failures(ledger)
        try:
            Worker(ledger, keep_models=study.keep_models, say=say).work()
        except StudyStoppedError:
            stopped = True
    return _written(study, ledger, stopped)


def forget_failures(ledger: Ledger) -> None:
    """Let all runs of the study that failed be tried again."""
    for run in ledger.plan.runs:
        outcome = ledger.outcome(run)
        if outcome.status == "failed" and outcome.cell is not None:
            outcome.cell.forget_failure()


def conflicts_of(ledger: Ledger) -> list[tuple[str, list[dict[str, Any]]]]:
    """The titles of the runs of multi-task pretraining that measured conflicts, with these."""
    outcomes = [ledger.outcome(stage) for stage in ledger.plan.stages]
    return [
        (outcome.run.title, outcome.result.conflicts)
        for outcome in outcomes
        if outcome.result is not None and outcome.result.conflicts
    ]


def _written(study: StudyStages, ledger: Ledger, stopped: bool) -> StudyResult:
    rows = rows_of(ledger)
    csv = write_csv(rows, study.out / "study.csv")
    report = write_report(study, rows, conflicts_of(ledger), study.out)
    verdicts = tuple(verdict_of(claim, rows) for claim in claims_of(study))
    return StudyResult(tuple(rows), verdicts, csv, report, stopped)


def story_of(result: StudyResult, command: str) -> str:
    """What to tell the user at the end: the table, where things lie, how to go on."""
    lines = [table_text(result.rows), *verdict_lines(result.verdicts)]
    if result.failed:
        lines.append(
            f"{result.failed} runs failed (see {result.csv}); try them again by --retry-failed"
        )
    if result.stopped:
        lines.append(f"stopped; nothing is lost. Go on with: {command}")
    lines += [f"figures   {result.csv}", f"report    {result.report}"]
    return "\n".join(lines)
