"""Shards: the labels of a few images in one file, which is there whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.checkpoints import replacing
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.store.format import SCHEMA, check_row, pa, row_columns
from geomtp.labels.store.image_labels import ImageLabels

_ABOUT = b"geomtp shard"


@dataclass(frozen=True)
class Shard:
    """What a shard file holds.

    - batches: Arrow record batches with the columns of a store, memory-mapped
    - notes: what ``ReadNotes.content`` gave: objects left out
    - bad: (image, reason) of each image that could not be read
    """

    batches: list[Any]
    notes: dict[str, Any]
    bad: tuple[tuple[str, str], ...]


def write_shard(
    path: Path,
    rows: Sequence[ImageLabels],
    class_count: int,
    notes: ReadNotes,
    bad: Sequence[tuple[str, str]],
) -> None:
    """Write a shard; it appears under its name in one step, when it is whole.

    Raises ValueError for rows that do not fit the classes, OSError when it cannot be written.
    """
    for row in rows:
        check_row(row, class_count)
    about = json.dumps({"notes": notes.content(), "bad": [list(entry) for entry in bad]})
    schema = SCHEMA.with_metadata({_ABOUT: about.encode()})
    batch = pa.RecordBatch.from_pylist([row_columns(row) for row in rows], schema=schema)
    with (
        replacing(path) as part,
        pa.OSFile(str(part), "wb") as sink,
        pa.ipc.new_file(sink, schema) as file,
    ):
        file.write_batch(batch)


def read_shard(path: Path) -> Shard | None:
    """The shard in ``path``; None when there is none, or only a damaged one."""
    try:
        reader = pa.ipc.open_file(pa.memory_map(str(path)))
        if not reader.schema.equals(SCHEMA):
            return None
        about = json.loads(reader.schema.metadata[_ABOUT])
        bad = tuple((image, reason) for image, reason in about["bad"])
        batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        return Shard(batches, about["notes"], bad)
    except (OSError, ValueError, TypeError, KeyError, pa.ArrowException):
        return None
