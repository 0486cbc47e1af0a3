"""The report of a label store: one page to look at, and the same figures as JSON."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from geomtp.checkpoints import replacing
from geomtp.labels.read_notes import ReadReport
from geomtp.labels.report.charts import bars, column_chart, data_url, html_page, share_text, spark
from geomtp.labels.report.figures import Example, LabelFigures, figures_of
from geomtp.labels.report.pictures import picture_of
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import Rgb

FLAG_MEANINGS = {
    "empty": "the segmenter found nothing",
    "large_spill": "most of the mask lies outside the box",
    "low_coverage": "the mask covers little of the box",
    "spill_cut": "what lay outside the box was cut off",
    "strays_dropped": "small loose parts were dropped",
    "holes": "the mask has holes",
    "box_instead": "the filled box stands in for the mask",
}
_TITLES = {
    "best": ("Best masks", "highest score × coverage"),
    "worst": ("Worst masks that were kept", "lowest score × coverage"),
    "replaced": ("Given up", "the mask was impossible, the filled box stands in for it"),
    "random": ("Random", "drawn by chance, the same ones each time"),
}


def write_report(
    store: LabelStore,
    out: str | Path,
    report: ReadReport | None = None,
    bad: Sequence[tuple[str, str]] = (),
) -> str:
    """Write ``out/report.html`` (nothing else is needed to see it) and ``out/report.json``.

    With counts by class, sizes, angles, scores, coverage and flags, and a gallery of the best, the
    worst and random labels; ``report`` and ``bad`` say what was left out of the store. Returns a
    sentence. An example whose image cannot be read is passed over.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    figures = figures_of(store)
    content = {
        "source": store.source,
        "licence": store.licence,
        "gsd_m": store.gsd_m,
        **figures.content(store.classes.names),
        "left_out": dict(report.left_out) if report else {},
        "left_out_examples": list(report.examples) if report else [],
        "bad_images": [list(entry) for entry in bad],
        "examples": {
            name: [_example_entry(store, example) for example in examples]
            for name, examples in figures.examples.items()
        },
    }
    page = _page(store, figures, report, bad)
    with replacing(out / "report.json") as part:
        part.write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
    with replacing(out / "report.html") as part:
        part.write_text(page, "utf-8")
    return f"report: {out / 'report.html'}"


def _page(
    store: LabelStore,
    figures: LabelFigures,
    report: ReadReport | None,
    bad: Sequence[tuple[str, str]],
) -> str:
    sections = [
        _summary(store, figures),
        _classes(store, figures),
        _shapes(figures),
        _quality(figures),
        *(_gallery(store, name, figures.examples[name]) for name in _TITLES),
        _left_out(report, bad),
    ]
    title = f"Labels of {escape(store.source)}"
    return html_page(title, f"<h1>{title}</h1>{''.join(sections)}")


def _summary(store: LabelStore, figures: LabelFigures) -> str:
    tiles = [
        (f"{figures.images:,}", "images"),
        (f"{figures.empty_images:,}", "of them without objects"),
        (f"{figures.rotated or figures.instances:,}", "objects"),
        (f"{len(store.classes)}", "classes"),
    ]
    content = figures.content(store.classes.names)
    if figures.scores_vary:
        tiles.append((f"{content['mean_score']:.2f}", "mean score"))
    if figures.covered:
        tiles.append((f"{content['mean_coverage']:.2f}", "mean coverage"))
        tiles.append((share_text(figures.flagged, figures.instances), "of the masks flagged"))
    cells = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for value, name in tiles)
    facts = [f"{name} {count:,}" for name, count in sorted(figures.splits.items())]
    facts += [f"{store.gsd_m} m per pixel"] if store.gsd_m else []
    prompts = sorted(prompt for prompt in figures.prompts if prompt)
    facts += [f"prompted with {', '.join(prompts)}"] if prompts else []
    facts += [] if figures.masks else ["boxes only, no masks"]
    facts += [escape(store.licence)] if store.licence else []
    return f'<p class="facts">{" · ".join(facts)}</p><div class="tiles">{cells}</div>'


