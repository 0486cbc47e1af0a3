"""Finding the image of an annotation, and telling its size."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from geomtp.labels.annotations import relative_path
from geomtp.labels.read_notes import DAMAGED, ReadNotes
from geomtp.rasters import read_size
from geomtp.types import SizeHW

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".jp2")


@dataclass(frozen=True)
class ImageFolder:
    """The images below ``root``; what is missing or damaged is noted in ``notes``.

    Raises FileNotFoundError when ``root`` is no folder.
    """

    root: Path
    notes: ReadNotes
    _by_stem: dict[str, list[str]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root} is no folder: expected the folder of the images")

    def names(self) -> list[str]:
        """The paths of all images, relative to ``root``, sorted."""
        files = (path for path in self.root.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        return sorted(path.relative_to(self.root).as_posix() for path in files)

    def annotated(
        self, annotations: Path, suffix: str, passed_over: Collection[str] = ()
    ) -> Iterator[tuple[Path, str, SizeHW]]:
        """Each annotation file below a folder with its image and the image's size, sorted by path.

        Files of the names ``passed_over`` are no annotations. Files without an image and images
        without a file are noted. Raises FileNotFoundError when the folder is missing or holds no
        such file.
        """
        if not annotations.is_dir():
            raise FileNotFoundError(f"{annotations} is no folder: expected one of {suffix} files")
        found = annotations.rglob(f"*{suffix}")
        paths = sorted(path for path in found if path.name not in passed_over)
        if not paths:
            raise FileNotFoundError(f"{annotations} holds no {suffix} file: is the format right?")
        seen = set()
        for path in paths:
            image = self.of_annotation(path.relative_to(annotations).with_suffix("").as_posix())
            size_hw = None if image is None else self.size_hw(image)
            if image is not None and size_hw is not None:
                seen.add(image)
                yield path, image, size_hw
        for name in sorted({name for names in self._by_stem.values() for name in names} - seen):
            self.notes.left_out("no annotation", name, f"no {suffix} file of that name")

    def of_annotation(self, stem: str) -> str | None:
        """The image with the relative path ``stem`` but for the suffix; None (noted) if missing.

        Raises ValueError when several images differ only in their suffix.
        """
        if not self._by_stem:
            for name in self.names():
                self._by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
        found = self._by_stem.get(stem, [])
        if len(found) > 1:
            raise ValueError(
                f"{self.root} holds several images for {stem}: {', '.join(found)}; keep one of them"
            )
        if not found:
            self.notes.left_out("no image", stem, f"no image of that name in {self.root}")
            return None
        return found[0]

    def size_hw(self, name: str) -> SizeHW | None:
        """Height and width of an image; None (noted) where it is missing or damaged."""
        try:
            return read_size(self.root / relative_path(name))
        except FileNotFoundError as error:
            self.notes.left_out("no image", name, str(error))
        except OSError as error:
            self.notes.left_out(DAMAGED, name, str(error))
        except ValueError as error:
            self.notes.malformed(name, str(error))
        return None
