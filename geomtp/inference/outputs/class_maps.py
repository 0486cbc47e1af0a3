"""Maps of classes as cloud-optimised GeoTIFF: coloured, named, tiled, with overviews."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geomtp.checkpoints import replacing
from geomtp.rasters import Georeference, WindowXYXY
from geomtp.rasters.reading import quiet
from geomtp.types import IGNORE, Rgb, SizeHW

_TILE_PX = 512


def write_class_map(
    path: Path,
    parts: Iterable[tuple[WindowXYXY, NDArray[Any]]],
    size_hw: SizeHW,
    place: Georeference | None,
    names: Sequence[str],
    colours: Sequence[Rgb],
    *,
    scratch: Path,
) -> None:
    """Write a map (H, W) uint8 whose value v means ``names[v]``, drawn in ``colours[v]``.

    The file is a cloud-optimised GeoTIFF with a palette; 255 means no data. Names are in its tags
    (``CLASS_0`` …) and, where GDAL looks for them, in ``PATH.aux.xml``. Both appear whole or not
    at all.

    Args:
        path: of the file.
        parts: windows that cover it, each with its values (h, w); read one at a time.
        size_hw: of the whole map.
        place: where it lies, if anywhere.
        names: of the values from 0.
        colours: one for each name.
        scratch: a folder for the map as long as it is not whole, of the size of its pixels.

    Raises OSError when it cannot be written.
    """
    rough = scratch / f"{path.stem}.rough.tif"
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": size_hw[0],
        "width": size_hw[1],
        "count": 1,
        "dtype": "uint8",
        "nodata": IGNORE,
        "bigtiff": "IF_SAFER",
        "sparse_ok": True,
        "tiled": True,
        "blockxsize": _TILE_PX,
        "blockysize": _TILE_PX,
    }
    if place is not None:
        profile |= {"crs": place.crs, "transform": Affine(*place.transform)}
    try:
        with quiet():
            with rasterio.open(rough, "w", **profile) as raster:
                for (x1, y1, x2, y2), values in parts:
                    raster.write(values, 1, window=Window(x1, y1, x2 - x1, y2 - y1))
                raster.write_colormap(1, dict(enumerate(colours)))
                raster.set_band_description(1, "class")
                raster.update_tags(**{f"CLASS_{value}": name for value, name in enumerate(names)})
            with replacing(path.with_name(f"{path.name}.aux.xml")) as beside:
                beside.write_text(_categories(names), encoding="utf-8")
            with replacing(path) as whole:
                rasterio.shutil.copy(
                    rough, whole, driver="COG", compress="DEFLATE", blocksize=_TILE_PX,
                    overview_resampling="NEAREST", bigtiff="IF_SAFER",
                )  # fmt: skip
    except RasterioError as error:
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        rough.unlink(missing_ok=True)


def _categories(names: Sequence[str]) -> str:
    """What GDAL keeps of names of values beside a GeoTIFF, which itself has no room for them."""
    listed = "".join(f"      <Category>{escape(name)}</Category>\n" for name in names)
    return (
        '<PAMDataset>\n  <PAMRasterBand band="1">\n    <CategoryNames>\n'
        f"{listed}    </CategoryNames>\n  </PAMRasterBand>\n</PAMDataset>\n"
    )
