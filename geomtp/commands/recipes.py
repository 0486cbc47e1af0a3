"""``geomtp recipes``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def recipes(words: Sequence[str]) -> int:
    """What can be run, and with which settings."""
    parser = argparse.ArgumentParser(
        prog="geomtp recipes",
        description=recipes.__doc__,
        epilog="example: geomtp recipes real_small",
    )
    parser.add_argument("name", nargs="?", help="show this recipe")
    chosen = parser.parse_args(words)
    from geomtp.recipes.filling import recipe_names, recipe_text, recipe_title

    if chosen.name:
        print(recipe_text(chosen.name), end="")
    else:
        for name in recipe_names():
            print(f"{name:<12} {recipe_title(name)}")
    return 0
