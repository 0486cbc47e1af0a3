"""Whether a file is whole, told before hours are spent on its first part.

GDAL fills in what a cut-off PNG lacks, and finds out about other files only when it comes to what
is missing.
"""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

from PIL import Image

from geomtp.rasters.reading import readable


def require_whole(path: Path, raster: Any) -> None:
    """Raise OSError where the file ``path``, opened by GDAL as ``raster``, is seen to be cut off.

    Of a PNG all checksums are looked at, a JPEG is decoded at an eighth of its size, of a TIFF the
    places of the first and last tiles are looked at; other formats are not.
    """
    if raster.driver in ("PNG", "JPEG"):
        with readable(path):
            _check_picture(path)
    elif raster.driver == "GTiff":
        end, size = _announced_bytes(raster), path.stat().st_size
        if end > size:
            raise OSError(
                f"{path} is cut off: it holds {size} bytes, at least {end} are announced in it; "
                "copy it anew"
            )


def _check_picture(path: Path) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(path, formats=("PNG", "JPEG"))
    except Image.DecompressionBombError:  # larger than Pillow opens
        return
    with picture:
        if picture.format == "PNG":
            picture.verify()
        else:
            picture.draft(None, (1, 1))
            picture.load()


def _announced_bytes(raster: Any) -> int:
    """Where the last of the tiles at the corners ends, of all bands; 0 where there are none."""
    ends = [0]
    for band, (height, width) in enumerate(raster.block_shapes, start=1):
        last_x, last_y = (raster.width - 1) // width, (raster.height - 1) // height
        for x, y in itertools.product({0, last_x}, {0, last_y}):
            offset, size = (
                raster.get_tag_item(f"BLOCK_{what}_{x}_{y}", "TIFF", bidx=band)
                for what in ("OFFSET", "SIZE")
            )
            if offset is not None and size is not None:  # else the tile is empty
                ends.append(int(offset) + int(size))
    return max(ends)
