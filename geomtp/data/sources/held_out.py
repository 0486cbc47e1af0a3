"""Holding out a share of places for validation, the same ones every time."""

from __future__ import annotations

from collections.abc import Iterable

from geomtp.labels.hash_order import hash_order


def held_out(places: Iterable[str], share: float) -> frozenset[str]:
    """The ``share`` (0…1) of the distinct ``places`` whose names hash lowest, at least one.

    Whole places are held out, so that no validation image overlaps or neighbours training images of
    the same place. The choice depends on the set of names only.
    """
    distinct = hash_order(places)
    return frozenset(distinct[: max(1, round(share * len(distinct)))])
