"""The label store: the labels of a data set in columns, opened by memory map.

A store is a folder with two files: ``store.json`` (source, classes, image root, mean and standard
deviation, metres per pixel, licence, and the name of the other file) and ``labels-….arrow`` (Arrow
IPC, uncompressed, one row per image). ``store.json`` is replaced in one step at the very end of
writing, so there is either the old store, or the new one, or none.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from geomtp.labels.store.format import (
    INFO_NAME,
    SCHEMA,
    StoreInfo,
    check_row,
    info_json,
    pa,
    read_batches,
    read_info,
    read_json,
    row_columns,
    row_labels,
)
from geomtp.labels.store.image_labels import SPLITS, ImageLabels

_ROWS_PER_BATCH = 512


class LabelStore:
    """The rows of a store, all, those of one split, or chosen ones: ``len(store)``, ``store[i]``.

    Attributes: ``info`` and its fields ``source, classes, image_root, mean, std, gsd_m, licence``;
    ``path``; ``split`` (None: all). The labels stay in a memory map that processes share; a pickled
    store is only its path and what was chosen, and opens the map anew where it is unpickled.
    """

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        image_root: str | Path | None = None,
        rows: tuple[int, ...] | None = None,
    ) -> None:
        """Open the store at ``path``; use ``open``, ``subset`` and ``rows``, which are clearer."""
        if split is not None and split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        self.path, self.split, self._moved_root = Path(path), split, image_root
        self.info, labels = read_info(self.path, image_root)
        self.source, self.classes = self.info.source, self.info.classes
        self.image_root, self.gsd_m = self.info.image_root, self.info.gsd_m
        self.mean, self.std, self.licence = self.info.mean, self.info.std, self.info.licence
        self._batches = read_batches(labels)
        self._starts = np.cumsum([0] + [batch.num_rows for batch in self._batches])
        self._rows = np.arange(self._starts[-1])
        if split is not None:
            codes = [batch.column("split").to_numpy() for batch in self._batches]
            wanted = SPLITS.index(split)
            self._rows = np.flatnonzero(np.concatenate([np.empty(0, np.int8), *codes]) == wanted)
        self._chosen = rows
        if rows is not None:
            self._rows = self._rows[list(rows)]

    @classmethod
    def open(cls, path: str | Path, image_root: str | Path | None = None) -> Self:
        """Open the store in folder ``path``; ``image_root`` overrides where its images lie.

        Raises FileNotFoundError where there is none, OSError for a damaged one, ValueError for one
        of another format version.
        """
        return cls(path, image_root=image_root)

    def subset(self, split: str) -> LabelStore:
        """The rows of one split ("train", "val" or "test"), none if it has none.

        Raises ValueError for an unknown split, or when this already is another split's part.
        """
        if self.split is not None and split != self.split:
            raise ValueError(f"this is the {self.split!r} part of {self.path}: it has no {split!r}")
        if self._chosen is not None:
            raise ValueError("take the split of a store first, then rows of it")
        return LabelStore(self.path, split, self._moved_root)

    def rows(self, indices: Sequence[int]) -> LabelStore:
        """The rows ``indices`` of these, in that order. Raises IndexError beyond the end."""
        chosen = indices if self._chosen is None else [self._chosen[i] for i in indices]
        return LabelStore(self.path, self.split, self._moved_root, tuple(chosen))

    def __reduce__(self) -> tuple[type[LabelStore], tuple[Any, ...]]:
        return (LabelStore, (self.path, self.split, self._moved_root, self._chosen))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[ImageLabels]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> ImageLabels:
        row = int(self._rows[index])  # raises IndexError beyond the end, which ends iteration
        batch_index = int(np.searchsorted(self._starts, row, side="right")) - 1
        return row_labels(self._batches[batch_index], row - int(self._starts[batch_index]))

    def __repr__(self) -> str:
        part = f", {self.split}" if self.split else ""
        return f"LabelStore({self.source}{part}: {len(self)} images, {len(self.classes)} classes)"


class StoreWriter:
    """Writes a store row by row: ``with StoreWriter(path, info) as writer: writer.add(labels)``.

    The store appears when the block ends without an exception. Otherwise what was at ``path``
    before, a store or nothing, stays as it was. Other files in the folder are never touched.
    """

    def __init__(self, path: str | Path, info: StoreInfo) -> None:
        self._path, self._info = Path(path), info
        self._labels_name = f"labels-{secrets.token_hex(4)}.arrow"
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        self._partial = self._path / f".{self._labels_name}.partial"
        self._sink = pa.OSFile(str(self._partial), "wb")
        self._file = pa.ipc.new_file(self._sink, SCHEMA)
        return self

    def add(self, labels: ImageLabels) -> None:
        """Append one row. Raises ValueError for labels that do not fit the store's classes."""
        check_row(labels, len(self._info.classes))
        self._rows.append(row_columns(labels))
        if len(self._rows) == _ROWS_PER_BATCH:
            self._flush()

    def add_batch(self, batch: Any) -> None:
        """Append the rows of an Arrow record batch with a store's columns, unchecked."""
        self._flush()
        if batch.num_rows:
            self._file.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=SCHEMA))

    def _flush(self) -> None:
        if self._rows:
            self._file.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=SCHEMA))
            self._rows = []

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._flush()
            self._file.close()
            self._sink.close()
            if kind is None:
                self._commit()
        finally:
            self._partial.unlink(missing_ok=True)
            if not any(self._path.iterdir()):
                self._path.rmdir()

    def _commit(self) -> None:
        try:
            previous = read_json(self._path / INFO_NAME).get("labels")
        except (OSError, ValueError):
            previous = None
        os.replace(self._partial, self._path / self._labels_name)
        partial = self._path / f".store-{secrets.token_hex(4)}.partial"
        try:
            partial.write_text(info_json(self._path, self._info, self._labels_name), "utf-8")
            os.replace(partial, self._path / INFO_NAME)
        except BaseException:
            partial.unlink(missing_ok=True)
            (self._path / self._labels_name).unlink(missing_ok=True)
            raise
        if isinstance(previous, str) and previous == Path(previous).name:
            (self._path / previous).unlink(missing_ok=True)


def write_store(path: str | Path, rows: Iterable[ImageLabels], info: StoreInfo) -> LabelStore:
    """Write ``rows`` as the store at ``path`` and open it; whole or not at all.

    Raises ValueError for rows that do not fit the classes, OSError when the folder is not writable.
    """
    with StoreWriter(path, info) as writer:
        for labels in rows:
            writer.add(labels)
    return LabelStore.open(path)
