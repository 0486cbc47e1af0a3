"""The class names that the evaluation servers know, letter by letter."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

DOTA_V1 = (
    "plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle", "large-vehicle",
    "ship", "tennis-court", "basketball-court", "storage-tank", "soccer-ball-field", "roundabout",
    "harbor", "swimming-pool", "helicopter",
)  # fmt: skip
DOTA_V1_5 = (*DOTA_V1, "container-crane")
DOTA_V2 = (*DOTA_V1_5, "airport", "helipad")
DOTA_VERSIONS = {"1.0": DOTA_V1, "1.5": DOTA_V1_5, "2.0": DOTA_V2}

FAIR1M = (
    "Boeing737", "Boeing747", "Boeing777", "Boeing787", "C919", "A220", "A321", "A330", "A350",
    "ARJ21", "other-airplane", "Passenger Ship", "Motorboat", "Fishing Boat", "Tugboat",
    "Engineering Ship", "Liquid Cargo Ship", "Dry Cargo Ship", "Warship", "other-ship", "Small Car",
    "Bus", "Cargo Truck", "Dump Truck", "Van", "Trailer", "Tractor", "Excavator", "Truck Tractor",
    "other-vehicle", "Basketball Court", "Tennis Court", "Football Field", "Baseball Field",
    "Intersection", "Roundabout", "Bridge",
)  # fmt: skip

LOVEDA = ("background", "building", "road", "water", "barren", "forest", "agricultural")
"""In the order of the values 0…6 of a submitted picture."""


def dota_version(names: Iterable[str]) -> str:
    """The oldest version of DOTA that has all of these classes, in whatever spelling.

    Raises ValueError for a class that no version has.
    """
    official = official_names(names, DOTA_V2, "DOTA")
    return next(v for v, known in DOTA_VERSIONS.items() if set(official) <= set(known))


def official_names(names: Iterable[str], known: Sequence[str], what: str) -> tuple[str, ...]:
    """Each name in the server's spelling; case, spaces, hyphens and underscores do not matter.

    Raises ValueError for a name that the server does not know, with the nearest one.
    """
    by_letters = {_letters(name): name for name in known}
    found = []
    for name in names:
        official = by_letters.get(_letters(name))
        if official is None:
            raise ValueError(f"{what} has no class {name!r}; {nearest(name, known)}")
        found.append(official)
    return tuple(found)


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint: the known name that comes nearest, or all known ones."""
    by_letters = {_letters(item): item for item in known}
    near = difflib.get_close_matches(_letters(name), by_letters, n=1)
    return f"did you mean {by_letters[near[0]]!r}?" if near else f"known: {', '.join(known)}"


def _letters(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
