"""The model card: what weights are, how they came about, what they score, what is not known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from geomtp import __version__
from geomtp.checkpoints import replacing
from geomtp.data.sources import SOURCES
from geomtp.hub.card_facts import MACHINE, CardFacts
from geomtp.hub.repositories import CARD, LIBRARY, published_name
from geomtp.model import ModelConfig, SourceConfig

PIPELINES = {
    "semantic": "image-segmentation",
    "instance": "image-segmentation",
    "change": "image-segmentation",
    "horizontal": "object-detection",
    "rotated": "object-detection",
    "scene": "image-classification",
}
"""Task → the hub's word for it."""

FEATURES = "image-feature-extraction"

UNKNOWN = "unknown"


def model_card(path: str | Path, *, licence: str = UNKNOWN) -> str:
    """The card of a file of ours: a YAML header for the hub and a page of Markdown.

    What was trained, validated and evaluated is read from the folder that the file lies in.
    ``licence``: of the weights, as the hub names it.

    Raises FileNotFoundError, or ValueError for a file that is not ours.
    """
    path = Path(path)
    facts = CardFacts.of(path)
    parts = [
        _header(facts, licence),
        f"# {facts.name}",
        _summary(facts),
        _use(facts),
        _classes(facts.model),
        _input(facts),
        _encoder(facts),
        _training(facts),
        _figures(facts),
        _unknown(facts, licence),
        f"SHA-256 of the weights: `{facts.sha256}`. Written by geomtp {__version__}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_card(path: str | Path, out: str | Path | None = None, *, licence: str = UNKNOWN) -> Path:
    """Write the card to ``out``, by default ``README.md`` beside the weights; where it lies.

    Raises as ``model_card``; ValueError where a README.md lies there that is no card of ours.
    """
    text = model_card(path, licence=licence)
    place = Path(path).with_name(CARD) if out is None else Path(out)
    if (
        out is None
        and place.is_file()
        and f"library_name: {LIBRARY}" not in place.read_text("utf-8")
    ):
        raise ValueError(f"{place} is there and is no model card of geomtp: say --out FILE")
    with replacing(place) as part:
        part.write_text(text, encoding="utf-8")
    return place


def _header(facts: CardFacts, licence: str) -> str:
    tasks = _tasks(facts.model)
    pipelines = {PIPELINES[task] for task in tasks if task in PIPELINES}
    tags = [LIBRARY, "remote-sensing", *tasks, _encoder_name(facts)]
    if len(tasks) > 1:
        tags.append("multi-task-pretraining")
    header: dict[str, Any] = {
        "license": licence,
        "library_name": LIBRARY,
        "pipeline_tag": pipelines.pop() if len(pipelines) == 1 else FEATURES,
        "tags": tags,
    }
    if facts.model is not None:
        header["datasets"] = list(facts.model.sources)
    return f"---\n{yaml.safe_dump(header, sort_keys=False, allow_unicode=True)}---"


def _tasks(model: ModelConfig | None) -> list[str]:
    """The tasks of all sources, each once, in order."""
    sources = [] if model is None else model.sources.values()
    return list(dict.fromkeys(task for source in sources for task in source.tasks))


def _encoder_name(facts: CardFacts) -> str:
    if facts.model is not None:
        return facts.model.encoder
    return str(facts.info.get("encoder") or facts.info.get("mae", {}).get("encoder", "encoder"))


def _summary(facts: CardFacts) -> str:
    size = f"{facts.parameters / 1e6:.1f} M parameters"
    if facts.model is not None:
        tasks = ", ".join(_tasks(facts.model))
        return (
            f"A model for overhead imagery, made by geomtp (multi-task pretraining, "
            f"[arXiv 2403.13430](https://arxiv.org/abs/2403.13430)): encoder "
            f"`{facts.model.encoder}`, decoders for {tasks}; {size}."
        )
    what = {"encoder": "The encoder alone", "mae": "A masked autoencoder"}
    kind = what.get(facts.kind, "The plain transformer of a masked autoencoder")
    return f"{kind}: `{_encoder_name(facts)}`, for overhead imagery; {size}."


def _use(facts: CardFacts) -> str:
    if facts.model is not None:
        source = next(iter(facts.model.sources))
        channels, side = facts.model.in_channels, facts.model.image_size
        after = ""
        if "change" in facts.model.sources[source].tasks:
            after = ", images_after=images"
        lines = [
            "import geomtp, torch",
            'model = geomtp.from_pretrained("USER/NAME")  # or the folder that holds this file',
            f"images = torch.zeros(1, {channels}, {side}, {side})  # normalised as below",
            f"found = model.predict(images, [({side}, {side})], {source!r}{after})[0]",
        ]
        return "\n".join(["## Use", "", "```python", *lines, "```"])
    lines = [
        "geomtp weights fetch USER/NAME --out weights",
        f"geomtp finetune TASK --data DIR --encoder {_encoder_name(facts)} "
        f"--weights weights/{published_name(facts.kind)}",
    ]
    return "\n".join(["## Use", "", "```sh", *lines, "```"])


def _classes(model: ModelConfig | None) -> str:
    if model is None:
        return ""
    lines = ["## Tasks and classes"]
    for name, source in model.sources.items():
        lines += ["", f"### {name}", "", f"Tasks: {', '.join(source.tasks)}.{_about(name)}", ""]
        lines += _table(("id", "class", "colour"), _palette(source))
    return "\n".join(lines)


def _palette(source: SourceConfig) -> list[tuple[object, ...]]:
    classes = source.classes
    colours = ["#%02x%02x%02x" % rgb for rgb in classes.palette]  # noqa: UP031
    return list(zip(range(len(classes)), classes.names, colours, strict=True))


def _about(name: str) -> str:
    """A sentence on a source that geomtp knows."""
    if name not in SOURCES:
        return ""
    source = SOURCES[name]
    title = (type(source).__doc__ or "").splitlines()[0]
    return f" {title} Licence of the data: {source.licence}."


def _input(facts: CardFacts) -> str:
    lines = ["## Input", ""]
    model, info = facts.model, facts.info
    if model is None:
        made = info.get("mae", info)
        lines.append(
            f"Made for {made.get('image_size')} px and {made.get('in_channels')} channels."
        )
        if made.get("mean") and made.get("std"):
            lines.append(f"Normalised by mean {made['mean']}, std {made['std']}.")
        return "\n".join(lines)
    lines.append(
        f"{model.in_channels} channels; made for {model.image_size} px, other sizes are possible. "
        f"Each channel has its mean subtracted and is divided by its standard deviation, in the "
        f"units of the image files (0…255 for 8 bits):"
    )
    rows = [(name, _numbers(s.mean), _numbers(s.std)) for name, s in model.sources.items()]
    return "\n".join([*lines, "", *_table(("source", "mean", "std"), rows)])


def _numbers(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)


def _encoder(facts: CardFacts) -> str:
    lines = ["## Encoder and its stages", "", f"`{_encoder_name(facts)}`."]
    if facts.stages:
        lines.append("")
        lines += [f"{i}. {stage.title}" for i, stage in enumerate(facts.stages, start=1)]
    return "\n".join(lines)


def _training(facts: CardFacts) -> str:
    if not facts.settings:
        return ""
    settings = {name: value for name, value in facts.settings.items() if name not in MACHINE}
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return (
        f"## Training\n\nThe settings of the last stage, seed {settings.get('seed')}:\n\n"
        f"```yaml\n{text}```"
    )


def _figures(facts: CardFacts) -> str:
    if not facts.figures:
        return ""
    rows = [
        (f.source, f.name, f"{f.value:.4f}", f.images or "not recorded", f.split, f.protocol)
        for f in facts.figures
    ]
    head = ("source", "figure", "value", "images (n)", "split", "protocol")
    return "\n".join(["## Figures", "", "One training each; fractions.", "", *_table(head, rows)])


def _unknown(facts: CardFacts, licence: str) -> str:
    """What a reader might look for and does not find here."""
    sources = [] if facts.model is None else list(facts.model.sources)
    lines = []
    if licence == UNKNOWN:
        lines.append("The licence of these weights: whoever publishes them has to say.")
    if strange := [name for name in sources if name not in SOURCES]:
        lines.append(f"Sensor, resolution and licence of {', '.join(strange)}.")
    if not facts.settings:
        lines.append("How the weights were trained: no settings lie beside the file.")
    if not facts.figures:
        lines.append("How good they are: no figures of these weights lie beside the file.")
    elif not any("training" not in figure.protocol for figure in facts.figures):
        lines.append("Figures on images that had no part in choosing the model.")
    lines.append("How they do on other sensors, resolutions, regions and seasons.")
    return "\n".join(["## What is not known", "", *(f"- {line}" for line in lines)])


def _table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    """A table in Markdown."""
    cells = [head, ("---",) * len(head), *rows]
    texts = [[str(cell).replace("|", "\\|") for cell in row] for row in cells]
    return [f"| {' | '.join(row)} |" for row in texts]
