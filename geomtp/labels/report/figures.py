"""What a label store holds, in figures: counts, sizes, angles, quality, and examples to look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore

SIZE_EDGES_PX = tuple(float(2 ** (k / 2)) for k in range(2, 25))  # 2 … 4096, two steps an octave
ANGLE_EDGES_DEG = tuple(float(degrees) for degrees in range(-90, 91, 10))
SHARE_EDGES = tuple(step / 20 for step in range(21))

GALLERIES = ("best", "worst", "replaced", "random")
"""Masks by falling and rising quality, boxes in place of masks, and any."""

_PER_GALLERY = 12
_CANDIDATES = 200  # from which at most two of an image are taken


@dataclass(frozen=True)
class Example:
    """One instance to look at: row of the store, instance in the row, and how good it is (0…1)."""

    row: int
    instance: int
    quality: float


@dataclass
class LabelFigures:
    """Counts over a whole store; ``figures_of`` fills them.

    - images, empty_images: of them without objects; splits: images by split
    - rotated, instances: objects in the two lists; masks: whether there are masks
    - class_rotated, class_instances, class_images, class_flagged: (K,) counts by class
    - class_sizes: (K, S) counts of the long side by ``SIZE_EDGES_PX``; the ends hold the rest
    - angles: counts by ``ANGLE_EDGES_DEG``; scores, coverage: counts by ``SHARE_EDGES``
    - flags: instances by flag, "" for those without any
    - prompts: instances by prompt
    - examples: by gallery
    """

    class_rotated: NDArray[np.int64]
    class_instances: NDArray[np.int64]
    class_images: NDArray[np.int64]
    class_flagged: NDArray[np.int64]
    class_sizes: NDArray[np.int64]
    images: int = 0
    empty_images: int = 0
    masks: bool = False
    splits: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    angles: NDArray[np.int64] = field(default_factory=lambda: _zeros(ANGLE_EDGES_DEG))
    scores: NDArray[np.int64] = field(default_factory=lambda: _zeros(SHARE_EDGES))
    coverage: NDArray[np.int64] = field(default_factory=lambda: _zeros(SHARE_EDGES))
    score_sum: float = 0.0
    coverage_sum: float = 0.0
    scored: int = 0
    covered: int = 0
    examples: dict[str, list[Example]] = field(default_factory=dict)

    @property
    def instances(self) -> int:
        """Objects with a horizontal box, most often with a mask."""
        return int(self.class_instances.sum())

    @property
    def rotated(self) -> int:
        """Objects with a rotated box."""
        return int(self.class_rotated.sum())

    @property
    def flagged(self) -> int:
        """Instances with one flag or more."""
        return int(self.class_flagged.sum())

    @property
    def scores_vary(self) -> bool:
        """Whether the scores say anything: some segmenters give 1 to every mask."""
        return bool(self.scores[1:-1].any())

    def content(self, names: tuple[str, ...]) -> dict[str, Any]:
        """All counts as JSON holds them; the classes by name."""
        return {
            "images": self.images,
            "empty_images": self.empty_images,
            "splits": dict(self.splits),
            "instances": self.instances,
            "rotated": self.rotated,
            "flagged": self.flagged,
            "classes": {
                name: {
                    "images": int(self.class_images[k]),
                    "instances": int(self.class_instances[k]),
                    "rotated": int(self.class_rotated[k]),
                    "flagged": int(self.class_flagged[k]),
                    "sizes": self.class_sizes[k].tolist(),
                }
                for k, name in enumerate(names)
            },
            "size_edges_px": list(SIZE_EDGES_PX),
            "angle_edges_deg": list(ANGLE_EDGES_DEG),
            "angles": self.angles.tolist(),
            "share_edges": list(SHARE_EDGES),
            "scores": self.scores.tolist(),
            "mean_score": self.score_sum / self.scored if self.scored else None,
            "coverage": self.coverage.tolist(),
            "mean_coverage": self.coverage_sum / self.covered if self.covered else None,
            "flags": {flag: n for flag, n in self.flags.most_common() if flag},
            "prompts": {prompt: n for prompt, n in self.prompts.most_common() if prompt},
        }


def figures_of(store: LabelStore) -> LabelFigures:
    """Count a store in one pass, row by row; the choice of examples depends on the store alone.

    The quality of a mask is score times coverage, or whichever of them is stored.
    """
    kinds = len(store.classes)
    figures = LabelFigures(
        class_rotated=np.zeros(kinds, dtype=np.int64),
        class_instances=np.zeros(kinds, dtype=np.int64),
        class_images=np.zeros(kinds, dtype=np.int64),
        class_flagged=np.zeros(kinds, dtype=np.int64),
        class_sizes=np.zeros((kinds, len(SIZE_EDGES_PX) - 1), dtype=np.int64),
    )
    chosen = {name: _Best() for name in GALLERIES}
    rng = np.random.default_rng(0)
    for number, labels in enumerate(store):
        _count(figures, labels, kinds)
        count = 0 if labels.box_labels is None or labels.boxes is None else len(labels.box_labels)
        chosen["random"].add(number, rng.random(count), np.arange(count))
        quality = _quality(labels)
        if quality is None:
            continue
        replaced = np.zeros(count, dtype=bool)
        if labels.flags is not None:
            replaced[:] = ["box_instead" in flags for flags in labels.flags]
        chosen["best"].add(number, quality, np.flatnonzero(~replaced))
        chosen["worst"].add(number, -quality, np.flatnonzero(~replaced))
        chosen["replaced"].add(number, rng.random(count), np.flatnonzero(replaced))
    figures.examples = {name: best.varied() for name, best in chosen.items()}
    best, worst = figures.examples["best"], figures.examples["worst"]
    if best and best[0].quality == -worst[0].quality:
        best.clear()  # all are equally good: nothing to compare
        worst.clear()
    figures.examples["worst"] = [replace(item, quality=-item.quality) for item in worst]
    return figures


def _zeros(edges: tuple[float, ...]) -> NDArray[np.int64]:
    return np.zeros(len(edges) - 1, dtype=np.int64)


def _count(figures: LabelFigures, labels: ImageLabels, kinds: int) -> None:
    ids = labels.box_labels if labels.box_labels is not None else np.zeros(0, np.int64)
    rotated = labels.rbox_labels if labels.rbox_labels is not None else np.zeros(0, np.int64)
    figures.images += 1
    figures.empty_images += int(len(ids) == 0 and len(rotated) == 0)
    figures.splits[labels.split] += 1
    figures.class_instances += np.bincount(ids, minlength=kinds)
    figures.class_rotated += np.bincount(rotated, minlength=kinds)
    figures.class_images[np.union1d(ids, rotated)] += 1
    figures.masks |= labels.rles is not None
    sides, of = _long_sides(labels), rotated if labels.rboxes is not None else ids
    if len(sides):
        inside = np.clip(sides, SIZE_EDGES_PX[0], SIZE_EDGES_PX[-1] - 1e-3)
        bins = np.searchsorted(SIZE_EDGES_PX, inside, side="right") - 1
        np.add.at(figures.class_sizes, (of, bins), 1)
    if labels.rboxes is not None:
        degrees = np.degrees(labels.rboxes[:, 4].astype(np.float64))
        figures.angles += np.histogram(np.clip(degrees, -90, 90), ANGLE_EDGES_DEG)[0]
    if labels.scores is not None:
        figures.scores += np.histogram(np.clip(labels.scores, 0, 1), SHARE_EDGES)[0]
        figures.score_sum += float(labels.scores.sum())
        figures.scored += len(labels.scores)
    if labels.coverage is not None:
        figures.coverage += np.histogram(np.clip(labels.coverage, 0, 1), SHARE_EDGES)[0]
        figures.coverage_sum += float(labels.coverage.sum())
        figures.covered += len(labels.coverage)
    for label, flags in zip(ids.tolist(), labels.flags or (), strict=False):
        figures.flags.update(flags or ("",))
        figures.class_flagged[label] += bool(flags)
    figures.prompts.update(labels.prompts or ())


def _long_sides(labels: ImageLabels) -> NDArray[np.float32]:
    """The long side of each rotated box, or of each horizontal one where there are none."""
    if labels.rboxes is not None:
        return labels.rboxes[:, 2:4].max(axis=1, initial=0)
    if labels.boxes is not None:
        return (labels.boxes[:, 2:] - labels.boxes[:, :2]).max(axis=1, initial=0)
    return np.zeros(0, np.float32)


def _quality(labels: ImageLabels) -> NDArray[np.float64] | None:
    """Score times coverage, as far as they are stored; None without masks that were checked."""
    if labels.boxes is None or (labels.scores is None and labels.coverage is None):
        return None
    quality = np.ones(len(labels.boxes))
    for share in (labels.scores, labels.coverage):
        if share is not None:
            quality = quality * share
    return quality


class _Best:
    """The candidates of the highest value seen so far, over all rows."""

    def __init__(self) -> None:
        self._kept: list[Example] = []
        self._least = -np.inf

    def add(self, row: int, values: NDArray[np.float64], instances: NDArray[np.int64]) -> None:
        """Offer some instances of a row; ``values`` has one entry for each instance of the row."""
        # At most two of an image are shown in the end, so no image need bring more.
        best = instances[np.argsort(-values[instances], kind="stable")][:2]
        for i in best[values[best] > self._least].tolist():
            self._kept.append(Example(row, i, float(values[i])))
        if len(self._kept) >= 2 * _CANDIDATES:
            self._kept = self._sorted()[:_CANDIDATES]
            self._least = self._kept[-1].quality

    def varied(self) -> list[Example]:
        """The best ones, of each image the first before any second."""
        ordered = self._sorted()
        seen: Counter[int] = Counter()
        turns = []
        for example in ordered:
            turns.append(seen[example.row])
            seen[example.row] += 1
        by_turn = sorted(zip(turns, range(len(ordered)), strict=True))
        return [ordered[i] for _, i in by_turn[:_PER_GALLERY]]

    def _sorted(self) -> list[Example]:
        return sorted(self._kept, key=lambda e: (-e.quality, e.row, e.instance))
