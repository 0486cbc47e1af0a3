"""Fingerprints of data and weights: the same for the same content, wherever it lies."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.labels import ImageLabels, LabelStore
from geomtp.training.run_folder import plain

_ENDS_BYTES = 64 * 1024


def settings_hash(values: Any) -> str:
    """A hash of dataclasses, mappings, lists, paths and numbers, whatever the order of fields."""
    text = json.dumps(plain(values), sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def images_fingerprint(images: Iterable[tuple[str, Path]]) -> str:
    """Of images by name: the size, the first and the last 64 KiB of each file.

    Raises OSError for one that cannot be read.
    """
    digest = hashlib.sha256()
    for name, path in images:
        _add_file(digest, name, path)
    return digest.hexdigest()


def store_fingerprint(store: LabelStore) -> str:
    """Of all labels of a store, what it says of its images, and the images themselves.

    Of those, what ``images_fingerprint`` looks at. Raises OSError for an image that cannot be read.
    """
    info = dataclasses.replace(store.info, image_root=Path())
    digest = hashlib.sha256(settings_hash(info).encode())
    for row in store:
        _add_row(digest, row)
        for name in (row.image, row.image_after, row.semantic, row.change):
            if name is not None:
                _add_file(digest, name, store.image_root / name)
    return digest.hexdigest()


def folder_state(folder: Path) -> str:
    """Of names, sizes and times of all files below ``folder``: quick, to see what changed."""
    entries = []
    for place, _, names in os.walk(folder, followlinks=True):
        for name in names:
            path = Path(place, name)
            status = path.stat()
            entries.append((str(path.relative_to(folder)), status.st_size, status.st_mtime_ns))
    return settings_hash([str(folder.absolute()), sorted(entries)])


def _add_row(digest: Any, row: ImageLabels) -> None:
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if isinstance(value, np.ndarray):
            digest.update(f"{field.name} {value.dtype} {value.shape}".encode())
            digest.update(np.ascontiguousarray(value).tobytes())
        else:
            digest.update(f"{field.name} {value!r}".encode())


def _add_file(digest: Any, name: str, path: Path) -> None:
    size = path.stat().st_size
    digest.update(f"{name} {size} ".encode())
    with path.open("rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        if size > _ENDS_BYTES:
            file.seek(max(_ENDS_BYTES, size - _ENDS_BYTES))
            digest.update(file.read())
