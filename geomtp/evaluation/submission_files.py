"""What the checkers of submissions share: reading a zip or folder, and collecting complaints."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.types import SizeHW

_LARGEST_BYTES = 2**30  # of one file, unpacked: more is no submission


@dataclass(frozen=True)
class SubmissionFiles:
    """The files of a zip or of a folder by their paths in it; read one by one, never unpacked."""

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists():
            raise FileNotFoundError(f"no submission at {self.path}: the file does not exist")
        if not self.is_folder and not zipfile.is_zipfile(self.path):
            raise ValueError(f"{self.path} is neither a zip nor a folder")

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def names(self) -> list[str]:
        """The paths of all files, sorted, with forward slashes."""
        if self.is_folder:
            files = (path for path in self.path.rglob("*") if path.is_file())
            return sorted(path.relative_to(self.path).as_posix() for path in files)
        with self._opened() as archive:
            return sorted(info.filename for info in archive.infolist() if not info.is_dir())

    @contextmanager
    def _opened(self) -> Iterator[zipfile.ZipFile]:
        """The zip. Raises ValueError where it cannot be read: damaged, or with a password."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise ValueError(f"{self.path} cannot be read as a zip: {error}") from error

    def data(self, name: str) -> bytes:
        """The bytes of a file. Raises ValueError where they are damaged or far too many."""
        if self.is_folder:
            return (self.path / name).read_bytes()
        with self._opened() as archive:
            if archive.getinfo(name).file_size > _LARGEST_BYTES:
                raise ValueError(f"{name} in {self.path} unpacks to more than 1 GB")
            return archive.read(name)

    def text(self, name: str) -> str:
        """A file as text; what is no UTF-8 shows as U+FFFD."""
        return self.data(name).decode("utf-8-sig", errors="replace")


@dataclass(frozen=True)
class Expected:
    """The images that a submission is about: their sizes by name without folder and suffix."""

    folder: Path
    sizes_hw: dict[str, SizeHW]

    @staticmethod
    def of_folder(folder: Path) -> Expected:
        """The images below ``folder``. Raises FileNotFoundError where there is none."""
        images = ImageFolder(folder, ReadNotes())
        sizes = {PurePosixPath(name).stem: images.size_hw(name) for name in images.names()}
        known = {name: size_hw for name, size_hw in sizes.items() if size_hw is not None}
        if not known:
            raise FileNotFoundError(f"{folder} holds no image that can be read")
        return Expected(folder, known)


@dataclass
class Complaints:
    """What is wrong, kind by kind: the first of each kind and how many there are."""

    _first: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)

    def note(self, kind: str, where: str, sentence: str) -> None:
        """Take in one: ``where`` it is and what is wrong."""
        self._first.setdefault(kind, f"{where}: {sentence}")
        self._counts[kind] = self._counts.get(kind, 0) + 1

    @property
    def sentences(self) -> list[str]:
        """One per kind."""
        return [
            first + (f" (and {self._counts[kind] - 1} more like it)" * (self._counts[kind] > 1))
            for kind, first in self._first.items()
        ]


def number_of(text: str) -> float | None:
    """The number that a text says; None where it says none, or none that is finite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
