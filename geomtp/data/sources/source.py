"""What a source is: a data set with its card, that can be turned into a label store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap


class Source(ABC):
    """A data set. Each final class describes one; its docstring is the data card.

    - name: how recipes and stores call it
    - classes: names in order, with colours
    - mean, std: per channel (red, green, blue), in units of 0…255
    - gsd_m: metres per pixel, None where unknown or mixed
    - licence: of images and labels
    """

    name: str
    classes: ClassMap
    mean: tuple[float, ...]
    std: tuple[float, ...]
    licence: str
    gsd_m: float | None = None

    def build(self, root: Path, out: Path, *, strict: bool = False) -> LabelStore:
        """Write the label store of the data below ``root`` (this source's own folder) into ``out``.

        Raises FileNotFoundError or ValueError when the layout under ``root`` is not the one on the
        card; with ``strict`` also for the first malformed annotation.
        """
        return self.build_with_report(root, out, strict=strict)[0]

    def build_with_report(
        self, root: Path, out: Path, *, strict: bool = False
    ) -> tuple[LabelStore, ReadReport]:
        """As ``build``, with the report of what was kept and left out."""
        root = Path(root)
        if not root.is_dir():
            raise FileNotFoundError(f"{root} is no folder: expected the data of {self.name!r}")
        return self._build(root, Path(out), ReadNotes(strict))

    @abstractmethod
    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        """Read the annotations below ``root`` and write the store."""

    def info(self, image_root: Path) -> StoreInfo:
        """What the store says of all its images."""
        return StoreInfo(
            source=self.name,
            classes=self.classes,
            image_root=image_root,
            mean=self.mean,
            std=self.std,
            gsd_m=self.gsd_m,
            licence=self.licence,
        )
