"""Scenes of any size, read by window at any resolution, with what is valid.

Whatever GDAL opens is a scene: GeoTIFF, JPEG 2000, pictures, virtual rasters (VRT), addresses and
archives (``https://…``, ``/vsizip/…``). Pixels are counted as stored; EXIF orientations are not
applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from geomtp.rasters.georeferences import GDAL_ERRORS, Georeference
from geomtp.rasters.reading import PICTURES, placed
from geomtp.types import SizeHW


@dataclass(frozen=True)
class ScenePixels:
    """A part of a scene.

    - values: (C, h, w) float32 in the units of the file; 0 where a band has no value
    - known: (C, h, w) bool, where it has one
    """

    values: NDArray[np.float32]
    known: NDArray[np.bool_]

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where any band has a value: (h, w)."""
        return np.asarray(self.known.any(axis=0))


@dataclass(frozen=True)
class Scene:
    """An open raster and the bands of it that are read; close it, or use it in a ``with``.

    - raster: what rasterio opened; used by one thread at a time
    - path: for messages
    - bands: numbers from 1, in the order in which they are read; a palette's one band is read as
      the three of its colours where it is asked for three times
    """

    raster: Any
    path: str
    bands: tuple[int, ...]
    _kept_open: list[Any] = field(default_factory=list, repr=False)

    @property
    def size_hw(self) -> SizeHW:
        """Height and width in pixels."""
        return int(self.raster.height), int(self.raster.width)

    @property
    def place(self) -> Georeference | None:
        """Where it lies on Earth; None where the file does not say."""
        return placed(self.raster)

    @property
    def half_placed(self) -> str | None:
        """Why a scene that says something of its place has none; None where all is as it seems."""
        if self.place is not None:
            return None
        if self.raster.gcps[0]:
            return (
                f"{self.path} is placed by control points only: results are in its pixels "
                f"(gdalwarp makes a map of it first)"
            )
        if not self.raster.transform.is_identity:
            return (
                f"{self.path} has no coordinate system: results are in its pixels "
                f"(gdal_translate -a_srs EPSG:… gives it one)"
            )
        return None

    @property
    def in_rows(self) -> bool:
        """Whether the file holds whole rows of pixels, not tiles."""
        return int(self.raster.block_shapes[0][1]) == int(self.raster.width)

    def read(self, origin_xy: tuple[int, int], size_hw: SizeHW, factor: float = 1.0) -> ScenePixels:
        """The pixels of a window of a finer or coarser version of the scene.

        The window (first pixel ``origin_xy``) is counted in pixels of that version, of which
        ``factor`` make a pixel of the scene: with 0.5 two by two become one (their mean); above 1
        values between are interpolated. The window lies inside the scene.

        Raises OSError naming the file where it is damaged or cut off.
        """
        x1, y1 = origin_xy
        window = (x1, y1, x1 + size_hw[1], y1 + size_hw[0])
        return ScenePixels(*self._read_inside(window, factor))

    def valid_pixels(self, origin_xy: tuple[int, int], size_hw: SizeHW) -> NDArray[np.bool_]:
        """Where a window inside the scene has a value in any band: (h, w) bool.

        Nothing is read where the file cannot mark pixels as missing.
        """
        if self._known_by_header() and not any(
            np.dtype(self.raster.dtypes[band - 1]).kind == "f" for band in self.bands
        ):
            return np.ones(size_hw, dtype=bool)
        return self.read(origin_xy, size_hw).valid

    def _known_by_header(self) -> bool:
        """Whether no band can have missing pixels.

        An alpha that is read as a band marks none: it may be an infrared that was written as one.
        """
        flags = [self.raster.mask_flag_enums[band - 1] for band in self.bands]
        colours = self.raster.colorinterp
        alpha_is_seen = any(colours[band - 1] == ColorInterp.alpha for band in self.bands)
        # On the grid of another scene it also tells what that scene alone covers.
        alpha_is_seen &= not isinstance(self.raster, WarpedVRT)
        return all(
            MaskFlags.all_valid in flag or (alpha_is_seen and MaskFlags.alpha in flag)
            for flag in flags
        )

    def _read_inside(
        self, window_xyxy: tuple[int, int, int, int], factor: float
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        x1, y1, x2, y2 = window_xyxy
        wanted: dict[str, Any] = {"window": Window(x1, y1, x2 - x1, y2 - y1)}
        palette = self._palette()
        if factor != 1:
            way = Resampling.average if factor < 1 else Resampling.bilinear
            wanted = {
                "window": Window(*(edge / factor for edge in (x1, y1, x2 - x1, y2 - y1))),
                "resampling": way if palette is None else Resampling.nearest,
            }
        shape = (y2 - y1, x2 - x1)
        bands = sorted(set(self.bands))  # a grey picture's one band is asked for three times
        try:
            values = self.raster.read(bands, out_shape=(len(bands), *shape), **wanted)
            known = np.ones(values.shape, dtype=bool)
            if not self._known_by_header():
                wanted["resampling"] = Resampling.nearest
                known = self.raster.read_masks(bands, out_shape=values.shape, **wanted) > 0
        except (RasterioError, OSError) as error:
            raise OSError(f"{self.path} cannot be read (damaged or cut off?): {error}") from error
        if palette is not None:
            values, known = palette[values[0]].transpose(2, 0, 1), known[[0, 0, 0]]
        else:
            order = [bands.index(band) for band in self.bands]
            values, known = values[order], known[order]
        values = values.astype(np.float32) * np.float32(self._brightness())
        known &= np.isfinite(values)
        values[~known] = 0
        return values, known

    def _brightness(self) -> float:
        """What values are multiplied by: grey of 1, 2 or 4 bits spans 0…255, as in training."""
        if self.raster.driver not in PICTURES or self.raster.colorinterp[0] != ColorInterp.gray:
            return 1.0
        bits = int(self.raster.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
        return 255 / (2**bits - 1) if bits < 8 else 1.0

    def _palette(self) -> NDArray[np.uint8] | None:
        """The colours (256, 3) of a palette, where it is read as three bands."""
        first = self.bands[0]
        in_colours = self.raster.colorinterp[first - 1] == ColorInterp.palette
        if not in_colours or self.bands != (first,) * 3:
            return None
        colours = np.zeros((256, 3), dtype=np.uint8)
        for value, colour in self.raster.colormap(self.bands[0]).items():
            colours[value] = colour[:3]
        return colours

    def on_grid_of(self, other: Scene) -> Scene:
        """This scene on the pixels of ``other``, interpolated between its own where they differ.

        Pixels that it does not cover have no value. Closing the result closes this scene.
        Raises ValueError where the two cannot be laid over each other.
        """
        own, wanted = self.place, other.place
        if own is None or wanted is None:
            if self.size_hw == other.size_hw:
                return self
            lost = [scene.path for scene in (other, self) if scene.place is None]
            raise ValueError(
                f"{other.path} ({_size(other)}) and {self.path} ({_size(self)}) cannot be laid "
                f"over each other: they differ in size, and {' and '.join(lost)} "
                f"{'does' if len(lost) == 1 else 'do'} not say where on Earth it lies"
            )
        if own == wanted and self.size_hw == other.size_hw:
            return self
        height, width = other.size_hw
        try:
            laid = WarpedVRT(
                self.raster,
                crs=wanted.crs,
                transform=Affine(*wanted.transform),
                height=height,
                width=width,
                # between two numbers of a palette lie other colours
                resampling=Resampling.bilinear if self._palette() is None else Resampling.nearest,
                add_alpha=ColorInterp.alpha not in self.raster.colorinterp,
            )
        except (*GDAL_ERRORS, ValueError) as error:
            raise ValueError(
                f"{self.path} cannot be laid over {other.path}: {str(error).splitlines()[0]}"
            ) from error
        scene = Scene(laid, self.path, self.bands, [self.raster, *self._kept_open])
        coarse = scene.raster.read_masks(
            self.bands[0], out_shape=(min(height, 512), min(width, 512))
        )
        if not coarse.any():
            raise ValueError(
                f"{self.path} and {other.path} do not overlap: are they of the same place?"
            )
        return scene

    def close(self) -> None:
        """Let go of the file."""
        for opened in (self.raster, *self._kept_open):
            opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _size(scene: Scene) -> str:
    return f"{scene.size_hw[1]} × {scene.size_hw[0]}"
