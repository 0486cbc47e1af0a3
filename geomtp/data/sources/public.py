"""What the public data sets of fine-tuning share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.progress import track

from geomtp.data.sources.source import Source
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, StoreWriter
from geomtp.types import IMAGENET_MEAN, IMAGENET_STD

Item = TypeVar("Item")


@dataclass(frozen=True)
class PublicSource(Source):
    """A public data set in its published layout, or in the one that the reference trains on.

    Images that are cut are written beside the store; those that are already there stay, so that
    work which was interrupted goes on where it stopped.

    - progress: show a bar
    """

    progress: bool = False

    mean = IMAGENET_MEAN
    std = IMAGENET_STD

    def tracked(self, items: Sequence[Item]) -> Iterator[Item]:
        """The items one by one, with a bar if that is wanted."""
        return iter(track(items, self.name, disable=not self.progress))

    def write(
        self, rows: Iterable[ImageLabels], image_root: Path, out: Path, notes: ReadNotes
    ) -> tuple[LabelStore, ReadReport]:
        """The store of ``rows`` and the report. Raises ValueError where there is no row."""
        images, empty, kept = 0, 0, Counter[str]()
        with StoreWriter(out, self.info(image_root)) as writer:
            for row in rows:
                writer.add(row)
                images += 1
                ids = row.rbox_labels
                empty += int(ids is not None and len(ids) == 0)
                kept.update(self.classes.names[i] for i in (() if ids is None else ids.tolist()))
                if row.scene_class is not None:
                    kept[self.classes.names[row.scene_class]] += 1
            if not images:
                raise ValueError(f"no image of {self.name!r} could be read: {self.layout_hint()}")
        return LabelStore.open(out), notes.report(images, empty, kept)

    def layout_hint(self) -> str:
        """The layout that the card names, in one line."""
        card = " ".join((type(self).__doc__ or "").split())
        return "expected " + card.partition("- layout: ")[2].partition(" - ")[0]


def class_names(text: str) -> tuple[str, ...]:
    """The names in a text, which spaces separate."""
    return tuple(text.split())


def missing(source: PublicSource, root: Path) -> FileNotFoundError:
    """The error for a folder that holds another layout."""
    found = ", ".join(sorted(path.name for path in root.iterdir())[:6]) or "nothing"
    return FileNotFoundError(
        f"{root} does not hold {source.name!r}: {source.layout_hint()}; found {found}"
    )
