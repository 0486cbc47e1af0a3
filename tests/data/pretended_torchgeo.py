"""A torchgeo without a network: classes of its names and signatures that leave its layouts behind.

Signatures and layouts are those of torchgeo 0.8.1; ``test_downloading`` compares the signatures
with the real ones where torchgeo is installed.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from types import ModuleType

from geomtp.data.sources import PUBLIC
from tests.data.sources import public_layouts
from tests.data.sources.public_layouts import LAYOUTS

CALLS: list[tuple[str, str, bool]] = []
"""Dataset, split and whether check-sums were compared, of each call."""


def _called(dataset: str, split: str, download: bool, checksum: bool) -> None:
    if not download:
        raise FileNotFoundError(f"{dataset}: Dataset not found in `root`")
    CALLS.append((dataset, split, checksum))


class RESISC45:
    def __init__(self, root="data", split="train", transforms=None, download=False, checksum=False):
        assert split in ("train", "val", "test")
        _called("RESISC45", split, download, checksum)
        for name in PUBLIC["resisc45"].classes.names:
            for i in range(1, 6):
                path = Path(root, "NWPU-RESISC45", name, f"{name}_{i:03}.jpg")
                public_layouts.picture(path, size_hw=(16, 16))
        Path(root, "resisc45-train.txt").write_text("airplane_001.jpg\n")


class FAIR1M:
    def __init__(self, root="data", split="train", transforms=None, download=False, checksum=False):
        _called("FAIR1M", split, download, checksum)
        whole = LAYOUTS["fair1m"](Path(root, "whole"))
        part = {"train": "train", "val": "validation", "test": "test"}[split]
        (whole / part).rename(Path(root, part))
        shutil.rmtree(whole)


class DOTA:
    def __init__(
        self, root="data", split="train", version="2.0", bbox_orientation="oriented",
        transforms=None, download=False, checksum=False,
    ):  # fmt: skip
        assert split in ("train", "val")
        _called(f"DOTA {version}", split, download, checksum)
        other = "helipad" if version == "2.0" else "plane"
        whole = public_layouts.dota(Path(root, "whole"), other)
        part = Path(root, split)
        (whole / split).rename(part)
        (part / "annotations").mkdir()
        (part / "labelTxt").rename(part / "annotations" / f"version{version}")
        stale = part / "annotations" / ("version1.0" if version == "2.0" else "version2.0")
        stale.mkdir()  # of the other version, as when both were downloaded
        (stale / f"P_{split}.txt").write_text("1 1 9 1 9 9 1 9 nothing 0\n")
        Path(root, "samples.csv").write_text("image_path\n")
        shutil.rmtree(whole)


class SpaceNet1:
    def __init__(
        self, root="data", split="train", aois=[], image=None, mask=None,  # noqa: B006
        transforms=None, download=False, checksum=False,
    ):  # fmt: skip
        _called("SpaceNet1", split, download, checksum)
        whole = LAYOUTS["spacenet_v1"](Path(root, "whole"))
        place = Path(root, "SN1_buildings", split)
        place.mkdir(parents=True)
        (whole / "3band").rename(place / "3band")
        (whole / "vectordata" / "geojson").rename(place / "geojson")
        shutil.rmtree(whole)


class LoveDA:
    def __init__(
        self, root="data", split="train", scene=["urban", "rural"], transforms=None,  # noqa: B006
        download=False, checksum=False,
    ):  # fmt: skip
        _called("LoveDA", split, download, checksum)
        whole = LAYOUTS["loveda"](Path(root, "whole"))
        (whole / split.capitalize()).rename(Path(root, split.capitalize()))
        shutil.rmtree(whole)


class OSCD:
    def __init__(
        self, root="data", split="train", bands=("B01",), transforms=None, download=False,
        checksum=False,
    ):  # fmt: skip
        _called("OSCD", split, download, checksum)
        LAYOUTS["oscd"](Path(root))


class LEVIRCD:
    def __init__(self, root="data", split="train", transforms=None, download=False, checksum=False):
        _called("LEVIRCD", split, download, checksum)
        whole = LAYOUTS["levir_cd"](Path(root, "whole"))
        for path in sorted(whole.rglob("*.png")):  # all splits in one A, B and label
            place = Path(root, path.parent.name, path.name)
            place.parent.mkdir(exist_ok=True)
            path.rename(place)
        shutil.rmtree(whole)


DATASETS = (RESISC45, FAIR1M, DOTA, SpaceNet1, LoveDA, OSCD, LEVIRCD)


def pretend(monkeypatch) -> None:
    """Put these classes in the place of torchgeo."""
    CALLS.clear()
    package, datasets = ModuleType("torchgeo"), ModuleType("torchgeo.datasets")
    for dataset in DATASETS:
        setattr(datasets, dataset.__name__, dataset)
    monkeypatch.setitem(sys.modules, "torchgeo", package)
    monkeypatch.setitem(sys.modules, "torchgeo.datasets", datasets)
