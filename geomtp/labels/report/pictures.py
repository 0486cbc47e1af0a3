"""Pictures of single labels: the object's surroundings, plain and with what is stored of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from geomtp.geometry import decode_rle_crop, enclosing_boxes
from geomtp.geometry.rotated_boxes import quads_from_rboxes
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.rasters import WindowXYXY, raster_info, read_window
from geomtp.types import ClassMap, Rgb, SizeHW

_SIDE_PX = 240
_SMALLEST_WINDOW_PX = 40
_SURROUNDINGS = 2.0  # side of the window over that of the object
_RAW = (255, 235, 59)


def picture_of(
    labels: ImageLabels, instance: int, image_root: Path, classes: ClassMap
) -> Image.Image:
    """The crop around an instance twice side by side, plain and with labels: RGB, 486 × 240.

    On the right masks are tinted in the colour of their class, the instance's own most; rotated
    boxes are outlined. Where a raw mask is stored that differs, its outline is yellow.

    Raises OSError where the image cannot be read.
    """
    assert labels.boxes is not None
    window = _window(labels.boxes[instance].tolist(), labels.size_hw)
    plain = _scaled(_pixels(image_root / labels.image, window))
    drawn = np.array(plain)
    for i in _near(labels.boxes, window):
        if labels.rles is not None and labels.box_labels is not None:
            mask = _mask(labels.rles[i], labels.size_hw, window)
            colour = classes.palette[int(labels.box_labels[i])]
            _tint(drawn, mask, colour, 0.5 if i == instance else 0.2, i == instance)
    if labels.raw_rles is not None and labels.rles is not None:
        raw = labels.raw_rles[instance]
        if raw != labels.rles[instance]:
            drawn[_edge(_mask(raw, labels.size_hw, window))] = _RAW
    picture = Image.fromarray(drawn)
    _draw_boxes(picture, labels, instance, window, classes)
    both = Image.new("RGB", (2 * _SIDE_PX + 6, _SIDE_PX), (128, 128, 128))
    both.paste(plain, (0, 0))
    both.paste(picture, (_SIDE_PX + 6, 0))
    return both


def _window(box_xyxy: list[float], size_hw: SizeHW) -> WindowXYXY:
    """A square around the box, moved inside the image as far as it fits."""
    x1, y1, x2, y2 = box_xyxy
    side = math.ceil(max(_SURROUNDINGS * max(x2 - x1, y2 - y1), _SMALLEST_WINDOW_PX))
    edges = []
    for centre, length in (((x1 + x2) / 2, size_hw[1]), ((y1 + y2) / 2, size_hw[0])):
        start = min(max(round(centre - side / 2), 0), max(length - side, 0))
        edges.append((start, min(start + side, length)))
    (left, right), (top, bottom) = edges
    return (left, top, right, bottom)


def _pixels(image: Path, window: WindowXYXY) -> NDArray[np.uint8]:
    """(H, W, 3) uint8; other than 8 bits are stretched between their 2nd and 98th percentile."""
    bands = raster_info(image).bands
    pixels: NDArray[Any] = read_window(image, window, bands=range(3) if bands >= 3 else [0])
    if pixels.dtype != np.uint8:
        low, high = np.nanpercentile(pixels, (2, 98))
        stretched = (pixels.astype(np.float64) - low) / max(float(high - low), 1e-9) * 255
        pixels = np.nan_to_num(np.clip(stretched, 0, 255)).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def _scaled(pixels: NDArray[np.uint8]) -> Image.Image:
    """The crop enlarged or shrunk to fit the picture, in its upper left corner."""
    picture = Image.fromarray(pixels)
    scale = _SIDE_PX / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    way = Image.Resampling.NEAREST if scale >= 4 else Image.Resampling.BICUBIC
    fitted = Image.new("RGB", (_SIDE_PX, _SIDE_PX), (128, 128, 128))
    fitted.paste(picture.resize(size, way), (0, 0))
    return fitted


def _near(boxes_xyxy: NDArray[np.float32], window: WindowXYXY) -> list[int]:
    x1, y1, x2, y2 = window
    apart = (boxes_xyxy[:, :2] >= (x2, y2)) | (boxes_xyxy[:, 2:] <= (x1, y1))
    near: list[int] = np.flatnonzero(~apart.any(axis=1)).tolist()
    return near


def _mask(rle: bytes, size_hw: SizeHW, window: WindowXYXY) -> NDArray[np.bool_]:
    """The mask of the crop at the picture's size."""
    mask = decode_rle_crop([rle], size_hw, window)[0].numpy()
    scale = _SIDE_PX / max(mask.shape)
    height, width = (max(1, round(side * scale)) for side in mask.shape)
    resized = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    full = np.zeros((_SIDE_PX, _SIDE_PX), dtype=bool)
    full[:height, :width] = np.asarray(resized)
    return full


def _edge(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels of the mask at its border."""
    inner = mask.copy()
    inner[1:] &= mask[:-1]
    inner[:-1] &= mask[1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :-1] &= mask[:, 1:]
    return mask & ~inner


def _tint(
    drawn: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Rgb, opacity: float, edged: bool
) -> None:
    mixed = drawn[mask] * (1 - opacity) + np.array(colour) * opacity
    drawn[mask] = np.rint(mixed).astype(np.uint8)
    if edged:
        drawn[_edge(mask)] = colour


def _draw_boxes(
    picture: Image.Image, labels: ImageLabels, instance: int, window: WindowXYXY, classes: ClassMap
) -> None:
    """The outlines of rotated boxes; of the instance's own horizontal box where there are none."""
    x1, y1, x2, y2 = window
    scale = _SIDE_PX / max(x2 - x1, y2 - y1)
    pen = ImageDraw.Draw(picture)
    if labels.rboxes is None or labels.rbox_labels is None:
        assert labels.boxes is not None
        left, top, right, bottom = labels.boxes[instance].tolist()
        corners = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        _stroke(pen, (corners - (x1, y1)) * scale, (255, 255, 255))
        return
    rboxes = torch.from_numpy(labels.rboxes.astype(np.float64))
    for i in _near(enclosing_boxes(rboxes).numpy().astype(np.float32), window):
        corners = (quads_from_rboxes(rboxes[i : i + 1])[0].numpy().reshape(4, 2) - (x1, y1)) * scale
        _stroke(pen, corners, classes.palette[int(labels.rbox_labels[i])])


def _stroke(pen: ImageDraw.ImageDraw, corners: NDArray[np.float64], colour: Rgb) -> None:
    """A closed line with a dark rim, to be seen on any ground."""
    points = [(float(x), float(y)) for x, y in [*corners, corners[0]]]
    pen.line(points, fill=(0, 0, 0), width=4, joint="curve")
    pen.line(points, fill=colour, width=2, joint="curve")
