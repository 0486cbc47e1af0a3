"""Images and rasters: reading any format by window, writing GeoTIFF, places on Earth."""

from geomtp.rasters.georeferences import (
    HALF_EQUATOR_M,
    LONGITUDE_LATITUDE,
    Georeference,
    tile_georeference,
)
from geomtp.rasters.opening import open_scene, scene_of_array
from geomtp.rasters.reading import (
    RasterInfo,
    WindowXYXY,
    georeference,
    raster_info,
    read_size,
    read_window,
)
from geomtp.rasters.scenes import Scene, ScenePixels
from geomtp.rasters.writing import write_raster

__all__ = [
    "HALF_EQUATOR_M",
    "LONGITUDE_LATITUDE",
    "Georeference",
    "RasterInfo",
    "Scene",
    "ScenePixels",
    "WindowXYXY",
    "georeference",
    "open_scene",
    "raster_info",
    "read_size",
    "read_window",
    "scene_of_array",
    "tile_georeference",
    "write_raster",
]
