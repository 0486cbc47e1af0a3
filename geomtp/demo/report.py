"""The page of the demo: a section per stage, needing no other file."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from geomtp.checkpoints import replacing
from geomtp.demo.chapters import Chapter
from geomtp.demo.stages import Stage
from geomtp.labels.report.charts import data_url, html_page

_STYLE = (
    "main>figure{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "margin:12px 0;overflow-x:auto}main>figure img{max-width:100%;display:block;margin:auto}"
    "figcaption{padding:8px 12px;color:var(--soft)}table{display:block;overflow-x:auto}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 16px;"
    "overflow-x:auto}"
)


def write_report(out: Path, stages: Sequence[Stage], chapters: Mapping[str, Chapter]) -> Path:
    """Write ``out/report.html`` of the stages that are done; its path.

    - chapters: what they came to, by name; their pictures are embedded
    """
    title = "From rotated boxes to a map"
    sections = "".join(
        _section(out, f"{number}. {stage.title}", chapters.get(stage.name))
        for number, stage in enumerate(stages, start=1)
    )
    page = html_page(
        "geomtp demo",
        f"<h1>{title}</h1><p class='facts'>Every figure was measured in this run, on drawn "
        f"scenes.</p>{_tiles(chapters)}{sections}",
        _STYLE,
    )
    path = out / "report.html"
    with replacing(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _tiles(chapters: Mapping[str, Chapter]) -> str:
    seconds = sum(chapter.seconds for chapter in chapters.values())
    processor = sum(chapter.cpu_seconds for chapter in chapters.values())
    figures = {name: f"{chapter.seconds:.0f} s" for name, chapter in chapters.items()}
    figures |= {"in all": f"{seconds:.0f} s", "of a processor": f"{processor:.0f} s"}
    cells = "".join(
        f"<div><b>{value}</b><span>{escape(n)}</span></div>" for n, value in figures.items()
    )
    return f'<div class="tiles">{cells}</div>'


def _section(out: Path, title: str, chapter: Chapter | None) -> str:
    heading = f"<h2>{escape(title)}</h2>"
    if chapter is None:
        return f"{heading}<p>Not done yet.</p>"
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in chapter.text)
    figures = "".join(_figure(out / file, words) for file, words in chapter.pictures.items())
    return (
        f"{heading}{text}{_table(chapter)}{figures}"
        f"<p>{chapter.seconds:.0f} seconds, {chapter.cpu_seconds:.0f} of a processor. The same on "
        f"data of your own:</p><pre>{escape(chapter.command)}</pre>"
    )


def _table(chapter: Chapter) -> str:
    if not chapter.rows:
        return ""
    kinds = ["" if isinstance(cell, str) else ' class="n"' for cell in chapter.rows[0]]

    def row(tag: str, cells: Sequence[str]) -> str:
        inner = (f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(row("td", cells) for cells in chapter.table())
    return f"<table><thead>{row('th', chapter.heads)}</thead><tbody>{body}</tbody></table>"


def _figure(file: Path, caption: str) -> str:
    buffer = io.BytesIO()
    with Image.open(file) as picture:
        picture.convert("RGB").save(buffer, "JPEG", quality=88)  # a third of the bytes of a PNG
    return (
        f'<figure><img alt="{escape(caption)}" src="{data_url(buffer.getvalue(), "jpeg")}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )
