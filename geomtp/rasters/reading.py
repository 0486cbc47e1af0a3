"""Reading images and rasters of any format by window.

Pictures (JPEG, PNG, BMP) are read with Pillow, everything else (TIFF, GeoTIFF, ENVI, JPEG 2000, and
pictures that Pillow would shorten to 8 bits) with GDAL. The format is told by the content, not by
the suffix. An EXIF orientation is NOT applied: annotations count pixels as they are stored.

Window coordinates are pixels, x right, y down, (0, 0) the outer corner of the first pixel.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from geomtp.rasters.georeferences import Georeference, tile_georeference
from geomtp.types import SizeHW

WindowXYXY = tuple[int, int, int, int]
"""x1 y1 x2 y2 in pixels; x2 and y2 are the first column and row outside."""

PICTURES = ("JPEG", "PNG", "BMP")
"""Pillow's and GDAL's names of the formats of pictures."""
_GDAL_SIGNATURES = {  # the first bytes of a file -> GDAL's name of its format
    b"II*\0": "GTiff",
    b"MM\0*": "GTiff",
    b"II+\0": "GTiff",  # BigTIFF
    b"MM\0+": "GTiff",
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"BM": "BMP",
    b"\0\0\0\x0cjP  ": "JP2OpenJPEG",
}
# What the image libraries raise over damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, MemoryError, RasterioError)
_PICTURE_PIXELS = 80_000_000  # beyond this Pillow warns of decompression bombs; GDAL reads by rows


@dataclass(frozen=True)
class RasterInfo:
    """What a raster's header says: size, number of bands, data type, place (None: unknown).

    grey_picture: whether its one band can be read as three (``read_window``)
    """

    size_hw: SizeHW
    bands: int
    dtype: str
    georeference: Georeference | None
    grey_picture: bool = False

    @property
    def channels(self) -> int:
        """Bands to read where nothing else is said: a grey picture counts as three."""
        return 3 if self.grey_picture else self.bands


def read_size(path: str | Path) -> SizeHW:
    """Height and width in pixels, from the header alone.

    Raises FileNotFoundError or OSError naming the file.
    """
    return raster_info(path).size_hw


def raster_info(path: str | Path) -> RasterInfo:
    """Size, bands, data type and georeference of ``path``, from the header alone.

    Alpha does not count as a band of a picture, and a palette counts as the three bands it stands
    for. Raises FileNotFoundError or OSError naming the file.
    """
    path = _existing(path)
    with readable(path):
        picture = _open_picture(path)
        if picture is not None:
            with picture:
                size_hw = (picture.height, picture.width)
                mode = _plain_mode(picture)
                return RasterInfo(size_hw, len(mode), "uint8", None, grey_picture=mode == "L")
        with open_plain(path) as raster:
            size_hw = (raster.height, raster.width)
            bands = _band_count(raster)
            grey = _is_grey(raster, bands)
            return RasterInfo(size_hw, bands, raster.dtypes[0], placed(raster), grey)


def read_window(
    path: str | Path,
    window_xyxy: WindowXYXY | None = None,
    bands: Sequence[int] | None = None,
    *,
    expand_palette: bool = True,
) -> NDArray[Any]:
    """The pixels of a window (of the whole raster without one), in the file's own data type.

    Returns (H, W, C) contiguous, bands in the order of ``bands`` (from 0; None: all). Pictures: the
    alpha channel is left out; a palette becomes RGB, or with ``expand_palette=False`` one band of
    indices (for label maps); a grey picture has one band, and since grey means equal red, green and
    blue, ``bands=(0, 1, 2)`` of it gives the grey value three times. Rasters give what they hold.
    Only the window is decoded where the format allows it (TIFF, ENVI, JPEG 2000); pictures are
    decoded whole.

    Raises FileNotFoundError for a missing file; OSError for an empty, foreign, corrupt or cut-off
    one; ValueError for a window that leaves the image or is empty, and for a band it has not.
    """
    path = _existing(path)
    with readable(path):
        picture = _open_picture(path)
        if picture is not None:
            with picture:
                return _read_picture(path, picture, window_xyxy, bands, expand_palette)
        with open_plain(path) as raster:
            return _read_raster(path, raster, window_xyxy, bands)


def _read_picture(
    path: Path,
    picture: Image.Image,
    window_xyxy: WindowXYXY | None,
    bands: Sequence[int] | None,
    expand_palette: bool,
) -> NDArray[Any]:
    mode = _plain_mode(picture, expand_palette)
    part = picture.crop(_checked_window(path, window_xyxy, (picture.height, picture.width)))
    if part.mode != mode:
        part = part.convert(mode)
    pixels = np.array(part).reshape(part.height, part.width, -1)
    chosen = _checked_bands(path, bands, pixels.shape[2], grey=mode == "L")
    return pixels if bands is None else np.ascontiguousarray(pixels[:, :, chosen])


def _read_raster(
    path: Path, raster: Any, window_xyxy: WindowXYXY | None, bands: Sequence[int] | None
) -> NDArray[Any]:
    x1, y1, x2, y2 = _checked_window(path, window_xyxy, (raster.height, raster.width))
    count = _band_count(raster)
    chosen = _checked_bands(path, bands, count, _is_grey(raster, count))
    layers = raster.read([band + 1 for band in chosen], window=Window(x1, y1, x2 - x1, y2 - y1))
    return np.ascontiguousarray(layers.transpose(1, 2, 0))  # (C, H, W) -> (H, W, C)


def georeference(path: str | Path) -> Georeference | None:
    """Where the pixels of ``path`` lie: by the file, else by its web-mercator tile name, else None.

    Raises FileNotFoundError or OSError naming the file.
    """
    info = raster_info(path)
    return info.georeference or tile_georeference(Path(path).stem, info.size_hw)


class _RequestError(ValueError):
    """The caller asked for a window or band that the file does not have; the file is fine."""


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}: expected an image file")
    if path.stat().st_size == 0:
        raise OSError(f"{path} is empty (0 bytes): expected an image; copy it anew")
    return path


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn whatever an image library raises over ``path`` into one OSError that names it."""
    try:
        yield
    except _RequestError:
        raise
    except _DAMAGE as error:
        reason = str(error).strip().splitlines()
        raise OSError(
            f"{path} cannot be read as an image (is it damaged or cut off?): "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings for rasters without a place on Earth: most images have none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def _open_picture(path: Path) -> Image.Image | None:
    """``path`` opened by Pillow; None where GDAL reads it better or Pillow does not know it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=PICTURES)
    except (UnidentifiedImageError, Image.DecompressionBombError):
        return None
    deep = picture.mode.startswith(("I", "F")) or _bits_per_channel(path, picture) > 8
    if deep or picture.width * picture.height > _PICTURE_PIXELS:
        picture.close()
        return None
    return picture


def _bits_per_channel(path: Path, picture: Image.Image) -> int:
    """Bits per channel; Pillow silently shortens 16-bit colour, so PNG headers are asked."""
    if picture.format != "PNG":
        return 8
    with path.open("rb") as file:
        return file.read(25)[24]  # signature 8, length 4, "IHDR" 4, width 4, height 4, depth 1


def _plain_mode(picture: Image.Image, expand_palette: bool = True) -> str:
    """The Pillow mode ("L", "P" or "RGB") in which a picture's bands are given out."""
    if picture.mode in ("P", "PA"):
        return "RGB" if expand_palette else "P"
    return "L" if picture.mode in ("1", "L", "LA", "La") else "RGB"


def _is_grey(raster: Any, bands: int) -> bool:
    """Whether GDAL opened a grey picture."""
    return bands == 1 and raster.driver in PICTURES


def open_plain(path: Path) -> Any:
    """``path`` opened by GDAL, as one of the formats named above and no other.

    GDAL left to itself would also open formats that name other files or addresses (VRT).
    """
    with path.open("rb") as file:
        start = file.read(16)
    driver = next((d for mark, d in _GDAL_SIGNATURES.items() if start.startswith(mark)), None)
    driver = driver or ("ENVI" if _has_envi_header(path) else None)
    if driver is None:
        raise OSError("its first bytes are of no format that is read here (JPEG, PNG, TIFF, …)")
    with quiet():
        raster = rasterio.open(path, driver=driver)
    if driver == "ENVI":
        _check_envi_length(path, raster)
    return raster


def _check_envi_length(path: Path, raster: Any) -> None:
    """Raise OSError where an ENVI file is shorter than its header says: GDAL would read zeros."""
    header = raster.tags(ns="ENVI")
    if header.get("file_compression", "0") != "0":
        return
    pixel_bytes = sum(np.dtype(dtype).itemsize for dtype in raster.dtypes)
    needed = raster.height * raster.width * pixel_bytes + int(header.get("header_offset", 0))
    if path.stat().st_size < needed:
        raise OSError(f"it holds {path.stat().st_size} bytes, its header announces {needed}")


def _has_envi_header(path: Path) -> bool:
    """Whether ``path`` is the data file of an ENVI pair: NAME beside NAME.hdr or name.hdr."""
    names = (f"{path.name}.hdr", f"{path.name}.HDR", f"{path.stem}.hdr", f"{path.stem}.HDR")
    headers = [path.with_name(name) for name in names if name != path.name]
    return any(h.is_file() and h.read_bytes()[:4] == b"ENVI" for h in headers)


def _band_count(raster: Any) -> int:
    """The bands that are given out: of a picture, those before the alpha channel."""
    if raster.driver in PICTURES and raster.colorinterp[-1] == ColorInterp.alpha:
        return int(raster.count) - 1
    return int(raster.count)


def placed(raster: Any) -> Georeference | None:
    """Where an open raster lies; None where it does not say."""
    if raster.crs is None or raster.transform.is_identity:
        return None
    epsg = raster.crs.to_epsg()
    return Georeference(
        f"EPSG:{epsg}" if epsg else raster.crs.to_wkt(), tuple(raster.transform)[:6]
    )


def _checked_window(path: Path, window_xyxy: WindowXYXY | None, size_hw: SizeHW) -> WindowXYXY:
    height, width = size_hw
    if window_xyxy is None:
        return (0, 0, width, height)
    x1, y1, x2, y2 = (int(edge) for edge in window_xyxy)
    if not (0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height):
        raise _RequestError(
            f"the window {tuple(window_xyxy)} (x1 y1 x2 y2) must lie inside {path}, "
            f"which is {width} wide and {height} high"
        )
    return (x1, y1, x2, y2)


def _checked_bands(path: Path, bands: Sequence[int] | None, count: int, grey: bool) -> list[int]:
    if bands is None:
        return list(range(count))
    if grey and bands and set(bands) <= {0, 1, 2}:
        return [0] * len(bands)
    if not bands or not all(0 <= band < count for band in bands):
        raise _RequestError(
            f"{path} has the bands 0…{count - 1}, asked for {tuple(bands)}: name bands that it has"
        )
    return list(bands)
