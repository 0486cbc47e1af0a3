"""Which bands of a raster are read for a model of so many channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rasterio.enums import ColorInterp

from geomtp.rasters.reading import PICTURES


def chosen_bands(
    raster: Any, path: str, channels: int, wanted: Sequence[str] | None
) -> tuple[int, ...]:
    """Numbers of bands from 1, ``channels`` of them: those ``wanted``, or else as it is usual.

    Raises ValueError naming ``path`` where they are not there, or are not as many.
    """
    colours = list(raster.colorinterp)
    usable = [i + 1 for i, colour in enumerate(colours) if colour != ColorInterp.alpha]
    if wanted is not None:
        numbers = tuple(_number(raster, path, str(name)) for name in wanted)
        if len(numbers) != channels:
            raise ValueError(
                f"the model needs {channels} bands, {len(numbers)} were chosen: "
                f"{', '.join(map(str, wanted))}"
            )
        return numbers
    if channels == 3 and colours[0] == ColorInterp.palette and len(usable) == 1:
        return (1, 1, 1)
    if len(usable) == channels:
        return tuple(usable)
    if channels == 3 and len(usable) == 1 and raster.driver in PICTURES:
        return (usable[0],) * 3
    rgb = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if channels == 3 and all(colour in colours for colour in rgb):
        return tuple(colours.index(colour) + 1 for colour in rgb)
    has = f"{path} has {len(usable)} bands ({_listed(raster)}), the model needs {channels}"
    if 1 < raster.count < channels:
        raise ValueError(f"{has}: give an image with all the bands that it was trained on")
    raise ValueError(
        f"{has}: choose them by --bands, by number or name in the model's order, as in --bands "
        f"{','.join(str(min(i + 1, raster.count)) for i in range(channels))}"
    )


def _number(raster: Any, path: str, name: str) -> int:
    """The number of the band of this number, description or colour."""
    if name.isdecimal() and 1 <= int(name) <= raster.count:
        return int(name)
    for names in (raster.descriptions, [colour.name for colour in raster.colorinterp]):
        lowered = [(text or "").lower() for text in names]
        if name.lower() in lowered:
            return lowered.index(name.lower()) + 1
    raise ValueError(f"{path} has no band {name!r}; it has {_listed(raster)}")


def _listed(raster: Any) -> str:
    names = [
        text or ("" if colour == ColorInterp.undefined else colour.name)
        for text, colour in zip(raster.descriptions, raster.colorinterp, strict=True)
    ]
    return ", ".join(f"{i + 1} {name}".strip() for i, name in enumerate(names))
