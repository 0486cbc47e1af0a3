"""An order of names that looks random and is the same on every machine."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable


def hash_order(names: Iterable[str]) -> list[str]:
    """The distinct ``names``, those first whose SHA-256 is lowest.

    Depends on the set of names only: to sample or to hold out the first few of them.
    """
    return sorted(set(names), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
