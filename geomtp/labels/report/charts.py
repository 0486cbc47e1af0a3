"""Charts, style and frame of report pages: plain SVG and CSS, readable by day and by night."""

from __future__ import annotations

import base64
from collections.abc import Sequence

_BLUE, _GREY = "#4a86e8", "#7a8699"  # to be seen on white and on black
_WIDTH, _HEIGHT, _BELOW = 460, 150, 20


def share_text(part: int, whole: int) -> str:
    """A share in per cent; small ones with a decimal, so that they are not taken for none."""
    if not whole:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.1f} %" if 0 < percent < 10 else f"{percent:.0f} %"


def column_chart(title: str, counts: Sequence[int], edges: Sequence[str]) -> str:
    """A histogram: a column per count; ``edges`` (one more) are written below, "" for none."""
    largest, step = max([*counts, 1]), _WIDTH / max(len(counts), 1)
    columns = "".join(
        f'<rect x="{i * step + 1:.1f}" y="{_HEIGHT - _HEIGHT * count / largest:.1f}" '
        f'width="{step - 2:.1f}" height="{_HEIGHT * count / largest:.1f}" rx="2" fill="{_BLUE}">'
        f"<title>{count:,}</title></rect>"
        for i, count in enumerate(counts)
    )
    # Labels at the two ends are pulled inside.
    last = len(edges) - 1
    texts = "".join(
        f'<text x="{i * step:.1f}" y="{_HEIGHT + 15}" font-size="11" fill="{_GREY}" '
        f'text-anchor="{"start" if i == 0 else "end" if i == last else "middle"}">{text}</text>'
        for i, text in enumerate(edges)
        if text
    )
    return (
        f"<figure><figcaption>{title} <small>highest column {largest:,}</small></figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BELOW}" role="img" aria-label="{title}">'
        f'{columns}<line x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}" stroke="{_GREY}"/>'
        f"{texts}</svg></figure>"
    )


def spark(counts: Sequence[int], colour: str) -> str:
    """A histogram as small as a word."""
    largest = max([*counts, 1])
    columns = "".join(
        f'<rect x="{i * 6}" y="{22 - 22 * count / largest:.1f}" width="5" '
        f'height="{22 * count / largest:.1f}" fill="{colour}"/>'
        for i, count in enumerate(counts)
    )
    return f'<svg class="spark" viewBox="0 0 {6 * len(counts)} 22">{columns}</svg>'


def bars(named: Sequence[tuple[str, int]], whole: int) -> str:
    """Rows of name (HTML), count, share of ``whole`` and a bar."""
    rows = "".join(
        f'<tr><td>{name}</td><td class="n">{count:,}</td>'
        f'<td class="n">{share_text(count, whole)}</td><td class="bar">'
        f'<i style="width:{100 * count / max(whole, 1):.1f}%"></i></td></tr>'
        for name, count in named
    )
    return f"<table>{rows}</table>"


def html_page(title: str, body: str, css: str = "") -> str:
    """A page that needs no other file; ``title``, ``body``: HTML; ``css`` adds to the style."""
    more = f"<style>{css}</style>" if css else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style>{more}</head><body><main>{body}</main></body></html>\n"
    )


def data_url(picture: bytes, kind: str) -> str:
    """The address of a picture that is written into the page; ``kind``: jpeg or png."""
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode('ascii')}"


_STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#667085;--ground:#f6f7f9;--card:#fff;
--line:#e3e7ed;--accent:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e8ecf2;--soft:#98a2b3;--ground:#12161c;--card:#1b2129;
--line:#2c343f;--accent:#6ea0ff}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:28px;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:19px;margin:40px 0 10px}
h2+p{margin:-8px 0 12px;color:var(--soft)}
.facts{color:var(--soft);margin:0 0 20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:12px}
.tiles div,table,.charts figure,.gallery figure{background:var(--card);
border:1px solid var(--line);border-radius:10px}
.tiles div{padding:14px 16px}
.tiles b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
.tiles span,small,th{color:var(--soft);font-weight:400}
table{width:100%;border-collapse:separate;border-spacing:0;padding:6px 4px;margin:12px 0}
td,th{padding:5px 12px;text-align:left;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums}
.bar{width:45%}
.bar i{display:block;height:10px;border-radius:5px;background:var(--accent);min-width:1px}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;margin-right:8px}
.spark{width:140px;height:22px;display:block}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:12px}
figure{margin:0}
.charts figure{padding:12px 16px}
.charts svg{width:100%;height:auto;display:block;margin-top:8px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(320px,1fr));gap:14px}
.gallery figure{overflow:hidden}
.gallery img{width:100%;height:auto;display:block}
.gallery figcaption{padding:8px 12px 10px;overflow-wrap:anywhere}
em{font-style:normal;font-size:12px;border:1px solid var(--line);border-radius:9px;padding:0 7px;
margin-left:4px;white-space:nowrap}
"""
