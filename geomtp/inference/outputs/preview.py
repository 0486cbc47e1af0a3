"""A picture of a scene with what was predicted drawn over it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
import shapely
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rasterio.enums import Resampling

from geomtp.checkpoints import replacing
from geomtp.geometry import quads_from_rboxes
from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.rasters import Scene
from geomtp.rasters.reading import quiet
from geomtp.types import ClassMap, Rgb

_MAP_SHARE = 0.45
"""How much of a pixel's colour comes from the map."""

_STRETCH = (2, 98)  # percentiles of each band that become black and white

_MOST_OBJECTS = 20_000


def write_preview(
    path: Path,
    scene: Scene,
    maps: Mapping[Path, tuple[Rgb, ...]],
    objects: Mapping[str, SceneObjects],
    classes: ClassMap,
    side_px: int,
) -> None:
    """Write a PNG whose long side has at most ``side_px`` pixels.

    - maps: files of maps, and the colours of their values; the first value is not drawn
    - objects: by task; the surest are drawn
    """
    factor = min(1.0, side_px / max(scene.size_hw))
    height, width = (max(1, int(side * factor + 1e-6)) for side in scene.size_hw)
    pixels = scene.read((0, 0), (height, width), factor)
    plain = scene.raster.dtypes[scene.bands[0] - 1] == "uint8" and len(scene.bands) in (1, 3)
    picture = _picture(pixels.values, pixels.known, plain)
    for file, colours in maps.items():
        with quiet(), rasterio.open(file) as raster:
            values = raster.read(1, out_shape=(height, width), resampling=Resampling.nearest)
        table = np.zeros((256, 3), dtype=np.float32)
        table[: len(colours)] = colours
        drawn = ((values > 0) & (values < len(colours)))[..., None]
        mixed = picture * (1 - _MAP_SHARE) + table[values] * _MAP_SHARE
        picture = np.where(drawn, mixed, picture)
    image = Image.fromarray(picture.astype(np.uint8))
    for found in objects.values():
        _draw(image, found, classes, factor)
    with replacing(path) as beside:
        image.save(beside, format="PNG")


def _picture(
    values: NDArray[np.float32], known: NDArray[np.bool_], plain: bool
) -> NDArray[np.float32]:
    """(C, h, w) as red, green and blue, 0…255: (h, w, 3); black where nothing is known.

    ``plain``: it is a picture as it is; bands of satellites fill a part of their range only.
    """
    bands = [0, 1, 2] if len(values) >= 3 else [0, 0, 0]
    picture = np.zeros((*values.shape[1:], 3), dtype=np.float32)
    for channel, band in enumerate(bands):
        layer, seen = values[band], known[band]
        if not plain and seen.any():
            low, high = np.percentile(layer[seen], _STRETCH)
            layer = (layer - low) / max(high - low, 1e-6) * 255
        picture[..., channel] = np.where(seen, np.clip(layer, 0, 255), 0)
    return picture


def _draw(image: Image.Image, found: SceneObjects, classes: ClassMap, factor: float) -> None:
    canvas = ImageDraw.Draw(image)
    for index in range(min(len(found), _MOST_OBJECTS) - 1, -1, -1):  # the surest on top
        colour = classes.palette[int(found.labels[index])]
        for ring in _outlines(found, index):
            corners = [(float(x), float(y)) for x, y in ring * factor]
            canvas.line([*corners, corners[0]], fill=colour, width=2)


def _outlines(found: SceneObjects, index: int) -> list[NDArray[np.float64]]:
    """The corners (P, 2) of each part of an object, scene pixels."""
    if found.rboxes_cxcywha is not None:
        box = torch.from_numpy(found.rboxes_cxcywha[index : index + 1])
        return [quads_from_rboxes(box).reshape(-1, 2).numpy()]
    if found.boxes_xyxy is not None:
        x1, y1, x2, y2 = found.boxes_xyxy[index]
        return [np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])]
    assert found.polygons is not None
    parts = shapely.get_parts(found.polygons[index])
    return [np.asarray(part.exterior.coords) for part in parts]
