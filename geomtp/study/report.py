"""The report of a study: one page, which needs no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from geomtp.checkpoints import replacing
from geomtp.labels.report.charts import data_url, html_page
from geomtp.study.plots import conflict_picture, gain_picture
from geomtp.study.settings import StudyStages
from geomtp.study.table import Cost, Grid, Row, costs_of, grids_of
from geomtp.study.verdicts import WORDS, Verdict, claims_of, verdict_of

Measured = Sequence[tuple[str, Sequence[dict[str, Any]]]]
"""Titles of runs of pretraining with their ``conflicts.json``."""

_STYLE = (
    "main>figure{background:#fff;border-radius:10px;margin:12px 0;overflow-x:auto}"
    "table{display:block;overflow-x:auto}"
)


def write_report(study: StudyStages, rows: Sequence[Row], conflicts: Measured, out: Path) -> Path:
    """Write ``out/report.html`` and the pictures in it, ``out/plots``; the page's path."""
    pictures = {
        f"gains_{ladder}.png": gain_picture(rows, ladder, _base(rungs))
        for ladder, rungs in study.chosen_ladders().items()
    }
    pictures |= {
        f"conflicts_{number}.png": conflict_picture(entries)
        for number, (_, entries) in enumerate(conflicts)
    }
    (out / "plots").mkdir(parents=True, exist_ok=True)
    for name, picture in pictures.items():
        with replacing(out / "plots" / name) as part:
            part.write_bytes(picture)
    verdicts = [verdict_of(claim, rows) for claim in claims_of(study)]
    sections = [
        _summary(study, rows),
        _answers(verdicts),
        *(_ladder(study, ladder, rows, pictures) for ladder in study.chosen_ladders()),
        _costs(costs_of(rows)),
        _parts(verdicts),
        _conflicts(conflicts, pictures),
        _failed(rows),
    ]
    title = "Does staged pretraining pay?"
    page = html_page(title, f"<h1>{title}</h1>{''.join(sections)}", _STYLE)
    path = out / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _base(rungs: dict[str, tuple[str, ...]]) -> str:
    """The rung without any stage, or else the first one."""
    return next((rung for rung, stages in rungs.items() if not stages), next(iter(rungs)))


def _summary(study: StudyStages, rows: Sequence[Row]) -> str:
    count = {
        status: sum(row.status == status for row in rows) for status in ("done", "failed", "open")
    }
    minutes = sum(row.seconds or 0 for row in rows) / 60
    tiles = [
        (f"{count['done']:,}", "runs done"),
        (f"{count['failed']:,}", "failed"),
        (f"{count['open']:,}", "not done yet"),
        (f"{len(study.seeds)}", "seeds of fine-tuning"),
        (f"{len(study.pretraining_seeds)}", "seeds of pretraining"),
        (f"{minutes:,.0f}", "minutes in all"),
    ]
    cells = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)
    several = len(study.pretraining_seeds) > 1
    spread = (
        "The spread covers fine-tuning (share of the labels, new layers, order, views) and "
        f"{len(study.pretraining_seeds)} runs of each pretraining."
        if several
        else "Each stage was pretrained once: the spread covers fine-tuning alone (share of the "
        "labels, new layers, order, views), not how pretraining might have gone otherwise."
    )
    return (
        f'<div class="tiles">{cells}</div><p>All rungs of a ladder are fine-tuned in the same way, '
        f"with the same number of steps on the same images; pretraining comes on top and its cost "
        f"is given. {spread} The images scored on are always the same ones: how the figures would "
        f"vary with other images is not covered.</p>"
    )


