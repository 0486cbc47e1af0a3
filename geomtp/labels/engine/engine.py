"""The label engine: annotated images in, a store with the labels of all three tasks out.

    annotations ─ plan ─▶ shards of work ─ segmenter ─▶ shards of labels ─ merge ─▶ LabelStore

Shards are lists of images in a fixed order. Each is labelled by one process, and its file appears
in one step: a killed run goes on with the shards that are missing. The store is merged in that same
order, so that it does not tell how many processes made it, or whether they were interrupted.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from geomtp.labels.engine.generate_config import GenerateLabels
from geomtp.labels.engine.label_shards import ShardLabeller, check_settings
from geomtp.labels.engine.plan import Plan, make_plan, open_plan, save_plan, shard_file
from geomtp.labels.engine.processes import label_in_processes
from geomtp.labels.engine.shards import Shard, read_shard
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.report.page import write_report
from geomtp.labels.store.label_store import LabelStore, StoreWriter
from geomtp.parallel import launched_as, share_of_rank
from geomtp.progress import Progress

Say = Callable[[str], None]

LONGEST_WAIT_S = 3600.0
"""How long the first process waits for the next shard of another one."""


@dataclass(frozen=True)
class GenerateResult:
    """What a run gave.

    - store: the label store; None in a launcher's processes other than the first
    - report: what was kept and left out; None where ``store`` is, and where a finished run was
      started again
    - bad: (image, reason) of each image that could not be read, in the order of the images
    - labelled: images that this very call labelled (0 when the run was finished before)
    """

    store: LabelStore | None
    report: ReadReport | None
    bad: tuple[tuple[str, str], ...]
    labelled: int


def generate(config: GenerateLabels, say: Say = print) -> GenerateResult:
    """Label the images of ``config`` and write the store ``config.out``; see ``GenerateLabels``.

    Called again after an interruption, with the same settings, it goes on where it was. An image
    that cannot be read is left out of the store and listed in the result; the next call tries it
    again, unless ``config.skip_bad``. Under a launcher (RANK and WORLD_SIZE, or SLURM_PROCID and
    SLURM_NTASKS) each process labels its share below the same ``config.out``, and the first one
    merges; with ``config.processes`` this call starts its own.

    Raises ValueError, FileNotFoundError or OSError in one sentence: a mistake in the settings,
    other settings than those the run was begun with, a disk that is full.
    """
    rank, world = launched_as() if config.processes is None else (0, 1)
    plan = open_plan(config)
    if plan is None:
        check_settings(config)
        if rank == 0:
            say(f"reading annotations ({config.form}) in {config.annotations}")
            plan = make_plan(config)
            say(f"{plan.images} images, {len(plan.classes)} classes: {', '.join(plan.classes)}")
        else:
            plan = _wait_for_plan(config)
    if plan.finished:
        say(f"{config.out} is finished: nothing to do")
        return GenerateResult(LabelStore.open(config.out), None, (), 0)
    numbers = _missing(config, plan, rank, world)
    whole = plan.shards - len(numbers)
    if whole and world == 1:
        say(f"going on: {whole} of {plan.shards} shards are labelled already")
    labelled = _label(config, plan, numbers, rank, say)
    if rank != 0:
        return GenerateResult(None, None, (), labelled)
    _wait_for_shards(config, plan, say)
    report, bad = _merge(config, plan)
    store = LabelStore.open(config.out)
    if config.report:
        say(write_report(store, config.out, report, bad))
    if not bad or config.skip_bad:
        save_plan(config.out, dataclasses.replace(plan, finished=True))
        shutil.rmtree(config.out / "shards", ignore_errors=True)
    return GenerateResult(store, report, bad, labelled)


def _missing(config: GenerateLabels, plan: Plan, rank: int, world: int) -> list[int]:
    """The shards that this process has to label.

    Those of its share that are not there; and the first process tries those with bad images again.
    """
    own = set(share_of_rank(plan.shards, rank, world))
    missing = []
    for number in range(plan.shards):
        shard = read_shard(shard_file(config.out, number))
        again = shard is not None and bool(shard.bad) and rank == 0 and not config.skip_bad
        if again or (shard is None and number in own):
            missing.append(number)
    return missing


def _label(config: GenerateLabels, plan: Plan, numbers: Sequence[int], rank: int, say: Say) -> int:
    """Label shards, here or in local processes; how many images that were."""
    last = plan.images - (plan.shards - 1) * config.images_per_shard
    images = sum(last if n == plan.shards - 1 else config.images_per_shard for n in numbers)
    progress = Progress(say, "labels", images, "images", "instances")

    def on_image(instances: int) -> None:
        progress.add(parts=instances)

    if not numbers:
        return 0
    if (config.processes or 1) > 1:
        label_in_processes(config, plan, numbers, on_image)
    else:
        labeller = ShardLabeller(config, plan, rank)
        for number in numbers:
            labeller.label(number, on_image)
    progress.tell()
    return progress.done


def _merge(config: GenerateLabels, plan: Plan) -> tuple[ReadReport, tuple[tuple[str, str], ...]]:
    """Write the store from all shards, in their order; the report, and the images left out."""
    notes = ReadNotes()
    notes.add_content(plan.notes)
    bad = list(notes.damaged)
    images, empty, counts = 0, 0, np.zeros(len(plan.classes), dtype=np.int64)
    with StoreWriter(config.out, plan.info(config)) as writer:
        for number in range(plan.shards):
            shard = _whole_shard(config, number)
            notes.add_content(shard.notes)
            bad += shard.bad
            for batch in shard.batches:
                writer.add_batch(batch)
                ids = batch.column("rbox_labels")
                images += batch.num_rows
                empty += int((np.diff(ids.offsets.to_numpy()) == 0).sum())
                counts += np.bincount(ids.flatten().to_numpy(), minlength=len(counts))
    kept = Counter(dict(zip(plan.classes, counts.tolist(), strict=True)))
    return notes.report(images, empty, +kept), tuple(bad)


def _whole_shard(config: GenerateLabels, number: int) -> Shard:
    path = shard_file(config.out, number)
    shard = read_shard(path)
    if shard is None:
        raise OSError(f"{path} is missing or damaged: start again to label its images anew")
    return shard


def _wait_for_plan(config: GenerateLabels) -> Plan:
    """The plan that the first process makes. Raises OSError when it does not come."""
    end = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < end:
        plan = open_plan(config)
        if plan is not None:
            return plan
        time.sleep(1.0)
    raise OSError(f"the first process made no plan in {config.out} within an hour")


def _wait_for_shards(config: GenerateLabels, plan: Plan, say: Say) -> None:
    """Return when all shards are there. Raises OSError after an hour without a new one."""
    missing = list(range(plan.shards))
    last = time.monotonic()
    while True:
        still = [n for n in missing if read_shard(shard_file(config.out, n)) is None]
        if not still:
            return
        if len(still) < len(missing):
            last = time.monotonic()
            say(f"waiting for {len(still)} shards of other processes")
        if time.monotonic() - last > LONGEST_WAIT_S:
            raise OSError(
                f"{len(still)} shards of other processes did not come within an hour: "
                f"start again to go on"
            )
        missing = still
        time.sleep(1.0)
