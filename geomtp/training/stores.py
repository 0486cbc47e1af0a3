"""The label stores of a run's sources: opened where they exist, built where only data lies."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from geomtp.data.scenes import EMBEDDED
from geomtp.data.sources import SOURCES
from geomtp.labels.store.format import INFO_NAME
from geomtp.labels.store.label_store import LabelStore

Say = Callable[[str], None]

LONGEST_WAIT_S = 3600.0


def build_stores(
    names: list[str], data: Path | None, out: Path, *, strict: bool, say: Say = print
) -> None:
    """Make the label store of every source that has none yet, below ``out``.

    - a folder ``data/NAME`` that holds a label store is used as it is
    - for a known source (``SOURCES``) the data in ``data/NAME`` is read, by its card's layout
    - an embedded source (``EMBEDDED``) is drawn

    Raises FileNotFoundError or ValueError in one sentence when a source can't be had.
    """
    for name in names:
        if _given(name, data) or (out / name / INFO_NAME).is_file():
            continue
        if name in EMBEDDED:
            say(f"{name}: drawing scenes")
            EMBEDDED[name].build(None, out / name)
            continue
        if name not in SOURCES:
            known = ", ".join([*SOURCES, *EMBEDDED])
            place = "no --data was given" if data is None else f"{data / name} holds no label store"
            raise ValueError(f"unknown source {name!r}: {place}, and it is none of {known}")
        if data is None:
            raise ValueError(f"{name} needs --data: the folder in which {name}/ lies")
        say(f"{name}: reading labels")
        _, report = SOURCES[name].build_with_report(data / name, out / name, strict=strict)
        say(str(report))


def open_stores(names: list[str], data: Path | None, out: Path) -> dict[str, LabelStore]:
    """The stores that ``build_stores`` found or made, by source name."""
    return {name: LabelStore.open(_given(name, data) or out / name) for name in names}


def wait_for_stores(names: list[str], data: Path | None, out: Path) -> None:
    """Return when the first process, perhaps on another machine, has made all stores.

    Raises FileNotFoundError when a store is still missing after an hour.
    """
    end = time.monotonic() + LONGEST_WAIT_S
    for name in names:
        wait_for_store(_given(name, data) or out / name, end)


def wait_for_store(place: Path, end: float) -> None:
    """Return when there is a label store at ``place``.

    Raises FileNotFoundError when there is none at ``end`` (``time.monotonic``).
    """
    wait_for_file(place / INFO_NAME, end, f"the first process did not make the store {place}")


def wait_for_file(path: Path, end: float, missing: str) -> None:
    """Return when ``path`` is there.

    Raises FileNotFoundError, saying ``missing``, when it is not at ``end`` (``time.monotonic``).
    """
    while not path.is_file():
        if time.monotonic() > end:
            raise FileNotFoundError(missing)
        time.sleep(1.0)


def _given(name: str, data: Path | None) -> Path | None:
    """The label store that the user brought, if there is one."""
    if data is not None and (data / name / INFO_NAME).is_file():
        return data / name
    return None
