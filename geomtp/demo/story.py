"""The story on embedded scenes, stage by stage; each stage is done once."""

from __future__ import annotations

import dataclasses
import os
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

from geomtp.demo.chapters import Chapter, keep, kept
from geomtp.demo.finetuning import fine_tuning
from geomtp.demo.labelling import labelling
from geomtp.demo.mapping import PAGE, mapping, page_command
from geomtp.demo.pretraining import autoencoding, multi_task
from geomtp.demo.report import write_report
from geomtp.demo.stages import FULL, QUICK, Demo, Stage
from geomtp.training.stores import Say

STAGES = (
    Stage("labels", "Labels of three tasks from rotated boxes", labelling),
    Stage("mae", "Masked autoencoding: images without labels", autoencoding),
    Stage("mtp", "Multi-task pretraining: three sources, three tasks, one encoder", multi_task),
    Stage("finetune", "Fine-tuning on few images of one's own", fine_tuning),
    Stage("map", "A map of a georeferenced scene", mapping),
)

_WIDTH = 100  # characters of a line of text


def run_demo(
    out: Path, *, quick: bool, say: Say = print, stages: Sequence[Stage] = STAGES
) -> dict[str, Chapter]:
    """Do the stages that are not done in ``out`` yet, and write ``out/report.html``.

    Interrupted, the same call goes on where it was. Returns what each stage came to, by name.
    Raises ValueError where ``out`` holds something else, or a demo with another ``quick``.
    """
    open_demo(out, quick=quick)
    demo = Demo(out, QUICK if quick else FULL, say)
    chapters: dict[str, Chapter] = {}
    report = write_report(out, stages, chapters)
    for number, stage in enumerate(stages, start=1):
        say(f"\n{number} of {len(stages)}: {stage.title}")
        chapter = Chapter.read(demo.folder(stage.name))
        if chapter is None:
            try:
                chapter = _do(stage, demo)
            except KeyboardInterrupt:
                say("stopped; the same command goes on where this one was")
                raise
        else:
            say("done before")
        chapters[stage.name] = chapter
        say("\n".join(["", *chapter.lines(), *map(_filled, chapter.text)]))
        report = write_report(out, stages, chapters)
    say(f"\n{_time(chapters)}\nlook at {report}")
    say(f"and, in a browser, at {PAGE} which this gives:\n  {page_command(out)}")
    return chapters


def open_demo(out: Path, *, quick: bool) -> None:
    """Make the folder of a demo, or see that ``out`` is one to go on with.

    Raises ValueError where it is not.
    """
    about = out / "demo.json"
    before = kept(about)
    if before is None and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} is there already and holds no demo: choose another --out")
    if before is not None and before.get("quick") != quick:
        kind = "with" if before.get("quick") else "without"
        raise ValueError(f"{out} was begun {kind} --quick: go on so, or choose another --out")
    keep(about, {"quick": quick})


def _do(stage: Stage, demo: Demo) -> Chapter:
    """Do a stage and keep what it came to, with the time of this attempt and stopped ones."""
    folder = demo.folder(stage.name)
    spent = kept(folder / "spent.json") or {"seconds": 0.0, "cpu_seconds": 0.0}
    clock, processor = time.monotonic(), _cpu_seconds()
    try:
        chapter = stage.do(demo)
    finally:
        spent["seconds"] += time.monotonic() - clock
        spent["cpu_seconds"] += _cpu_seconds() - processor
        keep(folder / "spent.json", spent)
    chapter = dataclasses.replace(chapter, **spent)
    chapter.save(folder)
    return chapter


def _cpu_seconds() -> float:
    """Of the processor, taken by this process and its finished children so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _filled(paragraph: str) -> str:
    return textwrap.fill(paragraph, _WIDTH, break_on_hyphens=False)


def _time(chapters: dict[str, Chapter]) -> str:
    each = ", ".join(f"{name} {chapter.seconds:.0f} s" for name, chapter in chapters.items())
    seconds = sum(chapter.seconds for chapter in chapters.values())
    processor = sum(chapter.cpu_seconds for chapter in chapters.values())
    return f"{each}; in all {seconds:.0f} s ({processor:.0f} processor seconds)"
