"""Names of tiles, by DOTA's way: ``SCENE__size__x___y``. Written and read here alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from geomtp.rasters import WindowXYXY

_TILE = re.compile(r"(?P<scene>.+)__(?P<size>\d+)__(?P<x>\d+)___(?P<y>\d+)")


@dataclass(frozen=True)
class Tile:
    """A tile by its name: the scene (path without suffix), side and left upper corner, pixels."""

    scene: str
    size_px: int
    x: int
    y: int


def tile_of(image: str) -> Tile | None:
    """What the name of a tile says, whatever its suffix; None where an image is no tile."""
    path = PurePosixPath(image)
    match = _TILE.fullmatch(path.stem)
    if match is None:
        return None
    scene = (path.parent / match["scene"]).as_posix()
    return Tile(scene, int(match["size"]), int(match["x"]), int(match["y"]))


def scene_of(image: str) -> str:
    """The scene that a tile was cut from, or the image itself, as a path without suffix."""
    tile = tile_of(image)
    return tile_stem(image) if tile is None else tile.scene


def tile_stem(image: str) -> str:
    """What the paths of all tiles of an image begin with: its own without the suffix."""
    return str(PurePosixPath(image).with_suffix(""))


def tile_name(image: str, window_xyxy: WindowXYXY) -> str:
    """The path of a tile: that of the image with ``__size__x___y`` and the suffix ``.tif``."""
    x1, y1, x2, _ = window_xyxy
    return f"{tile_stem(image)}__{x2 - x1}__{x1}___{y1}.tif"
