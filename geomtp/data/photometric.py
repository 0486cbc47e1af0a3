"""Photometric distortion: brightness, contrast, saturation and hue changed at random.

Images are (C, H, W), RGB where C is 3. Saturation and hue are changed in HSV as OpenCV defines it
(8 bits: H 0…180 in steps of two degrees, S and V 0…255; floats: H 0…360, S 0…1, V as the image).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]

_FRACTION_BITS = 12  # of the fixed-point numbers in which OpenCV computes 8-bit HSV


@dataclass(frozen=True)
class PhotometricParameters:
    """One distortion; what is None is left as it is.

    - brightness: grey levels to add (of 255); contrast: factor of all values
    - contrast_first: contrast before saturation and hue, not after them
    - saturation: factor of S; hue: what to add to H, in steps of two degrees
    """

    brightness: float | None = None
    contrast: float | None = None
    contrast_first: bool = True
    saturation: float | None = None
    hue: int | None = None

    @classmethod
    def draw(cls, rng: np.random.Generator) -> PhotometricParameters:
        """Each change with probability one half: brightness ±32, contrast and saturation × 0.5…1.5,
        hue −18…17 (the ranges of the paper's code).
        """
        use = rng.random(4) < 0.5
        contrast_first = bool(rng.random() < 0.5)
        brightness, contrast, saturation = rng.uniform((-32, 0.5, 0.5), (32, 1.5, 1.5)).tolist()
        hue = int(rng.integers(-18, 18))
        return cls(
            brightness if use[0] else None,
            contrast if use[1] else None,
            contrast_first,
            saturation if use[2] else None,
            hue if use[3] else None,
        )


def distort(image: Bytes, parameters: PhotometricParameters) -> Bytes:
    """The distorted image: (C, H, W) uint8. Saturation and hue need three channels (RGB)."""
    p = parameters
    if p.brightness is not None:
        image = _linear(image, 1.0, p.brightness)
    if p.contrast is not None and p.contrast_first:
        image = _linear(image, p.contrast, 0.0)
    if len(image) == 3:
        if p.saturation is not None:
            hue, saturation, value = hsv_from_rgb(image)
            image = rgb_from_hsv(hue, _linear(saturation, p.saturation, 0.0), value)
        if p.hue is not None:
            hue, saturation, value = hsv_from_rgb(image)
            turned = (np.arange(180) + p.hue) % 180
            image = rgb_from_hsv(_looked_up(turned.astype(np.uint8), hue), saturation, value)
    if p.contrast is not None and not p.contrast_first:
        image = _linear(image, p.contrast, 0.0)
    return image


def distort_values(
    image: NDArray[Any],
    parameters: PhotometricParameters,
    grey_level: NDArray[np.float32],
    mean: NDArray[np.float32],
) -> Floats:
    """Brightness and contrast of an image that is no photograph of bytes: (C, H, W) float32.

    ``grey_level`` (C,) is what one of 255 grey levels is in units of each channel; contrast changes
    about ``mean`` (C,), for values may lie in a narrow range far from 0. Nothing is clipped,
    saturation and hue stay as they are.
    """
    p = parameters
    factor = 1.0 if p.contrast is None else p.contrast
    added = np.float32(p.brightness or 0.0) * grey_level[:, None, None]
    middle = mean[:, None, None]
    return ((image + added - middle) * np.float32(factor) + middle).astype(np.float32)


def distort_reference(image: Floats, parameters: PhotometricParameters) -> Floats:
    """What the paper's code does to float images of 0…255, (C, H, W) RGB: (C, H, W) float32.

    It takes them for bytes in HSV: saturation becomes 0 or 1 and hue is folded to 0…180, which
    turns colours into others, until brightness or contrast has made bytes of the image.
    """
    p = parameters
    changed: NDArray[Any] = image
    if p.brightness is not None:
        changed = _to_bytes(changed, 1.0, p.brightness)
    if p.contrast is not None and p.contrast_first:
        changed = _to_bytes(changed, p.contrast, 0.0)
    if len(image) == 3:
        if changed.dtype == np.uint8:
            changed = distort(changed, PhotometricParameters(saturation=p.saturation, hue=p.hue))
        else:
            changed = _distort_float_colours(changed, p)
    if p.contrast is not None and not p.contrast_first:
        changed = _to_bytes(changed, p.contrast, 0.0)
    return changed.astype(np.float32)


def _distort_float_colours(image: Floats, p: PhotometricParameters) -> Floats:
    if p.saturation is not None:
        hue, saturation, value = float_hsv_from_rgb(image)
        image = float_rgb_from_hsv(hue, _to_bytes(saturation, p.saturation, 0.0), value)
    if p.hue is not None:
        hue, saturation, value = float_hsv_from_rgb(image)
        image = float_rgb_from_hsv((hue.astype(np.int64) + p.hue) % 180, saturation, value)
    return image


def hsv_from_rgb(image: Bytes) -> tuple[Bytes, Bytes, Bytes]:
    """Hue (0…179), saturation and value (0…255) of an image (3, H, W), each (H, W) uint8.

    The fixed-point numbers of OpenCV: equal to it in every value.
    """
    red, green, blue = image
    value = np.maximum(np.maximum(red, green), blue)
    chroma = value - np.minimum(np.minimum(red, green), blue)
    half = 1 << _FRACTION_BITS - 1
    saturation = np.take(_per_unit(255), value) * chroma
    saturation = (saturation + half) >> _FRACTION_BITS
    r, g, b, c = (plane.astype(np.int16) for plane in (red, green, blue, chroma))
    sixth = np.where(
        value == red, g - b, np.where(value == green, b - r + 2 * c, r - g + 4 * c)
    ).astype(np.int32)
    hue = (sixth * np.take(_per_unit(30), chroma) + half) >> _FRACTION_BITS
    hue += np.where(hue < 0, 180, 0)
    return hue.astype(np.uint8), saturation.astype(np.uint8), value


def _per_unit(units: int) -> NDArray[np.int32]:
    """What ``units`` / i is for i in 0…255 as fixed-point numbers; 0 for i = 0."""
    divisors = np.maximum(np.arange(256), 1)
    return (np.rint((units << _FRACTION_BITS) / divisors) * (np.arange(256) > 0)).astype(np.int32)


def rgb_from_hsv(hue: Bytes, saturation: Bytes, value: Bytes) -> Bytes:
    """The image (3, H, W) uint8 of planes as ``hsv_from_rgb`` gives them."""
    image = np.empty((3, *value.shape), dtype=np.uint8)
    brightness = value.astype(np.float32)
    taken = saturation.astype(np.float32) * (brightness * np.float32(1 / 255))
    for channel in range(3):
        share = _lacking(np.arange(180) / 30, channel).astype(np.float32)
        np.rint(brightness - taken * np.take(share, hue), out=image[channel], casting="unsafe")
    return image


def _lacking(sixth: NDArray[Any], channel: int) -> NDArray[Any]:
    """How much (0…1) of the saturation is taken from a channel at a hue in sixths of the circle."""
    place = (sixth + (5, 3, 1)[channel]) % 6
    return np.clip(np.minimum(place, 4 - place), 0, 1)


def float_hsv_from_rgb(image: Floats) -> tuple[Floats, Floats, Floats]:
    """Hue (0…360), saturation (0…1) and value of an image (3, H, W), each (H, W) float32."""
    red, green, blue = image
    value = image.max(axis=0)
    chroma = value - image.min(axis=0)
    tiny = np.finfo(np.float32).eps
    degrees = np.float32(60) / (chroma + tiny)
    hue = np.where(
        value == red,
        (green - blue) * degrees,
        np.where(value == green, (blue - red) * degrees + 120, (red - green) * degrees + 240),
    )
    return np.where(hue < 0, hue + 360, hue), chroma / (np.abs(value) + tiny), value


def float_rgb_from_hsv(
    hue: NDArray[Any], saturation: NDArray[Any], value: NDArray[np.float32]
) -> Floats:
    """The image (3, H, W) float32 of planes as ``float_hsv_from_rgb`` gives them."""
    sixth = hue.astype(np.float32) / np.float32(60)
    planes = [value - value * saturation * _lacking(sixth, channel) for channel in range(3)]
    return np.stack(planes).astype(np.float32)


def _to_bytes(values: NDArray[Any], factor: float, added: float) -> Bytes:
    """The ``values`` · factor + added, cut to 0…255, fractions dropped."""
    changed = values.astype(np.float32) * np.float32(factor) + np.float32(added)
    return np.clip(changed, 0, 255).astype(np.uint8)


def _linear(values: Bytes, factor: float, added: float) -> Bytes:
    """``_to_bytes`` of bytes, by a table."""
    return _looked_up(_to_bytes(np.arange(256), factor, added), values)


def _looked_up(table: Bytes, values: Bytes) -> Bytes:
    """``table[values]``; bytes translate ten times as fast as numpy indexes."""
    padded = table.tobytes().ljust(256, b"\0")
    return np.frombuffer(values.tobytes().translate(padded), np.uint8).reshape(values.shape)
