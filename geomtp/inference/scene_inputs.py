"""What the user named as images: files, folders, patterns, STAC items, addresses."""

from __future__ import annotations

import glob
import itertools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geomtp.inference.predict_config import SUMMARY_SUFFIX
from geomtp.labels.readers.image_files import IMAGE_SUFFIXES
from geomtp.types import MAP_TASKS

_RESULTS = (*(f"_{task}.tif" for task in MAP_TASKS), "_preview.png")
"""What follows a scene's name in the names of results that are images themselves."""

_SUFFIXES = (*IMAGE_SUFFIXES, ".vrt")


@dataclass(frozen=True)
class SceneInput:
    """One scene to predict.

    - name: what its results are called
    - paths: one, or the two dates of a change
    """

    name: str
    paths: tuple[str, ...]


def scene_inputs(named: Sequence[str], dates: int) -> list[SceneInput]:
    """The scenes that ``named`` stand for, in order; names of results differ.

    With two ``dates``, two images or two folders (patterns) of as many images are expected.
    Raises FileNotFoundError for what stands for no image, ValueError for dates that do not fit.
    """
    paths: list[tuple[str, ...]]
    if dates == 1:
        paths = [(path,) for one in named for path in _expanded(one)]
    else:
        paths = _pairs(named)
    stems = ["--".join(_stem(path) for path in group) for group in paths]
    return [SceneInput(*both) for both in zip(_names(stems), paths, strict=True)]


def _names(stems: Sequence[str]) -> list[str]:
    """``stems``, with a number where one is there several times; also files ignore capitals."""
    repeated = Counter(stem.lower() for stem in stems)
    taken = {stem for stem, count in repeated.items() if count == 1}
    numbers = {stem: itertools.count(1) for stem in repeated}
    names = []
    for stem in stems:
        name = stem
        while repeated[stem.lower()] > 1 and (name == stem or name.lower() in taken):
            name = f"{stem}-{next(numbers[stem.lower()])}"
        names.append(name)
    return names


def _pairs(named: Sequence[str]) -> list[tuple[str, ...]]:
    if len(named) != 2:
        raise ValueError(
            f"change is seen between two dates: give two images (or two folders), the earlier "
            f"first; found {len(named)}"
        )
    before, after = (_expanded(one) for one in named)
    if len(before) != len(after):
        raise ValueError(
            f"{named[0]} holds {len(before)} images and {named[1]} {len(after)}: change needs as "
            f"many of each date, in the same order of names"
        )
    return list(zip(before, after, strict=True))


def _stem(path: str) -> str:
    """The last part of a path or address, without its suffix and what follows a question mark."""
    last = path.split("?")[0].rstrip("/").rsplit("/", maxsplit=1)[-1]
    return Path(last).stem or "scene"


def _expanded(named: str) -> list[str]:
    """The paths that one word of the command stands for, sorted."""
    if named.startswith("/vsi") or "://" in named:
        return [named]
    path = Path(named)
    if path.is_dir():
        images = (p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
        found = sorted(str(p) for p in images if not _is_result(p))
        if not found:
            raise FileNotFoundError(f"{named} holds no image ({', '.join(_SUFFIXES)})")
        return found
    if path.is_file():
        return [_asset(path)] if path.suffix.lower() in (".json", ".geojson") else [named]
    files = (p for p in glob.glob(named, recursive=True) if Path(p).is_file())
    found = sorted(p for p in files if not _is_result(Path(p)))
    if not found:
        raise FileNotFoundError(f"{named} does not exist: expected an image, a folder or a pattern")
    return found


def _is_result(path: Path) -> bool:
    """Whether a prediction wrote it: its summary lies beside it, or the work it was stopped at."""
    for ending in _RESULTS:
        scene = path.name.removesuffix(ending)
        if scene != path.name:
            summary, work = path.with_name(scene + SUMMARY_SUFFIX), path.with_name(f".{scene}.work")
            return summary.is_file() or work.is_dir()
    return False


def _asset(item: Path) -> str:
    """The path of the image of a STAC item: its asset "visual", "image" or "data", or its only one.

    Raises ValueError for what is no item, or where several assets might be meant.
    """
    try:
        content = json.loads(item.read_text(encoding="utf-8"))
        assets: dict[str, Any] = content["assets"]
        rasters = {key: str(asset["href"]) for key, asset in assets.items() if _is_raster(asset)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{item} is no STAC item: expected JSON with assets ({error})") from None
    known = [key for key in ("visual", "image", "data") if key in rasters]
    if not known and len(rasters) != 1:
        raise ValueError(
            f"{item} has the images {', '.join(rasters) or 'none'}: name the file of one of them"
        )
    href = rasters[known[0] if known else next(iter(rasters))]
    if "://" in href or href.startswith("/"):
        return href
    return str(item.parent / href)


def _is_raster(asset: dict[str, Any]) -> bool:
    if set(asset.get("roles", [])) & {"thumbnail", "overview", "metadata"}:
        return False
    kind = str(asset.get("type", ""))
    suffix = Path(str(asset["href"]).split("?")[0]).suffix.lower()
    return suffix in _SUFFIXES if not kind else kind.startswith("image/")
