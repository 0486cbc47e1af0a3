"""The folder whose images may be picked: nothing outside it is ever opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from geomtp.labels.readers.image_files import IMAGE_SUFFIXES
from geomtp.serving.refusals import Refused

MOST_LISTED = 2000


@dataclass(frozen=True)
class ImageFolder:
    """The images below ``root``, by paths relative to it with forward slashes."""

    root: Path

    def listing(self) -> list[str]:
        """The paths of at most ``MOST_LISTED`` images, sorted within each folder."""
        found: list[str] = []
        for name in self._names():
            found.append(name)
            if len(found) == MOST_LISTED:
                break
        return found

    def _names(self) -> Iterator[str]:
        for folder, folders, files in os.walk(self.root):  # does not follow links
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(folder) / file
                if path.suffix.lower() in IMAGE_SUFFIXES and self._inside(path):
                    yield path.relative_to(self.root).as_posix()

    def path_of(self, name: str) -> Path:
        """The real path of an image. Raises ``Refused`` for what lies outside, or is none."""
        path = self.root / name if name and "\0" not in name else None
        if path is None or path.suffix.lower() not in IMAGE_SUFFIXES or not self._inside(path):
            raise Refused(404, f"there is no image {name[:200]!r} in the folder of this server")
        return path.resolve()

    def _inside(self, path: Path) -> bool:
        """Whether ``path``, all links followed, is a file below the folder."""
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # gone, a circle of links, a name too long
            return False
        return real.is_file() and real.is_relative_to(self.root.resolve())