def _answers(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    lines = "".join(
        f"<tr><td>{escape(v.claim.ladder)}</td><td style='white-space:normal'>"
        f"{escape(v.claim.text)}</td><td class='n'>{v.difference}</td>"
        f"<td><b>{WORDS[v.answer]}</b></td></tr>"
        for v in verdicts
    )
    return (
        "<h2>Claims</h2><p>The difference between two rungs, seed by seed, averaged over the "
        "transfers and label fractions of the claim; mean ± standard error. These numbers decide "
        "where the 95 % interval of Student's t leaves out zero.</p><table><thead><tr>"
        "<th>ladder</th><th>claim</th><th class='n'>difference</th><th>these numbers</th></tr>"
        f"</thead><tbody>{lines}</tbody></table>"
    )


def _ladder(
    study: StudyStages, ladder: str, rows: Sequence[Row], pictures: dict[str, bytes]
) -> str:
    grids = [grid for grid in grids_of(rows) if grid.ladder == ladder]
    encoder = study.ladders[ladder].encoder
    tables = "".join(_grid(grid) for grid in grids)
    base = _base(study.chosen_ladders()[ladder])
    return (
        f"<h2>{escape(ladder)}: {escape(encoder)}</h2>{tables}"
        f"<p>Gain over {escape(base)}: paired by seed, mean and standard error.</p>"
        f"{_image(pictures[f'gains_{ladder}.png'], f'gains of {ladder}')}"
    )


def _grid(grid: Grid) -> str:
    heads = "".join(f"<th class='n'>{escape(grid.heading(f))}</th>" for f in grid.fractions)
    lines = "".join(
        f"<tr><td>{escape(rung)}</td>"
        + "".join(f"<td class='n'>{grid.text(rung, f)}</td>" for f in grid.fractions)
        + "</tr>"
        for rung in grid.rungs
    )
    return (
        f"<p>{escape(grid.transfer)}: {escape(grid.figure)} on {grid.test_images} test images, by "
        f"the share of the labels; mean ± standard deviation (seeds)</p><table><thead><tr><th></th>"
        f"{heads}</tr></thead><tbody>{lines}</tbody></table>"
    )


def _costs(costs: Sequence[Cost]) -> str:
    if not costs:
        return ""
    lines = "".join(
        f"<tr><td>{escape(cost.ladder)}</td><td>{escape(cost.rung)}</td>"
        f"<td class='n'>{cost.pretraining_steps:,.0f}</td>"
        f"<td class='n'>{cost.pretraining_seconds:,.0f}</td>"
        f"<td class='n'>{cost.pretraining_cpu_seconds:,.0f}</td>"
        f"<td class='n'>{cost.seconds:,.0f}</td><td class='n'>{cost.cpu_seconds:,.0f}</td></tr>"
        for cost in costs
    )
    heads = "".join(
        f"<th class='n'>{head}</th>"
        for head in (
            *("pretraining steps", "pretraining s", "processor s"),
            *("one fine-tuning s", "processor s"),
        )
    )
    return (
        f"<h2>Cost</h2><table><thead><tr><th>ladder</th><th>rung</th>{heads}</tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _parts(verdicts: Sequence[Verdict]) -> str:
    lines = "".join(
        f"<tr><td>{escape(v.claim.ladder)}</td><td>{escape(v.claim.rung)} − {escape(v.claim.base)}"
        f"</td><td>{escape(transfer)}</td><td class='n'>{fraction:g}</td>"
        f"<td class='n'>{difference}</td></tr>"
        for v in verdicts
        if len(v.claim.fractions) == max(len(each.claim.fractions) for each in verdicts)
        for (transfer, fraction), difference in v.parts.items()
    )
    if not lines:
        return ""
    return (
        "<h2>Differences one by one</h2><p>For reading, not for deciding: among so many, some are "
        "large by chance.</p><table><thead><tr><th>ladder</th><th>difference</th><th>transfer</th>"
        "<th class='n'>labels</th><th class='n'>mean ± standard error</th></tr></thead>"
        f"<tbody>{lines}</tbody></table>"
    )


def _conflicts(conflicts: Measured, pictures: dict[str, bytes]) -> str:
    if not conflicts:
        return ""
    parts = "".join(
        f"<p>{escape(title)}</p>{_image(pictures[f'conflicts_{number}.png'], title)}"
        for number, (title, _) in enumerate(conflicts)
    )
    return (
        "<h2>Do tasks and sources agree?</h2><p>Cosines between the gradients of tasks (and of "
        "sources) on the encoder's parameters, and how long each task's and source's gradient is: "
        "means over some steps' images. A cosine below zero says that a step for the one undoes a "
        f"step for the other.</p>{parts}"
    )


def _failed(rows: Sequence[Row]) -> str:
    lines = "".join(
        f"<li><b>{escape(row.ladder)}, {escape(row.rung)}"
        + (
            f", {escape(row.transfer)} with {row.fraction:g}, seed {row.seed}"
            if row.transfer is not None
            else ""
        )
        + f"</b> {escape(row.reason)}</li>"
        for row in rows
        if row.status == "failed"
    )
    return f"<h2>Failed</h2><ul>{lines}</ul>" if lines else ""


def _image(picture: bytes, title: str) -> str:
    return f'<figure><img alt="{escape(title)}" src="{data_url(picture, "png")}"></figure>'
