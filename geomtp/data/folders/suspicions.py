"""Labels that may be mistakes: kept, but pointed out before the training begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.annotations import AnnotatedObject, Annotations

BEYOND_PX = 1.0
"""How far a corner may lie outside of its image without a word."""

SMALL_PX = 2.0

_SHOWN = 3


def suspicions(items: Sequence[Annotations], task: str) -> list[str]:
    """A sentence for each kind of label that looks like a mistake, with a count and examples.

    Objects that reach over the border of their image, that are hardly a pixel wide, or that are
    there twice; upright boxes where ``task`` is to learn rotated ones, and boxes without outlines
    where it is to learn masks.
    """
    beyond: list[str] = []
    small: list[str] = []
    twice: list[str] = []
    boxed = [
        f"{item.image}, {found.where}"
        for item in items
        for found in item.objects
        if task == "instance" and found.is_box and not found.ignore
    ]
    slanted = 0
    for item in items:
        width_height = np.array(item.size_hw[::-1])
        seen: set[tuple[str, bytes]] = set()
        for found, points in _outlined(item):
            where = f"{item.image}, {found.where}"
            slanted += _is_slanted(found)
            if (points < -BEYOND_PX).any() or (points > width_height + BEYOND_PX).any():
                beyond.append(where)
            if np.ptp(points, axis=0).min() < SMALL_PX:
                small.append(where)
            key = (found.name, points.round(1).tobytes())
            if key in seen:
                twice.append(where)
            seen.add(key)
    sentences = [
        _sentence(beyond, "reach over the border of their image"),
        _sentence(small, f"are narrower than {SMALL_PX:g} px"),
        _sentence(twice, "are there twice"),
        _sentence(boxed, "have no outline: their boxes, filled, are taken as masks"),
    ]
    if task == "rotated" and not slanted:
        sentences.append("all boxes are upright: a rotated detector will learn no angles from them")
    return [sentence for sentence in sentences if sentence]


def _outlined(item: Annotations) -> Iterator[tuple[AnnotatedObject, NDArray[np.float64]]]:
    """The objects whose corners (V, 2) are known."""
    for found in item.objects:
        if found.ignore:
            continue
        if found.polygons is not None:
            yield found, np.concatenate([rings[0] for rings in found.polygons])
        elif found.box_xyxy is not None:
            yield found, np.array(found.box_xyxy).reshape(2, 2)


def _is_slanted(found: AnnotatedObject) -> bool:
    """Whether an outline is anything but an upright rectangle."""
    if found.polygons is None:
        return False
    points = np.concatenate([rings[0] for rings in found.polygons]).round(2)
    return any(len(set(points[:, axis].tolist())) > 2 for axis in (0, 1))


def _sentence(places: Sequence[str], what: str) -> str:
    if not places:
        return ""
    more = ", …" if len(places) > _SHOWN else ""
    return f"look again: {len(places)} objects {what} ({'; '.join(places[:_SHOWN])}{more})"
