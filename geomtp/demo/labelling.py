"""The first stage: scenes are drawn, and labels made of their rotated boxes alone."""

from __future__ import annotations

import importlib.util
import itertools
import shutil
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from PIL import Image

from geomtp.demo.chapters import Chapter
from geomtp.demo.stages import SOURCES, Demo
from geomtp.geometry import decode_rle
from geomtp.labels import GenerateLabels, ImageLabels, LabelStore, generate, write_store
from geomtp.labels.exports.dota import export_dota
from geomtp.labels.report.pictures import picture_of
from geomtp.labels.store.format import INFO_NAME
from geomtp.training.pictures import contact_sheet, save_picture

_SHEET = "labels/masks.png"


def labelling(demo: Demo) -> Chapter:
    """Draw the sources, label their training images from rotated boxes, compare with the truth."""
    segmenter = "box" if importlib.util.find_spec("cv2") is None else "grabcut"
    overlaps: dict[str, list[float]] = defaultdict(list)
    pictures: dict[str, Image.Image] = {}
    for name in SOURCES:
        made, exact = make_labels(demo, name, segmenter)
        for row, instance, overlap in compared(made, exact):
            assert row.box_labels is not None
            known = made.classes.names[int(row.box_labels[instance])]
            overlaps[known].append(overlap)
            if known not in pictures:
                pictures[known] = picture_of(row, instance, made.image_root, made.classes)
    save_picture(contact_sheet([pictures[k] for k in sorted(pictures)], 2), demo.out / _SHEET)
    overlaps = {known: overlaps[known] for known in sorted(overlaps)}
    overlaps["all"] = list(itertools.chain.from_iterable(overlaps.values()))
    least = min(overlaps, key=lambda known: float(np.mean(overlaps[known])))
    return Chapter(
        text=(
            f"{len(SOURCES)} sources of overhead scenes were drawn, {demo.size.train} training "
            f"and {demo.size.val} held-out images of each. Of the training images nothing but "
            f"rotated boxes was used, as DOTA's text files: the segmenter '{segmenter}' made masks "
            f"of them, and the masks make semantic maps. The scenes are drawn, so the true masks "
            f"are known and the table compares. Held-out images keep their true labels.",
            f"Boxes tell least of {least}: there a segmenter with weights is worth its time "
            f"(--segmenter sam). Each store has a page of its own: labels/made/…/report.html.",
        ),
        command="geomtp labels IMAGES ANNOTATIONS --format dota --segmenter sam "
        "--weights sam-vit-base --out stores/mine",
        heads=("class", "objects", "IoU with the truth"),
        rows=tuple((k, len(shares), float(np.mean(shares))) for k, shares in overlaps.items()),
        pictures={_SHEET: "An object of each class, plain and with the mask made of its box"},
    )


def make_labels(demo: Demo, name: str, segmenter: str) -> tuple[LabelStore, LabelStore]:
    """The store that pretraining reads of a source, and the one of the whole truth.

    Training images have masks made of their rotated boxes, held-out ones the true labels.
    """
    folder = demo.folder("labels")
    drawn, boxes, made = (folder / part / name for part in ("drawn", "boxes", "made"))
    if not (drawn / INFO_NAME).is_file():
        demo.say(f"{name}: drawing scenes")
        demo.source(name).build(None, drawn)
    exact = LabelStore.open(drawn)
    if not (demo.stores / name / INFO_NAME).is_file():
        for half_done in (boxes, made):
            shutil.rmtree(half_done, ignore_errors=True)
        export_dota(exact.subset("train"), boxes)
        config = GenerateLabels(
            images=exact.image_root,
            annotations=boxes / "labelTxt",
            form="dota",
            out=made,
            segmenter=segmenter,
            classes=exact.classes.names,
            mean=exact.mean,
            std=exact.std,
            gsd_m=exact.gsd_m,
            split="train",
        )
        labelled = generate(config, demo.say).store
        assert labelled is not None  # this process makes it all
        rows = itertools.chain(labelled, exact.subset("val"))
        write_store(demo.stores / name, rows, exact.info)
    return LabelStore.open(demo.stores / name), exact


def compared(made: LabelStore, exact: LabelStore) -> Iterator[tuple[ImageLabels, int, float]]:
    """Each object of the training images: its row and number, and the IoU with its true mask."""
    truth = {row.image: row for row in exact.subset("train")}
    for row in made.subset("train"):
        true = truth[row.image]
        if not row.rles or not true.rles:
            continue
        assert row.rboxes is not None
        assert true.rboxes is not None
        ours, theirs = (decode_rle(r.rles or (), r.size_hw).numpy() for r in (row, true))
        for number, rbox in enumerate(row.rboxes):
            same = int(np.abs(true.rboxes[:, :4] - rbox[:4]).sum(axis=1).argmin())
            both = np.logical_and(ours[number], theirs[same]).sum()
            either = np.logical_or(ours[number], theirs[same]).sum()
            yield row, number, float(both / max(either, 1))
