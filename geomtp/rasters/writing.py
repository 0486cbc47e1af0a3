"""Writing GeoTIFF."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geomtp.rasters.georeferences import Georeference


def write_raster(path: str | Path, pixels: NDArray[Any], place: Georeference | None = None) -> None:
    """Write (H, W) or (H, W, C) ``pixels`` of any data type as a compressed, tiled GeoTIFF.

    The file appears whole or not at all. Raises ValueError for another shape, OSError when the
    folder cannot be written.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or 0 in pixels.shape:
        raise ValueError(f"a raster has shape (H, W) or (H, W, C), not empty: got {pixels.shape}")
    height, width, count = pixels.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": count,
        "dtype": pixels.dtype,
        "compress": "deflate",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
    }
    if place is not None:
        profile |= {"crs": place.crs, "transform": Affine(*place.transform)}
    path = Path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(partial, "w", **profile) as raster:
                raster.write(pixels.transpose(2, 0, 1))  # (H, W, C) -> (C, H, W)
        os.replace(partial, path)
    except RasterioError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        partial.unlink(missing_ok=True)
