"""The data of a study: a label store per data set, made once, with a fingerprint of its content."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from geomtp.checkpoints import replacing
from geomtp.data.folders import FolderStore
from geomtp.data.image_index import build_index
from geomtp.data.scenes import EMBEDDED, build_chips, build_pairs
from geomtp.data.sources import SOURCES
from geomtp.labels import LabelStore
from geomtp.labels.store.format import INFO_NAME
from geomtp.labels.store.label_store import write_store
from geomtp.study.claims import Claim
from geomtp.study.fingerprints import (
    folder_state,
    images_fingerprint,
    settings_hash,
    store_fingerprint,
)
from geomtp.training.stores import Say

DRAWN: dict[str, Callable[[Path], LabelStore]] = {
    **{name: partial(source.build, None) for name, source in EMBEDDED.items()},
    "embedded_chips": build_chips,
    "embedded_pairs": build_pairs,
}
"""Data sets that are drawn: how to make the store of each."""

_WAIT_S = 1.0


def is_known(name: str) -> bool:
    """Whether a data set of this name is drawn, or has a layout that is known."""
    return name in DRAWN or name in SOURCES


@dataclass(frozen=True)
class DataSet:
    """A data set of a study.

    - name: a folder below the study's data, or a name of ``DRAWN``
    - source: a known data set whose layout the folder has
    - task: for which a folder without a known layout is read
    - reading: how it is read, where that is not as usual
    """

    name: str
    source: str | None = None
    task: str | None = None
    reading: FolderStore | None = None

    @staticmethod
    def named(name: str, source: str | None = None, reading: FolderStore | None = None) -> DataSet:
        """The data set ``name``; how to read it is forgotten where the layout is known."""
        source = source or (name if name in SOURCES else None)
        if reading is None or source or is_known(name):
            return DataSet(name, source)
        usual = FolderStore(reading.task)
        return DataSet(name, None, reading.task, None if reading == usual else reading)


@dataclass(frozen=True)
class StudyData:
    """Where the data of a study lies: as it was brought, and as label stores.

    - brought: folder with a folder per data set, or None
    - stores: folder of the stores
    """

    brought: Path | None
    stores: Path

    def store(self, data: DataSet) -> LabelStore:
        """The store of ``data``, which ``prepare`` made."""
        return LabelStore.open(self.place(data))

    def fingerprint(self, data: DataSet) -> str:
        """Of the content of the store of ``data``, which ``prepare`` made."""
        return str(json.loads(self._note(data).read_text("utf-8"))["fingerprint"])

    def place(self, data: DataSet) -> Path:
        """The folder of the store; one for each way of reading where that decides what is read."""
        if data.task is None:
            return self.stores / data.name
        if self.brought is not None and (self.brought / data.name / INFO_NAME).is_file():
            return self.stores / data.name
        own = "" if data.reading is None else f"-{settings_hash(data.reading)[:8]}"
        return self.stores / f"{data.name}-{data.task}{own}"

    def prepare(self, data: DataSet, say: Say) -> None:
        """Make the store of ``data``, unless it is there and its folder is as it was.

        Several processes may ask for the same one: one makes it, the others wait. Raises
        FileNotFoundError or ValueError in one sentence when it can't be had.
        """
        origin = self._origin(data)
        state = data.name if origin is None else folder_state(origin)
        state = settings_hash([state, data.source])
        place = self.place(data)
        while not self._is_made(data, state):
            claim = Claim.take(place.with_name(f".claims-{place.name}"))
            if claim is None:
                time.sleep(_WAIT_S)
                continue
            with claim.held():
                if not self._is_made(data, state):
                    say(f"{data.name}: {'drawing' if origin is None else 'reading labels'}")
                    self._make(data, origin, state)

    def image_sources(self, names: Iterable[str]) -> list[Path]:
        """Where images without labels lie, by their names in the settings of a stage.

        Data sets that are drawn or known give their training images, all other names are folders
        or lists below the data that was brought.
        """
        found = []
        for name in names:
            if is_known(name):
                found.append(self.stores / name)
            else:
                found.append(Path(name) if self.brought is None else self.brought / name)
        return found

    def unlabelled_fingerprint(self, names: Iterable[str], held_out: Collection[Path]) -> str:
        """Of the images of a masked autoencoding.

        Raises FileNotFoundError or ValueError for folders that do not exist or hold no image, and
        ValueError if one of the images is ``held_out`` (resolved paths).
        """
        with TemporaryDirectory(dir=self.stores, prefix=".index-") as folder:
            index = build_index(self.image_sources(names), Path(folder))
            paths = [index[i] for i in range(len(index))]
        if seen := [path for path in paths if path.resolve() in held_out]:
            raise ValueError(
                f"{seen[0]} is an image that fine-tuning is scored on, and {len(seen)} of the "
                f"images of masked autoencoding are: leave them out of its data"
            )
        roots = index.roots
        return images_fingerprint((_below(path, roots), path) for path in paths)

    def _origin(self, data: DataSet) -> Path | None:
        """The folder that was brought; None for what is drawn."""
        if self.brought is not None and (self.brought / data.name).is_dir():
            return self.brought / data.name
        if data.name in DRAWN:
            return None
        place = "no --data was given" if self.brought is None else f"{self.brought} has none"
        raise FileNotFoundError(
            f"the study needs the folder {data.name!r} below --data: {place}; known without a "
            f"folder: {', '.join(DRAWN)}"
        )

    def _make(self, data: DataSet, origin: Path | None, state: str) -> None:
        out = self.place(data)
        if origin is None:
            store = DRAWN[data.name](out)
        elif (origin / INFO_NAME).is_file():
            given = LabelStore.open(origin)
            store = write_store(out, given, given.info)
        elif data.source in SOURCES:
            store = SOURCES[data.source].build(origin, out)
        elif data.source is not None:
            raise ValueError(f"unknown source {data.source!r}; known: {', '.join(SOURCES)}")
        elif data.task is not None:
            store, _ = (data.reading or FolderStore(data.task)).build(origin, out)
        else:
            raise ValueError(
                f"{origin} holds no label store, and {data.name!r} is none of {', '.join(SOURCES)}"
            )
        note = {"state": state, "fingerprint": store_fingerprint(store)}
        with replacing(self._note(data)) as part:
            part.write_text(json.dumps(note) + "\n", encoding="utf-8")

    def _note(self, data: DataSet) -> Path:
        place = self.place(data)
        return place.with_name(f"{place.name}.json")

    def _is_made(self, data: DataSet, state: str) -> bool:
        if not (self.place(data) / INFO_NAME).is_file() or not self._note(data).is_file():
            return False
        return bool(json.loads(self._note(data).read_text("utf-8"))["state"] == state)


def _below(path: Path, roots: tuple[Path, ...]) -> str:
    """``path`` relative to the root that it lies in."""
    for number, root in enumerate(roots):
        if path.is_relative_to(root):
            return f"{number}/{path.relative_to(root)}"
    return str(path)
