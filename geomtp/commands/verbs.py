"""Verbs of a verb: `geomtp pretrain mae`, `geomtp study stages`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence

Verb = Callable[[Sequence[str]], int]
"""Called with the words that follow; gives the exit status."""


def call_verb(
    words: Sequence[str], program: str, verbs: Mapping[str, Verb], about: str | None, example: str
) -> int:
    """Call the verb that ``words`` begin with; else leave with the help or an error."""
    if words and words[0] in verbs:
        return verbs[words[0]](words[1:])
    parser = argparse.ArgumentParser(prog=program, description=about, epilog=example)
    parser.add_argument("verb", choices=verbs)
    parser.parse_args(list(words))  # leaves, with the help or with what is wrong
    return 2
