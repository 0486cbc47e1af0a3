"""Holding out a share of places for validation, the same ones every time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def held_out(places: Iterable[str], share: float) -> frozenset[str]:
    """The ``share`` (0…1) of the distinct ``places`` whose names hash lowest, at least one.

    Whole places are held out, so that no validation image overlaps or neighbours training images of
    the same place. The choice depends on the set of names only.
    """
    distinct = sorted(set(places), key=lambda place: hashlib.sha256(place.encode()).hexdigest())
    return frozenset(distinct[: max(1, round(share * len(distinct)))])
