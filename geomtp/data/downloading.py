"""Downloading public data sets by torchgeo, for those whose copies have a layout that we read."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TORCHGEO = "torchgeo.datasets"


@dataclass(frozen=True)
class Download:
    """How torchgeo gets a data set (read in its version 0.8.1).

    - dataset: its class; splits: those to ask for, one where it brings them all
    - options: further arguments
    - below: folder that holds, in the end, the layout that our preparation reads
    - needs: what else must be installed, for messages
    """

    dataset: str
    splits: tuple[str, ...] = ("train",)
    options: Mapping[str, Any] = field(default_factory=dict)
    below: str = "."
    needs: str = ""


DOWNLOADS: dict[str, Download] = {
    "resisc45": Download("RESISC45"),
    "fair1m": Download("FAIR1M", ("train", "val", "test"), needs="gdown"),
    "dota_v1": Download("DOTA", ("train", "val"), {"version": "1.0"}),
    "dota_v2": Download("DOTA", ("train", "val"), {"version": "2.0"}),
    "spacenet_v1": Download("SpaceNet1", below="SN1_buildings/train", needs="the AWS CLI"),
    "loveda": Download("LoveDA", ("train", "val", "test")),
    "oscd": Download("OSCD"),
    "levir_cd": Download("LEVIRCD", needs="gdown"),
}
"""The public data sets that can be downloaded."""

WITHOUT_DOWNLOAD: dict[str, str] = {
    "eurosat": "torchgeo has the GeoTIFFs of 13 bands, the recipe reads the RGB pictures",
    "xview": "torchgeo has xView2, which is another data set",
    "dior": "the layout of torchgeo's archives is not known here",
    "dior_r": "torchgeo has the horizontal boxes only",
    "whu_cd": "torchgeo does not have it",
    "cdd": "torchgeo does not have it",
}
"""The others, with the reason."""


def download(name: str, root: Path) -> Path:
    """Download a public data set into ``root`` and verify it; the folder to prepare it from.

    What torchgeo finds there already is not downloaded again; check-sums are compared.

    Raises ValueError for a set that is not to be had so, or without torchgeo; OSError, in one
    sentence, for a download that failed.
    """
    how = DOWNLOADS.get(name)
    if how is None:
        reason = WITHOUT_DOWNLOAD.get(name, "it is no public data set of ours")
        raise ValueError(
            f"{name!r} cannot be downloaded: {reason}; those that can: {', '.join(DOWNLOADS)}"
        )
    try:
        dataset = getattr(importlib.import_module(TORCHGEO), how.dataset)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"--download needs torchgeo with its class {how.dataset} ({error}): "
            f'pip install "geomtp[torchgeo]"'
        ) from error
    root.mkdir(parents=True, exist_ok=True)
    for split in how.splits:
        try:
            dataset(root=str(root), split=split, download=True, checksum=True, **how.options)
        except Exception as error:  # of torchgeo, of the network, of a program that it calls
            needs = f"; it needs {how.needs}" if how.needs else ""
            raise OSError(
                f"torchgeo could not download {name!r} ({split}) into {root}: "
                f"{type(error).__name__}: {_first_line(error)}{needs}; run the command again"
            ) from error
    return root / how.below


def _first_line(error: Exception) -> str:
    return (str(error).strip() or "no reason given").splitlines()[0]
