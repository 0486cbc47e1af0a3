"""Whether a raster names other files that GDAL would read in its place.

A GeoTIFF or JPEG 2000 may carry metadata of any domain, and GDAL acts on some of it: it takes the
file that is named there for the raster's overviews, and reads that one wherever a coarser version
is asked for. An image of a stranger could so show other rasters of the machine.
"""

from __future__ import annotations

from typing import Any

_NAMES = {
    "OVERVIEWS": ("OVERVIEW_FILE",),
    "ProxyOverviewRequest": ("FILENAME",),
    "GEOLOCATION": ("X_DATASET", "Y_DATASET"),
}
"""Domains of metadata and their items that hold names of files."""


def names_other_files(raster: Any) -> bool:
    """Whether ``raster``, opened by rasterio, does."""
    return any(
        name.upper() in items for domain, items in _NAMES.items() for name in raster.tags(ns=domain)
    )
