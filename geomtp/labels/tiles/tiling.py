"""Cutting large images into tiles together with their annotations, as DOTA is cut."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.labels.annotations import AnnotatedObject, Annotations
from geomtp.labels.outlines import geos
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.shapes import faults
from geomtp.labels.tiles.cut_objects import (
    CutBoxes,
    cut_object,
    mask_shares,
    moved_object,
    whole_outline,
)
from geomtp.labels.tiles.tile_names import tile_name
from geomtp.rasters import (
    Georeference,
    RasterInfo,
    WindowXYXY,
    georeference,
    raster_info,
    read_window,
    write_raster,
)
from geomtp.types import SizeHW

_SMALLEST_IMAGE_SHARE = 0.6  # of a tile, where tiles of several sizes compete
_HELD_BYTES = 256 * 2**20  # pixels of an image that are held at a time


@dataclass(frozen=True)
class Tiling:
    """How images are cut.

    - size_px, gap_px: side of a tile and how much neighbours share
    - rates: rescaling factors for which tiles are cut: a rate of 0.5 gives tiles of twice the size
      and gap (not resampled: they are resized where they are used), so that large objects fit
    - minimum_kept: a tile holds an object when at least this fraction of its area lies in it
    - cut_boxes: the rotated box of an object that the tile's border cuts: "whole" keeps it as it
      is, sticking out (DOTA's practice); "part" takes the smallest one around what remains
    - keep_empty: also write tiles without objects

    Raises ValueError for values that give no tiles.
    """

    size_px: int = 1024
    gap_px: int = 200
    rates: tuple[float, ...] = (1.0,)
    minimum_kept: float = 0.7
    cut_boxes: CutBoxes = "whole"
    keep_empty: bool = True

    def __post_init__(self) -> None:
        if not self.rates or not all(0 < rate < math.inf for rate in self.rates):
            raise ValueError(f"rates must be positive factors such as 0.5, got {self.rates}")
        if self.gap_px < 0 or any(gap >= size for size, gap in self.sizes_and_gaps_px):
            raise ValueError(
                f"the gap of tiles must be 0 or more and smaller than they are, "
                f"got size {self.size_px} and gap {self.gap_px} at rates {self.rates}"
            )
        sizes = [size for size, _ in self.sizes_and_gaps_px]
        if len(set(sizes)) < len(sizes):
            raise ValueError(f"the rates {self.rates} give tiles of equal size twice: {sizes} px")
        if not 0 < self.minimum_kept <= 1:
            raise ValueError(f"minimum_kept lies above 0 and up to 1, got {self.minimum_kept}")
        if self.cut_boxes not in ("whole", "part"):
            raise ValueError(f"cut_boxes is 'whole' or 'part', got {self.cut_boxes!r}")

    @property
    def sizes_and_gaps_px(self) -> list[tuple[int, int]]:
        """Size and gap of the tiles of each rate, in pixels of the image."""
        return [(int(self.size_px / rate), int(self.gap_px / rate)) for rate in self.rates]


def tile_windows(size_hw: SizeHW, tiling: Tiling) -> NDArray[np.int64]:
    """The windows of an image: (W, 4) int64 x1 y1 x2 y2 pixels, rate by rate, column by column.

    They start at 0 and every size − gap pixels; the last of a row or column is moved back inside.
    Where the image is smaller than a tile the window sticks out to the right or below. Windows of
    which the image fills at most 0.6 are left out; where that holds for all, the fullest stay.
    Every pixel lies in some window.
    """
    height, width = size_hw
    grids = []
    for size, gap in tiling.sizes_and_gaps_px:
        starts_x, starts_y = _starts(width, size, gap), _starts(height, size, gap)
        start = np.stack(np.meshgrid(starts_x, starts_y, indexing="ij"), axis=2).reshape(-1, 2)
        grids.append(np.concatenate([start, start + size], axis=1))
    grid = np.concatenate(grids)
    sides = np.minimum(grid[:, 2:], (width, height)) - grid[:, :2]
    share = sides.prod(axis=1) / (grid[:, 2:] - grid[:, :2]).prod(axis=1)
    least = min(_SMALLEST_IMAGE_SHARE, share.max() - 1e-9)
    return np.asarray(grid[share > least])


def _starts(length: int, size: int, gap: int) -> NDArray[np.int64]:
    step = size - gap
    count = 1 if length <= size else math.ceil((length - size) / step) + 1
    return np.minimum(np.arange(count, dtype=np.int64) * step, max(length - size, 0))


def _window(row: Sequence[int]) -> WindowXYXY:
    x1, y1, x2, y2 = row
    return (x1, y1, x2, y2)


def objects_in_windows(
    objects: Sequence[AnnotatedObject], size_hw: SizeHW, windows: NDArray[Any], minimum_kept: float
) -> NDArray[np.int64]:
    """Which window holds which object: rows (window, object, 1 where its border cuts the object).

    An object's area is that of its polygons, else of its mask, rotated box, horizontal box. Sorted
    by window and object.
    """
    if not objects:
        return np.zeros((0, 3), dtype=np.int64)
    outlines = np.array([whole_outline(item, size_hw) for item in objects], dtype=object)
    frames = geos.box(*windows.T.astype(np.float64))
    which, where = geos.STRtree(frames).query(outlines)
    area = np.maximum(geos.area(outlines), 1e-6)
    kept = geos.area(geos.intersection(outlines[which], frames[where])) / area[which]
    for i, item in enumerate(objects):
        if item.rle is not None and item.polygons is None:  # its outline was only the box around
            rows = np.flatnonzero(which == i)
            kept[rows] = mask_shares(item.rle, windows[where[rows]], size_hw)
    left, top, right, bottom = geos.bounds(outlines[which]).T
    x1, y1, x2, y2 = windows[where].T
    inside = (left >= x1) & (top >= y1) & (right <= x2) & (bottom <= y2)
    held = inside | (kept >= minimum_kept)
    rows = np.stack([where, which, ~inside], axis=1)[held].astype(np.int64)
    return np.asarray(rows[np.lexsort((rows[:, 1], rows[:, 0]))])


def cut(
    annotations: Annotations,
    image: Path,
    tiling: Tiling,
    out: Path,
    notes: ReadNotes | None = None,
    *,
    colour: bool = False,
    skip_existing: bool = False,
) -> list[Annotations]:
    """Write the tiles of one image below ``out``; their annotations, in the order of the windows.

    A tile is a GeoTIFF ``{image}__{size}__{x}___{y}.tif`` with the image's bands, data type and
    place on Earth; where the image is smaller than the window, so is the tile. Its annotations are
    in its own pixels. An object wholly inside is only moved. One that the border cuts is kept from
    ``tiling.minimum_kept`` on: polygons, masks and horizontal boxes are cut, the rotated box is
    treated as ``tiling.cut_boxes`` says, and the difficulty becomes 2 (DOTA's "truncated"). A grey
    map is cut into ``semantic/…``.

    - colour: tiles of a grey image have three equal bands
    - skip_existing: tiles that are there already are not written again

    Never more than a row of tiles or 256 MB of pixels is held. Objects without use, and those that
    no tile holds, are counted in ``notes``. Raises OSError for an image that cannot be read or a
    folder that cannot be written, ValueError where the image is not of the annotations' size.
    """
    notes = ReadNotes() if notes is None else notes
    info = raster_info(image)
    if info.size_hw != annotations.size_hw:
        raise ValueError(
            f"{image} has height and width {info.size_hw}, its annotations say "
            f"{annotations.size_hw}: is it the image that was annotated?"
        )
    windows = [_window(row) for row in tile_windows(info.size_hw, tiling).tolist()]
    objects = _cut_all(annotations.objects, info.size_hw, windows, tiling, notes)
    instances = None
    if annotations.instances is not None:
        instances = _cut_all(annotations.instances, info.size_hw, windows, tiling, notes)
    tiles = {
        i: Annotations(
            image=tile_name(annotations.image, window),
            size_hw=_size_inside(window, info.size_hw),
            objects=objects[i],
            instances=None if instances is None else instances[i],
            semantic=annotations.semantic and f"semantic/{tile_name(annotations.semantic, window)}",
        )
        for i, window in enumerate(windows)
        if tiling.keep_empty or objects[i] or (instances is not None and instances[i])
    }
    place = georeference(image)
    written = {i: windows[i] for i in tiles}
    there = {i for i in tiles if skip_existing and (out / tiles[i].image).is_file()}
    todo = {i: window for i, window in written.items() if i not in there}
    for i, pixels in _pixels(image, info, todo, expand_palette=True) if todo else ():
        x1, y1, *_ = windows[i]
        if colour and pixels.shape[2] == 1:
            pixels = np.repeat(pixels, 3, axis=2)
        _write(out / tiles[i].image, pixels, None if place is None else place.shifted(x1, y1))
    if annotations.semantic is not None:
        _cut_map(
            _root(image, annotations) / annotations.semantic, info.size_hw, written, tiles, out
        )
    return list(tiles.values())


def _cut_all(
    objects: Sequence[AnnotatedObject],
    size_hw: SizeHW,
    windows: Sequence[WindowXYXY],
    tiling: Tiling,
    notes: ReadNotes,
) -> list[tuple[AnnotatedObject, ...]]:
    """The objects of each window, in the pixels of its tile."""
    usable = []
    for item, found in zip(objects, faults(objects, size_hw), strict=True):
        if found:
            notes.left_out(found[0], item.where, found[1])
        else:
            usable.append(item)
    rows = objects_in_windows(usable, size_hw, np.array(windows), tiling.minimum_kept)
    for i in sorted(set(range(len(usable))) - set(rows[:, 1].tolist())):
        share = f"no tile holds {tiling.minimum_kept:.0%} of it"
        notes.left_out("in no tile", usable[i].where, f"{share}; a rate below 1 cuts larger tiles")
    cut: list[list[AnnotatedObject]] = [[] for _ in windows]
    for where, which, crossed in rows.tolist():
        item, window = usable[which], windows[where]
        if crossed:
            cut[where].append(cut_object(item, window, size_hw, tiling.cut_boxes))
        else:
            cut[where].append(moved_object(item, window, size_hw))
    return [tuple(items) for items in cut]


def _pixels(
    image: Path, info: RasterInfo, windows: dict[int, WindowXYXY], *, expand_palette: bool
) -> Iterator[tuple[int, NDArray[Any]]]:
    """The pixels (H, W, C) of each window as far as the image goes, row of tiles by row of tiles.

    What fits in memory is read at once, because pictures and striped TIFF are decoded whole or in
    full rows whatever is asked of them.
    """
    height, width = info.size_hw
    value_bytes = np.dtype(info.dtype).itemsize
    row_bytes = width * info.bands * value_bytes
    whole: NDArray[Any] | None = None
    if height * row_bytes <= _HELD_BYTES:
        whole = read_window(image, expand_palette=expand_palette)
    by_row = sorted(windows, key=lambda i: (windows[i][1], windows[i][3], windows[i][0]))
    for (y1, y2), row in groupby(by_row, key=lambda i: (windows[i][1], windows[i][3])):
        y2 = min(y2, height)
        strip = None if whole is None else whole[y1:y2]
        if strip is None and (y2 - y1) * row_bytes <= _HELD_BYTES:
            strip = read_window(image, (0, y1, width, y2), expand_palette=expand_palette)
        for i in row:
            x1, _, x2, _ = windows[i]
            x2 = min(x2, width)
            if strip is not None:
                yield i, strip[:, x1:x2]
            else:
                yield i, read_window(image, (x1, y1, x2, y2), expand_palette=expand_palette)


def _cut_map(
    path: Path,
    size_hw: SizeHW,
    windows: dict[int, WindowXYXY],
    tiles: dict[int, Annotations],
    out: Path,
) -> None:
    """Write the tiles of a grey class map. Raises ValueError where its size is another."""
    info = raster_info(path)
    if info.size_hw != size_hw:
        raise ValueError(f"the class map {path} has size {info.size_hw}, its image {size_hw}")
    for i, pixels in _pixels(path, info, windows, expand_palette=False):
        _write(out / str(tiles[i].semantic), pixels, None)


def _root(image: Path, annotations: Annotations) -> Path:
    """The folder that the paths in ``annotations`` are relative to."""
    return image.parents[len(PurePosixPath(annotations.image).parts) - 1]


def _size_inside(window_xyxy: WindowXYXY, size_hw: SizeHW) -> SizeHW:
    """Height and width of the part of a window that lies in the image."""
    x1, y1, x2, y2 = window_xyxy
    return (min(y2, size_hw[0]) - y1, min(x2, size_hw[1]) - x1)


def _write(path: Path, pixels: NDArray[Any], place: Georeference | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_raster(path, pixels, place)
