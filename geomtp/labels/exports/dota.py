"""The rotated boxes of a label store as DOTA's text files."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import torch

from geomtp.geometry.rotated_boxes import quads_from_rboxes
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap


def export_dota(store: LabelStore, out: Path) -> None:
    """``out/labelTxt/NAME.txt`` per image: eight coordinates, class, difficulty 0; no header lines.

    The corners run clockwise as seen, in pixels with three decimals. Spaces in class names become
    hyphens, since other readers of the format split at spaces. An image without objects gets an
    empty file. Raises ValueError for a row without rotated boxes.
    """
    for labels in store:
        path = path_beside(out / "labelTxt", labels.image, ".txt")
        path.write_text(dota_text(labels, store.classes), "utf-8")


def dota_text(labels: ImageLabels, classes: ClassMap) -> str:
    """The rotated boxes of one image as DOTA's lines. Raises ValueError where it has none."""
    if labels.rboxes is None or labels.rbox_labels is None:
        raise ValueError(f"{labels.image} has no rotated boxes to export")
    quads = quads_from_rboxes(torch.from_numpy(labels.rboxes.astype(np.float64))).reshape(-1, 8)
    return "".join(
        " ".join(f"{number:.3f}" for number in quad)
        + f" {'-'.join(classes.names[label].split())} 0\n"
        for quad, label in zip(quads.tolist(), labels.rbox_labels.tolist(), strict=True)
    )


def path_beside(folder: Path, image: str, suffix: str) -> Path:
    """The path below ``folder`` for an image; its folders are made."""
    path = folder / PurePosixPath(image).with_suffix(suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise ValueError(f"two images are called {path.stem} but for their suffix: export apart")
    return path
