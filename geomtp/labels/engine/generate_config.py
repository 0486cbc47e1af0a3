"""What a run of the label engine needs, as a typed dataclass; nothing heavy is imported here."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

PromptName = Literal["h", "r", "rh"]
SplitRule = Literal["hash", "folders", "train", "val", "test"]

_MAY_CHANGE = ("out", "processes", "skip_bad", "device", "boxes_per_batch", "report")
"""Settings that change no label: a run may be resumed with others."""


@dataclass(frozen=True)
class GenerateLabels:
    """Labels of all three tasks from annotated images.

    Args:
        images: folder of the images.
        annotations: file or folder of the annotations.
        form: their format, one of ``READERS``.
        out: folder of the store that is written.
        segmenter: what makes masks of the annotations, one of ``SEGMENTER_NAMES``.
        weights: folder with the weights of "sam", which needs them.
        prompt: how objects are shown to the segmenter: the horizontal box ("h"), the rotated box
            as a mask ("r"), the horizontal box around the rotated one ("rh").
        zoom_below_px: sam looks at objects with a shorter long side in an enlarged crop; 0: none.
        online: ``weights`` may also be a name on the Hugging Face hub.
        source: name of the data set; by default that of the folder ``out``.
        classes: class names in order; by default those that occur, in alphabetical order.
        class_map: file that renames or leaves out classes.
        skip_unknown: leave out objects of other classes, instead of stopping.
        channels: how many bands of the images training reads.
        mean: per channel, in units of the image's values; measured on 100 images by default.
        std: as ``mean``.
        gsd_m: metres per pixel, None where unknown or mixed.
        licence: of images and labels.
        split: which split an image belongs to: a share of the images by the hash of their names,
            the folder named train, val (valid) or test that it lies in, or all the same.
        val_share: how much goes to "val" by hash; tiles of one image (NAME__…) stay together.
        tile_px: cut the images into tiles of this size while labelling, into out/tiles.
        tile_gap_px: how much neighbouring tiles share.
        tile_rates: factors for which tiles are cut: 0.5 gives tiles of twice the size.
        minimum_kept: a tile holds an object when this fraction of its area lies in it.
        check: compare masks with their rotated boxes, mend and flag them. The masks of the
            segmenters "box" and "polygon" are always taken as they are.
        keep_raw: store the masks as the segmenter gave them too.
        processes: processes on this machine; None: those that the launcher started, or one.
        device: what the segmenter computes on.
        boxes_per_batch: objects that sam decodes at once.
        images_per_shard: how much is lost when a run is killed.
        skip_bad: images that cannot be read do not make the run fail.
        strict: stop at the first malformed annotation, instead of leaving it out.
        report: write report.html and report.json beside the store.

    Raises ValueError for values that cannot be.
    """

    images: Path
    annotations: Path
    form: str
    out: Path
    segmenter: str = "box"
    weights: Path | None = None
    prompt: PromptName = "rh"
    zoom_below_px: float = 0
    online: bool = False
    source: str | None = None
    classes: tuple[str, ...] | None = None
    class_map: Path | None = None
    skip_unknown: bool = False
    channels: int = 3
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    gsd_m: float | None = None
    licence: str = ""
    split: SplitRule = "hash"
    val_share: float = 0.1
    tile_px: int | None = None
    tile_gap_px: int = 200
    tile_rates: tuple[float, ...] = (1.0,)
    minimum_kept: float = 0.7
    check: bool = True
    keep_raw: bool = False
    processes: int | None = None
    device: str = "auto"
    boxes_per_batch: int = 64
    images_per_shard: int = 32
    skip_bad: bool = False
    strict: bool = False
    report: bool = True

    def __post_init__(self) -> None:
        for name in ("channels", "boxes_per_batch", "images_per_shard", "tile_px", "processes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, got {value}")
        if not 0 <= self.val_share < 1:
            raise ValueError(f"val_share lies between 0 and 1, got {self.val_share}")
        if self.split not in ("hash", "folders", "train", "val", "test"):
            raise ValueError(f"split must be hash, folders, train, val or test, got {self.split!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std come together: one of them is missing")
        if self.mean is not None and len(self.mean) != self.channels:
            raise ValueError(
                f"mean must hold one number per channel: {self.channels} channels, "
                f"{len(self.mean)} numbers"
            )

    @property
    def name(self) -> str:
        """The name of the data set."""
        return self.source or self.out.resolve().name

    @property
    def image_root(self) -> Path:
        """The folder of the images that the store speaks of."""
        return self.images if self.tile_px is None else self.out / "tiles"

    def settings(self) -> dict[str, Any]:
        """The settings that decide about the labels, as JSON holds them.

        They contain a fingerprint of the annotation files and of the class map (names, sizes, times
        of change).
        """
        settings: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.name in _MAY_CHANGE:
                continue
            value = getattr(self, field.name)
            if isinstance(value, Path):
                value = value.resolve().as_posix()
            settings[field.name] = list(value) if isinstance(value, tuple) else value
        settings["source"] = self.name
        settings["content of the annotations"] = _fingerprint(self.annotations, self.out)
        settings["content of the class map"] = self.class_map and _fingerprint(
            self.class_map, self.out
        )
        return settings


def _fingerprint(path: Path, out: Path) -> str:
    """Changes when a file at or below ``path``, but not below ``out``, is added or written."""
    path, out = path.resolve(), out.resolve()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and not file.is_relative_to(out):
            status = file.stat()
            name = file.relative_to(path).as_posix()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