def _classes(store: LabelStore, figures: LabelFigures) -> str:
    counts = figures.class_rotated if figures.rotated else figures.class_instances
    largest = max(int(counts.max(initial=0)), 1)
    rows = []
    for k in sorted(range(len(store.classes)), key=lambda k: (-int(counts[k]), k)):
        colour = _css(store.classes.palette[k])
        flagged = share_text(int(figures.class_flagged[k]), int(figures.class_instances[k]))
        rows.append(
            f'<tr><td><i class="dot" style="background:{colour}"></i>'
            f"{escape(store.classes.names[k])}</td>"
            f'<td class="n">{int(counts[k]):,}</td>'
            f'<td class="bar"><i style="width:{100 * int(counts[k]) / largest:.1f}%;'
            f'background:{colour}"></i></td>'
            f'<td class="n">{int(figures.class_images[k]):,}</td>'
            f"<td>{spark(figures.class_sizes[k].tolist(), colour)}</td>"
            + (f'<td class="n">{flagged}</td>' if figures.covered else "")
            + "</tr>"
        )
    flagged_head = '<th class="n">flagged</th>' if figures.covered else ""
    return (
        "<h2>Classes</h2><table><thead><tr><th>class</th><th class='n'>objects</th><th></th>"
        f"<th class='n'>images</th><th>sizes, 2 … 4096 px</th>{flagged_head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _shapes(figures: LabelFigures) -> str:
    content = figures.content(())
    sizes = figures.class_sizes.sum(axis=0).tolist()
    edges = [f"{edge:g}" if k % 4 == 0 else "" for k, edge in enumerate(content["size_edges_px"])]
    charts = [column_chart("Long side, px", sizes, edges)]
    if figures.rotated:
        degrees = [f"{edge:g}°" if edge % 30 == 0 else "" for edge in content["angle_edges_deg"]]
        title = "Angle of the long side, clockwise as seen"
        charts.append(column_chart(title, content["angles"], degrees))
    return f'<h2>Sizes and angles</h2><div class="charts">{"".join(charts)}</div>'


def _quality(figures: LabelFigures) -> str:
    if not figures.scores_vary and not figures.covered:
        return ""
    content = figures.content(())
    edges = [f"{edge:g}" if k % 5 == 0 else "" for k, edge in enumerate(content["share_edges"])]
    charts = []
    if figures.covered:
        title = "Share of the rotated box that the mask covers"
        charts.append(column_chart(title, content["coverage"], edges))
    if figures.scores_vary:
        charts.append(column_chart("Score of the segmenter", content["scores"], edges))
    text = f'<h2>Quality</h2><div class="charts">{"".join(charts)}</div>'
    if figures.covered:
        found = [
            (f"<b>{flag}</b> {escape(FLAG_MEANINGS.get(flag, ''))}", count)
            for flag, count in content["flags"].items()
        ]
        found.append(("no flag", figures.flags.get("", 0)))
        text += bars(found, figures.instances)
    return text


def _gallery(store: LabelStore, name: str, examples: Sequence[Example]) -> str:
    shown = []
    for example in examples:
        labels = store[example.row]
        try:
            picture = picture_of(labels, example.instance, store.image_root, store.classes)
        except OSError:
            continue
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=88)
        caption = _caption(store, labels, example.instance)
        shown.append(
            f'<figure><img alt="" width="{picture.width}" height="{picture.height}" '
            f'src="{data_url(buffer.getvalue(), "jpeg")}">'
            f"<figcaption>{caption}</figcaption></figure>"
        )
    if not shown:
        return ""
    title, how = _TITLES[name]
    return f'<h2>{title}</h2><p>{how}</p><div class="gallery">{"".join(shown)}</div>'


def _caption(store: LabelStore, labels: ImageLabels, instance: int) -> str:
    assert labels.box_labels is not None
    k = int(labels.box_labels[instance])
    words = [
        f'<i class="dot" style="background:{_css(store.classes.palette[k])}"></i>'
        f"<b>{escape(store.classes.names[k])}</b>"
    ]
    if labels.scores is not None:
        words.append(f"score {labels.scores[instance]:.2f}")
    if labels.coverage is not None:
        words.append(f"coverage {labels.coverage[instance]:.2f}")
    flags = labels.flags[instance] if labels.flags is not None else ()
    marks = "".join(f"<em>{escape(flag)}</em>" for flag in flags)
    return f"{' · '.join(words)} {marks}<br><small>{escape(labels.image)}</small>"


def _left_out(report: ReadReport | None, bad: Sequence[tuple[str, str]]) -> str:
    images = [f"<li><b>{escape(image)}</b> {escape(reason)}</li>" for image, reason in bad]
    text = ""
    if report is not None and report.left_out:
        lines = [f"<li><b>{n:,}</b> {escape(reason)}</li>" for reason, n in report.left_out]
        examples = [f"<li>{escape(sentence)}</li>" for sentence in report.examples]
        text += f"<h2>Left out</h2><ul>{''.join(lines)}</ul>"
        text += f"<details><summary>examples</summary><ul>{''.join(examples)}</ul></details>"
    if images:
        text += f"<h2>Images that could not be read</h2><ul>{''.join(images)}</ul>"
    return text


def _example_entry(store: LabelStore, example: Example) -> dict[str, object]:
    labels = store[example.row]
    assert labels.boxes is not None
    assert labels.box_labels is not None
    i = example.instance
    return {
        "image": labels.image,
        "instance": i,
        "class": store.classes.names[int(labels.box_labels[i])],
        "box_xyxy": labels.boxes[i].tolist(),
        "score": None if labels.scores is None else float(labels.scores[i]),
        "coverage": None if labels.coverage is None else float(labels.coverage[i]),
        "flags": None if labels.flags is None else list(labels.flags[i]),
    }


def _css(colour: Rgb) -> str:
    return "rgb({},{},{})".format(*colour)
