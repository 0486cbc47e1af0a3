"""Scenes are opened from files, addresses and arrays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from geomtp.rasters.georeferences import Georeference
from geomtp.rasters.named_files import names_other_files
from geomtp.rasters.reading import open_plain, quiet
from geomtp.rasters.scene_bands import chosen_bands
from geomtp.rasters.scenes import Scene
from geomtp.rasters.whole_files import require_whole


def open_scene(
    path: str | Path,
    *,
    channels: int,
    bands: Sequence[str] | None = None,
    plain_only: bool = False,
) -> Scene:
    """The scene at ``path``, of which ``channels`` bands are read.

    Args:
        path: a file, or anything that GDAL opens.
        channels: how many bands are needed.
        bands: which, each by its number from 1, its name or its colour; by default all (but for
            alpha) where they are as many as needed, red, green and blue of a file that names them,
            and a grey picture's one band for all three.
        plain_only: open nothing but files that hold their own pixels: no formats that name other
            files (``open_plain``), and no metadata that do.

    Raises FileNotFoundError, OSError for what is no raster or seen to be cut off, ValueError for
    missing bands.
    """
    name = str(path)
    if not name.startswith("/vsi") and "://" not in name and not Path(name).exists():
        raise FileNotFoundError(f"{name} does not exist: expected an image file")
    try:
        with quiet():
            raster = open_plain(Path(name)) if plain_only else rasterio.open(name)
    except (RasterioError, OSError) as error:
        raise OSError(f"{name} cannot be opened as an image or raster: {error}") from error
    try:
        if plain_only and names_other_files(raster):
            raise OSError(f"{name} takes pixels from other files: give one that holds all")
        if Path(name).is_file():
            require_whole(Path(name), raster)
        return Scene(raster, name, chosen_bands(raster, name, channels, bands))
    except (OSError, ValueError):
        raster.close()
        raise


def scene_of_array(
    pixels: NDArray[Any],
    *,
    channels: int,
    bands: Sequence[str] | None = None,
    place: Georeference | None,
) -> Scene:
    """The scene of an array (H, W, C) or (H, W); (H, W) counts as grey where three are needed.

    - pixels: what is NaN, or masked of a ``numpy.ma`` array, has no value
    - bands: which of them, by number from 1; by default all

    Raises ValueError for another shape, for what are no numbers, or for another number of bands
    than ``channels``.
    """
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"an image has shape (H, W, C) or (H, W), not empty: got {pixels.shape}")
    if pixels.dtype.kind not in "biuf":
        raise ValueError(f"an image holds whole or real numbers, got an array of {pixels.dtype}")
    if isinstance(pixels, np.ma.MaskedArray):
        pixels = np.ma.filled(pixels.astype(np.float32), np.nan)
    if pixels.dtype == bool or pixels.dtype == np.int64:
        pixels = pixels.astype(np.int32)
    if pixels.dtype.kind == "f" and pixels.dtype.itemsize not in (4, 8):
        pixels = pixels.astype(np.float32)
    height, width, count = pixels.shape
    memory = MemoryFile()  # type: ignore[no-untyped-call]
    where: dict[str, Any] = {}
    if place is not None:
        where = {"crs": place.crs, "transform": Affine(*place.transform)}
    with quiet():
        with memory.open(
            driver="GTiff", height=height, width=width, count=count, dtype=pixels.dtype,
            photometric="MINISBLACK", **where,
        ) as file:  # fmt: skip
            file.write(pixels.transpose(2, 0, 1))  # (H, W, C) -> (C, H, W)
        raster = memory.open()
    if bands is not None:
        return Scene(
            raster, "the array", chosen_bands(raster, "the array", channels, bands), [memory]
        )
    if count == 1 and channels == 3:
        return Scene(raster, "the array", (1, 1, 1), [memory])
    if count != channels:
        raise ValueError(f"the array has {count} bands (its last axis), the model needs {channels}")
    return Scene(raster, "the array", tuple(range(1, count + 1)), [memory])
