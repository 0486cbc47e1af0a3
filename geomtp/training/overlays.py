"""Labels drawn over an image, pixel by pixel: semantic maps, instances and rotated boxes.

Coordinates are those of the image that is drawn on. Outlines lie inside their box: a box from
x 10 to 20 colours the pixel columns 10 and 19. Boxes that are not finite, as an untrained model may
predict them, are left out.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from geomtp.geometry import enclosing_boxes
from geomtp.types import IGNORE, ClassMap, Rgb

Picture = NDArray[np.uint8]
"""(H, W, 3), RGB."""

MOST_LABELLED = 12
"""Names are written beside objects only when there are no more than this."""

_FILL = 0.45
_LARGE_PX = 256  # smaller images have thin lines, and no room for writing
_TEXT_PX = 13
_HATCH_PX = 8


def draw_semantic(image: Picture, semantic: Tensor, classes: ClassMap) -> Picture:
    """The image with each class's area tinted and edged in its colour: (H, W, 3) uint8.

    Background stays as it is; pixels that do not count (255) are darkened and hatched.

    Args:
        image: (H, W, 3) uint8.
        semantic: (H, W) uint8; 0 background, k+1 for class k, 255 ignore.
        classes: names and colours.

    Raises:
        ValueError: the map is of another size than the image.
    """
    _require_size(image, semantic)
    ids = semantic.detach().cpu().numpy()
    colours = np.zeros((256, 3), dtype=np.float32)
    opacity = np.zeros(256, dtype=np.float32)
    colours[1 : len(classes) + 1] = np.array(classes.palette, dtype=np.float32).reshape(-1, 3)
    opacity[1 : len(classes) + 1] = _FILL
    weight = opacity[ids]
    weight[_inner_edge(ids) & (weight > 0)] = 1
    drawn = _blend(image, colours[ids], weight)
    rows, columns = np.arange(ids.shape[0])[:, None], np.arange(ids.shape[1])
    hatched = np.where((rows + columns) % _HATCH_PX < 2, 0.5, 0.0)  # grey stripes on half the light
    return np.where((ids == IGNORE)[..., None], _blend(image // 2, (160, 160, 160), hatched), drawn)


def draw_instances(
    image: Picture,
    boxes: Tensor,
    masks: Tensor | None,
    labels: Tensor,
    scores: Tensor | None,
    classes: ClassMap,
) -> Picture:
    """The image with a tinted, edged mask and a box per object: (H, W, 3) uint8.

    The last objects are drawn first, so that the surest, which come first, lie on top.

    Args:
        image: (H, W, 3) uint8.
        boxes: (N, 4), x1 y1 x2 y2 pixels.
        masks: (N, H, W) bool, or None for boxes alone.
        labels: (N,) class ids 0…K−1.
        scores: (N,) 0…1, written beside the names, or None.
        classes: names and colours.

    Raises:
        ValueError: the masks are of another size than the image.
    """
    drawn = image.copy()
    for mask, label in reversed(list(zip([] if masks is None else masks, labels, strict=False))):
        _require_size(image, mask)
        _tint(drawn, mask.detach().cpu().numpy().astype(bool), classes.palette[int(label)])
    corner, opposite = boxes.detach().cpu().float().split(2, dim=1)
    centred = torch.cat([(corner + opposite) / 2, opposite - corner, 0 * corner[:, :1]], dim=1)
    for rbox, label in reversed(list(zip(centred.tolist(), labels.tolist(), strict=True))):
        _stroke(drawn, rbox, classes.palette[label], 1)
    return _write_labels(drawn, torch.cat([corner, opposite], dim=1), labels, scores, classes)


def draw_rotated(
    image: Picture, rboxes: Tensor, labels: Tensor, scores: Tensor | None, classes: ClassMap
) -> Picture:
    """The image with the outline of each rotated box: (H, W, 3) uint8.

    A tick that stands on one edge shows where the angle points to: the end of the longer side.
    The last objects are drawn first, so that the surest, which come first, lie on top.

    Args:
        image: (H, W, 3) uint8.
        rboxes: (M, 5), cx cy w h pixels, angle radians (le90).
        labels: (M,) class ids 0…K−1.
        scores: (M,) 0…1, written beside the names, or None.
        classes: names and colours.
    """
    rboxes = rboxes.detach().cpu().float()
    thick = 2 if max(image.shape) >= _LARGE_PX else 1
    drawn = image.copy()
    for rbox, label in reversed(list(zip(rboxes.tolist(), labels.tolist(), strict=True))):
        small = min(rbox[2], rbox[3]) < 6 * thick  # a full stroke would hide what it frames
        line = 1 if small else thick
        _stroke(drawn, rbox, classes.palette[label], line, tick_px=3 * line)
    return _write_labels(drawn, enclosing_boxes(rboxes), labels, scores, classes)


def _require_size(image: Picture, label_map: Tensor) -> None:
    if tuple(label_map.shape) != image.shape[:2]:
        raise ValueError(
            f"labels and image must be of one size (H, W): labels {tuple(label_map.shape)}, "
            f"image {image.shape[:2]}"
        )


def _blend(
    image: Picture, colour: Rgb | NDArray[np.float32], weight: NDArray[np.float32]
) -> Picture:
    """``colour`` laid over (H, W, 3) ``image`` with ``weight`` (H, W), 0…1."""
    opacity = weight[..., None]
    mixed = image * (1 - opacity) + np.asarray(colour, dtype=np.float32) * opacity
    return np.rint(mixed).astype(np.uint8)


def _inner_edge(ids: NDArray[np.uint8] | NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of (H, W) with a left, right, upper or lower neighbour of another value."""
    edge = np.zeros(ids.shape, dtype=bool)
    across, down = ids[:, 1:] != ids[:, :-1], ids[1:] != ids[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    return edge


def _tint(drawn: Picture, mask: NDArray[np.bool_], colour: Rgb) -> None:
    """Lay ``colour`` over the pixels of ``mask`` (H, W), in full along its border."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[window]
    edge = _inner_edge(np.pad(inside, 1))[1:-1, 1:-1]
    weight = np.where(inside, np.where(edge, 1, _FILL), 0).astype(np.float32)
    drawn[window] = _blend(drawn[window], colour, weight)


def _stroke(
    drawn: Picture, rbox: list[float], colour: Rgb, thick_px: float, tick_px: float = 0
) -> None:
    """Draw the outline of a rotated box into ``drawn``, smooth, with a dark rim against the ground.

    The signed distance of each pixel's centre to the box decides how much of the pixel is covered,
    which is exact for upright boxes on whole pixels.
    """
    if not np.isfinite(rbox).all():
        return
    height, width = drawn.shape[:2]
    x1, y1, x2, y2 = (enclosing_boxes(torch.tensor([rbox], dtype=torch.float64))[0]).tolist()
    reach = tick_px + 2
    left, right = int(np.clip(x1 - reach, 0, width)), int(np.clip(x2 + reach + 1, 0, width))
    top, bottom = int(np.clip(y1 - reach, 0, height)), int(np.clip(y2 + reach + 1, 0, height))
    cx, cy, w, h, angle = rbox
    dx = np.arange(left, right) + 0.5 - cx
    dy = np.arange(top, bottom)[:, None] + 0.5 - cy
    along = np.cos(angle) * dx + np.sin(angle) * dy
    across = np.abs(np.cos(angle) * dy - np.sin(angle) * dx)
    outside = np.maximum(np.abs(along) - w / 2, across - h / 2)  # < 0 inside
    line = np.maximum(outside, -thick_px - outside)
    if tick_px:
        tick = np.maximum(np.abs(along - (w + tick_px) / 2) - tick_px / 2, across - thick_px / 2)
        line = np.minimum(line, tick)
    window = drawn[top:bottom, left:right]
    rim = 0.4 * np.clip(1.5 - line, 0, 1)
    window[:] = _blend(window, (0, 0, 0), rim)
    window[:] = _blend(window, colour, np.clip(0.5 - line, 0, 1))


def _write_labels(
    drawn: Picture, boxes: Tensor, labels: Tensor, scores: Tensor | None, classes: ClassMap
) -> Picture:
    """Name and score above or below each box, where a place is free; only for few objects."""
    if len(boxes) > MOST_LABELLED or max(drawn.shape) < _LARGE_PX:
        return drawn
    picture = Image.fromarray(drawn)
    pen = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=_TEXT_PX)
    high = _TEXT_PX + 4
    taken: list[tuple[float, float, float, float]] = []
    for i, (x1, y1, _, y2) in enumerate(boxes.tolist()):
        if not np.isfinite([x1, y1, y2]).all():
            continue
        text = classes.names[int(labels[i])]
        if scores is not None:
            text += f" {float(scores[i]):.2f}"
        wide = round(font.getlength(text)) + 6
        x = round(min(max(x1, 0), max(picture.width - wide, 0)))
        places = [
            round(min(max(y, 0), picture.height - high)) for y in (y1 - high, y2, y1, y2 - high)
        ]
        free = [y for y in places if not any(_meet((x, y, x + wide, y + high), t) for t in taken)]
        if not free:
            continue
        y = free[0]
        taken.append((x, y, x + wide, y + high))
        colour = classes.palette[int(labels[i])]
        pen.rectangle((x, y, x + wide - 1, y + high - 1), fill=colour)
        pen.text((x + 3, y + high / 2), text, fill=_ink(colour), font=font, anchor="lm")
    return np.array(picture)


def _meet(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ink(colour: Rgb) -> Rgb:
    """Black or white, whichever is easier to read on ``colour``."""
    red, green, blue = colour
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)
