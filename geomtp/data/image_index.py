"""An index of image files on disk: millions of paths, of which only what is asked for is in memory.

A folder with three files: ``paths.bin`` (UTF-8, one path after the other), ``ends.bin`` (little
endian uint64, where each path ends) and ``index.json`` (root folders, count), which is written
last. A path begins with the number of its root folder, so that data may be moved.
"""

from __future__ import annotations

import codecs
import heapq
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from geomtp.checkpoints import replacing, write_json
from geomtp.labels import LabelStore
from geomtp.labels.readers.image_files import IMAGE_SUFFIXES
from geomtp.labels.store.format import INFO_NAME

INDEX_NAME = "index.json"
LIST_SUFFIXES = (".txt", ".lst", ".list")
_FORMAT = "geomtp image index"
_SORTED_AT_ONCE = 200_000


class ImageIndex:
    """The images of an index: ``len(index)``, ``index[i]`` (a path).

    Paths stay in a memory map that processes share; pickled, an index is its folder and roots.
    ``roots``: where the data lies now, in the order in which it was indexed; None: where it was.

    Raises FileNotFoundError where there is none, OSError for a damaged one, ValueError for roots
    that are not as many as were indexed.
    """

    def __init__(self, folder: str | Path, roots: Sequence[Path] | None = None) -> None:
        self.folder = Path(folder)
        file = self.folder / INDEX_NAME
        if not file.is_file():
            raise FileNotFoundError(f"{self.folder} holds no image index ({INDEX_NAME})")
        try:
            info = json.loads(file.read_text("utf-8"))
            if info["format"] != _FORMAT:
                raise ValueError(f"expected the format {_FORMAT!r}, found {info['format']!r}")
            self.roots = tuple(Path(root) for root in (roots or info["roots"]))
            known, count = len(info["roots"]), int(info["images"])
            self._ends = np.memmap(self.folder / "ends.bin", np.dtype("<u8"), "r", shape=(count,))
            self._paths = np.memmap(self.folder / "paths.bin", np.uint8, "r")
            if len(self._paths) != self._ends[-1]:
                raise ValueError("its files do not belong together")
        except (KeyError, ValueError) as error:
            raise OSError(f"{file} is damaged: {error}; make the index anew") from error
        if len(self.roots) != known:
            raise ValueError(
                f"the index {self.folder} was made of {known} folders or lists, "
                f"found {len(self.roots)}: name as many, in the same order"
            )

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> Path:
        if not 0 <= number < len(self):
            raise IndexError(f"image {number} of {len(self)}")
        start = int(self._ends[number - 1]) if number else 0
        root, _, path = self._paths[start : int(self._ends[number])].tobytes().partition(b"/")
        return self.roots[int(root)] / os.fsdecode(path)

    def __reduce__(self) -> tuple[type[ImageIndex], tuple[Any, ...]]:
        return (ImageIndex, (self.folder, self.roots))

    def spread(self, count: int) -> list[int]:
        """``count`` image numbers spread evenly, or all there are."""
        count = min(count, len(self))
        return [(2 * i + 1) * len(self) // (2 * count) for i in range(count)]


def build_index(sources: Sequence[Path], folder: Path) -> ImageIndex:
    """Index the images of ``sources`` in ``folder``, sorted by source and path.

    A source is a folder (all images below it, of the suffixes that are read), a label store (its
    training images), or a text file with one path per line, relative to the file's folder or
    absolute. The list of paths is sorted in pieces on disk and is never in memory as a whole.

    Raises FileNotFoundError for a source that does not exist, ValueError for one without images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    roots = [_root_of(source) for source in sources]
    sizes = [0] * len(sources)
    with replacing(folder / "paths.bin") as paths_part, replacing(folder / "ends.bin") as ends_part:
        with paths_part.open("wb") as paths, ends_part.open("wb") as ends:
            end = 0
            for number, source in enumerate(sources):
                for path in _sorted_on_disk(_paths_of(source, roots[number]), folder):
                    line = b"%d/%s" % (number, path)
                    end += len(line)
                    paths.write(line)
                    ends.write(end.to_bytes(8, "little"))
                    sizes[number] += 1
        for source, size in zip(sources, sizes, strict=True):
            if size == 0:
                raise ValueError(
                    f"{source} holds no images: expected files ending in "
                    f"{', '.join(IMAGE_SUFFIXES)}, in it or in folders below it"
                )
    info = {"format": _FORMAT, "roots": [str(root) for root in roots], "images": sum(sizes)}
    write_json(folder / INDEX_NAME, info)
    return ImageIndex(folder)


def roots_of(sources: Sequence[Path]) -> list[Path]:
    """The folder to which each source's paths are relative. Raises as ``build_index``."""
    return [_root_of(source) for source in sources]


def _root_of(source: Path) -> Path:
    if not source.exists():
        raise FileNotFoundError(
            f"{source} does not exist: expected a folder of images, a label store or a list of "
            f"image files ({', '.join(LIST_SUFFIXES)})"
        )
    if source.is_file():
        if source.suffix.lower() not in LIST_SUFFIXES:
            raise ValueError(
                f"{source} is neither a folder nor a list of images: lists are text files ending "
                f"in {', '.join(LIST_SUFFIXES)}"
            )
        return source.absolute().parent
    if (source / INFO_NAME).is_file():
        return LabelStore.open(source).image_root.absolute()
    return source.absolute()


def _paths_of(source: Path, root: Path) -> Iterator[bytes]:
    """The paths of a source's images relative to ``root``, in any order."""
    if source.is_file():
        with source.open("rb") as lines:
            stripped = (line.removeprefix(codecs.BOM_UTF8).strip() for line in lines)
            yield from (line for line in stripped if line and not line.startswith(b"#"))
    elif (source / INFO_NAME).is_file():
        store = LabelStore.open(source).subset("train")
        yield from (os.fsencode(labels.image) for labels in store)
    else:
        start = len(os.fsencode(root)) + 1
        yield from (os.fsencode(path)[start:] for path in _images_below(str(root)))


def _images_below(folder: str, above: frozenset[tuple[int, int]] = frozenset()) -> Iterator[str]:
    """All images below ``folder``; links are followed, but not in circles; hidden names are not."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                folders.append(entry.path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES):
                yield entry.path
    for inner in folders:
        yield from _images_below(inner, above | {here})


def _sorted_on_disk(lines: Iterable[bytes], folder: Path) -> Iterator[bytes]:
    """The distinct ``lines`` in order: pieces are sorted in memory, kept in files and merged."""
    with ExitStack() as files:
        pieces: list[IO[bytes]] = []
        batch: list[bytes] = []
        for line in lines:
            if b"\n" in line:
                raise ValueError(f"{os.fsdecode(line)!r} has a line break in its name: rename it")
            batch.append(line)
            if len(batch) == _SORTED_AT_ONCE:
                piece = files.enter_context(tempfile.TemporaryFile(dir=folder))
                piece.writelines(line + b"\n" for line in sorted(batch))
                piece.seek(0)
                pieces.append(piece)
                batch = []
        runs = [(line[:-1] for line in piece) for piece in pieces]
        previous = None
        for line in heapq.merge(*runs, sorted(batch)):
            if line != previous:
                yield line
            previous = line
