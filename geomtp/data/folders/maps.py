"""Folders of images with masks, and of pairs of images with masks of what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from geomtp.data.folders.found import Found
from geomtp.data.folders.layouts import (
    AFTER,
    BEFORE,
    IMAGES,
    MASKS,
    child,
    matched,
    parts_of,
    same_size,
    splitter,
)
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.labels.store.building import OtherClassesError
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.rasters import read_window
from geomtp.types import IGNORE, ClassMap, SizeHW

Pair = tuple[str, list[str], SizeHW]
"""An image, the files that belong to it, all relative to the root, and their size."""


def read_semantic(
    root: Path, classes: tuple[str, ...] | None, val_share: float, notes: ReadNotes
) -> Found:
    """Images and grey masks of the same names in ``images`` and ``masks``.

    The folders may lie below train and val. A mask holds 0 for the background, k for the k-th of
    ``classes`` (named "class k" where none are given) and 255 for what is to be ignored; masks of
    nothing but 0 and 255 hold one class, 255.

    Raises FileNotFoundError or ValueError in one sentence for another layout, files without
    partner, sizes that differ, and values that mean nothing (with counts).
    """
    pairs, split_of = _matched_parts(root, (IMAGES, "images"), {"masks": MASKS}, val_share, notes)
    counts = _values(root, [others[0] for _, others, _ in pairs])
    names, values = _semantic_values(root, counts, classes)
    rows = [
        ImageLabels(image, size_hw, split_of(image), semantic=others[0])
        for image, others, size_hw in pairs
    ]
    labels = dict(zip(("background", *names), range(len(names) + 1), strict=True))
    remark = _shares(counts, values, {**labels, "ignored": IGNORE})
    return Found(ClassMap(names), rows, semantic_values=values, remarks=(remark,))


def read_change(
    root: Path, classes: tuple[str, ...] | None, val_share: float, notes: ReadNotes
) -> Found:
    """Images in ``before`` and ``after`` and masks in ``masks``, of the same names.

    The folders may lie below train and val, and may be named as in LEVIR-CD: A, B and label. A mask
    holds 0 for unchanged, 1 for changed and 255 for unknown; where it holds nothing but 0 and 255,
    255 is changed. ``classes``: what the changed pixels are called, one name.

    Raises like ``read_semantic``.
    """
    names = classes or ("changed",)
    if len(names) != 1:
        raise ValueError(
            f"masks of change tell changed from unchanged: --classes names what changed, one name, "
            f"found {', '.join(names)}"
        )
    others = {"the second date": AFTER, "masks": MASKS}
    pairs, split_of = _matched_parts(root, (BEFORE, "the first date"), others, val_share, notes)
    counts = _values(root, [files[1] for _, files, _ in pairs])
    values = {0: 0, IGNORE: 1} if 1 not in counts else {0: 0, 1: 1, IGNORE: IGNORE}
    _check_values(root, counts, values, "0 unchanged, 1 changed and 255 unknown, or 0 and 255")
    rows = [
        ImageLabels(image, size_hw, split_of(image), image_after=files[0], change=files[1])
        for image, files, size_hw in pairs
    ]
    remark = _shares(counts, values, {"unchanged": 0, "changed": 1, "unknown": IGNORE})
    return Found(ClassMap(names), rows, change_values=values, remarks=(remark,))


def _matched_parts(
    root: Path,
    first: tuple[Sequence[str], str],
    others: dict[str, tuple[str, ...]],
    val_share: float,
    notes: ReadNotes,
) -> tuple[list[Pair], Callable[[str], str]]:
    """The images with the files that belong to them, and the split of each image.

    ``first`` and ``others``: the names that a folder may have and what it holds. Damaged images are
    noted and left out.
    """
    folder = ImageFolder(root, notes)
    pairs: list[Pair] = []
    images: dict[str | None, list[str]] = {}
    for split, part in parts_of(root).items():
        main = child(part, *first)
        partners = {what: child(part, names, what) for what, names in others.items()}
        images[split] = []
        for name, theirs in matched(main, partners, notes).items():
            places = [main / name, *(p / n for p, n in zip(partners.values(), theirs, strict=True))]
            image, *files = (path.relative_to(root).as_posix() for path in places)
            size_hw = same_size(places, [folder.size_hw(file) for file in (image, *files)])
            if size_hw is not None:
                pairs.append((image, files, size_hw))
                images[split].append(image)
    return pairs, splitter(images, val_share, lambda image: "")


def _values(root: Path, masks: Sequence[str]) -> Counter[int]:
    """How many pixels of all masks have each value. Raises ValueError for what is no grey map."""
    counts: Counter[int] = Counter()
    for mask in masks:
        grey = read_window(root / mask, expand_palette=False)
        if grey.dtype != np.uint8 or grey.shape[2] != 1:
            raise ValueError(
                f"{root / mask} must be a grey mask of 8 bits, found {grey.shape[2]} bands "
                f"of {grey.dtype}"
            )
        found = np.bincount(grey.reshape(-1), minlength=256)
        counts.update({int(v): int(found[v]) for v in np.flatnonzero(found)})
    return counts


def _semantic_values(
    root: Path, counts: Counter[int], classes: tuple[str, ...] | None
) -> tuple[tuple[str, ...], dict[int, int]]:
    """The class names, and what each value of a mask means."""
    two_valued = IGNORE in counts and set(counts) <= {0, IGNORE}
    if two_valued and (classes is None or len(classes) == 1):
        return classes or ("foreground",), {0: 0, IGNORE: 1}
    if two_valued:
        raise OtherClassesError(
            f"the masks below {root} hold nothing but 0 and 255, which is one class, not "
            f"{', '.join(classes or ())}: write masks of class numbers"
        )
    if classes is None:
        highest = max(set(counts) - {IGNORE}, default=0)
        classes = tuple(f"class {k}" for k in range(1, highest + 1))
        if missing := [str(k) for k in range(1, highest + 1) if k not in counts]:
            raise ValueError(
                f"the masks below {root} hold the values {_listed(counts)} but not "
                f"{', '.join(missing[:8])}: name the classes of the values 1, 2, … by --classes, "
                f"or write masks of class numbers"
            )
    if not classes:
        raise ValueError(f"the masks below {root} hold nothing but background")
    values = {k: k for k in range(len(classes) + 1)} | {IGNORE: IGNORE}
    _check_values(root, counts, values, f"0 background, {_numbered(classes)}, 255 ignored")
    return classes, values


def _numbered(classes: Sequence[str]) -> str:
    """What the values from 1 on mean."""
    shown = [f"{k} {name}" for k, name in enumerate(classes, start=1)]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])


def _check_values(root: Path, counts: Counter[int], values: dict[int, int], known: str) -> None:
    if strangers := Counter({v: n for v, n in counts.items() if v not in values}):
        raise OtherClassesError(
            f"the masks below {root} hold values that mean nothing: {_listed(strangers)}; "
            f"known are {known}"
        )


def _listed(counts: Counter[int]) -> str:
    shown = [f"{value} ({counts[value]} pixels)" for value in sorted(counts)[:8]]
    return ", ".join(shown) + (", …" if len(counts) > 8 else "")


def _shares(counts: Counter[int], values: dict[int, int], names: dict[str, int]) -> str:
    """A sentence of how much of all pixels is what."""
    total = sum(counts.values())
    meant: Counter[int] = Counter()
    for value, count in counts.items():
        meant[values[value]] += count
    parts = [f"{name} {meant[number] / total:.1%}" for name, number in names.items()]
    return f"pixels: {', '.join(parts)}"
