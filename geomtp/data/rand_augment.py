"""RandAugment and random erasing of 8-bit colour pictures, as the reference classifies scenes.

Cubuk et al. 2020 (arXiv 1909.13719) in the form of timm's "increasing" strengths; Zhong et al. 2020
(arXiv 1708.04896).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps

Picture = Image.Image
Pixels = NDArray[np.uint8]

_FILL = (124, 116, 104)  # ImageNet's mean colour, red first
_NOISE_MEAN = np.array([123.675, 116.28, 103.53])
_NOISE_STD = np.array([58.395, 57.12, 57.375])
_MOST_LEVEL = 10.0
_DRAWS = 10


@dataclass(frozen=True)
class Change:
    """One way to change a picture.

    - apply: called with the picture and the strength
    - weakest, strongest: strength at level 0 and at level 10
    - signed: half of the time the other way round
    """

    apply: Callable[[Picture, float], Picture]
    weakest: float = 0.0
    strongest: float = 0.0
    signed: bool = False

    def strength(self, level: float, rng: np.random.Generator) -> float:
        """The strength at a level of 0…10."""
        value = self.weakest + level / _MOST_LEVEL * (self.strongest - self.weakest)
        return -value if self.signed and rng.random() < 0.5 else value


def _moved(picture: Picture, matrix: tuple[float, float, float, float, float, float]) -> Picture:
    """Each pixel (x, y) is taken from (a·x + b·y + c, d·x + e·y + f)."""
    affine, cubic = Image.Transform.AFFINE, Image.Resampling.BICUBIC
    return picture.transform(picture.size, affine, matrix, resample=cubic, fillcolor=_FILL)


def _sheared_x(picture: Picture, share: float) -> Picture:
    return _moved(picture, (1, share, -share * picture.height / 2, 0, 1, 0))


def _sheared_y(picture: Picture, share: float) -> Picture:
    return _moved(picture, (1, 0, 0, share, 1, -share * picture.width / 2))


def _shifted_x(picture: Picture, share: float) -> Picture:
    return _moved(picture, (1, 0, share * picture.width, 0, 1, 0))


def _shifted_y(picture: Picture, share: float) -> Picture:
    return _moved(picture, (1, 0, 0, 0, 1, share * picture.height))


def _rotated(picture: Picture, degrees: float) -> Picture:
    return picture.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=_FILL)


def _posterised(picture: Picture, bits: float) -> Picture:
    kept = math.ceil(bits)
    table = [value & ~(2 ** (8 - kept) - 1) for value in range(256)]
    return picture.point(table * 3)


def _solarised(picture: Picture, threshold: float) -> Picture:
    return picture.point([v if v < threshold else 255 - v for v in range(256)] * 3)


def _brightened_darks(picture: Picture, added: float) -> Picture:
    return picture.point([min(255, int(v + added)) if v < 128 else v for v in range(256)] * 3)


def _enhanced(kind: Any) -> Callable[[Picture, float], Picture]:
    def apply(picture: Picture, share: float) -> Picture:
        enhanced: Picture = kind(picture).enhance(1 + share)
        return enhanced

    return apply


CHANGES: dict[str, Change] = {
    "autocontrast": Change(lambda picture, _: ImageOps.autocontrast(picture)),
    "equalize": Change(lambda picture, _: ImageOps.equalize(picture)),
    "invert": Change(lambda picture, _: ImageOps.invert(picture)),
    "rotate": Change(_rotated, 0, 30, signed=True),
    "posterize": Change(_posterised, 4, 0),
    "solarize": Change(_solarised, 256, 0),
    "solarize_add": Change(_brightened_darks, 0, 110),
    "color": Change(_enhanced(ImageEnhance.Color), 0, 0.9, signed=True),
    "contrast": Change(_enhanced(ImageEnhance.Contrast), 0, 0.9, signed=True),
    "brightness": Change(_enhanced(ImageEnhance.Brightness), 0, 0.9, signed=True),
    "sharpness": Change(_enhanced(ImageEnhance.Sharpness), 0, 0.9, signed=True),
    "shear_x": Change(_sheared_x, 0, 0.3, signed=True),
    "shear_y": Change(_sheared_y, 0, 0.3, signed=True),
    "translate_x": Change(_shifted_x, 0, 0.45, signed=True),
    "translate_y": Change(_shifted_y, 0, 0.45, signed=True),
}
"""The fifteen changes by name, with their strengths."""


def picture_of(pixels: NDArray[np.float32], dtype: np.dtype[Any]) -> Pixels:
    """(3, H, W) values of a file of bytes as (H, W, 3) bytes. Raises ValueError for other files."""
    if dtype != np.uint8 or len(pixels) != 3:
        raise ValueError(
            f"rand_augment and erase_share are for 8-bit images of three bands, found {dtype} and "
            f"{len(pixels)} bands: leave them out"
        )
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8).transpose(1, 2, 0)


def rand_augment(
    pixels: Pixels, rng: np.random.Generator, *, count: int = 2, level: float = 9.0
) -> Pixels:
    """(H, W, 3) bytes changed by ``count`` of ``CHANGES`` drawn with repetition.

    Each is applied half of the time, at a level drawn from a normal distribution around ``level``
    with deviation 0.5, cut to 0…10.
    """
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    names = list(CHANGES)
    for _ in range(count):
        change = CHANGES[names[rng.integers(len(names))]]
        drawn = float(np.clip(rng.normal(level, 0.5), 0, _MOST_LEVEL))
        strength = change.strength(drawn, rng)
        if rng.random() < 0.5:
            picture = change.apply(picture, strength)
    return np.array(picture)


def erased(pixels: Pixels, rng: np.random.Generator, share: float = 0.25) -> Pixels:
    """(H, W, 3) bytes; in ``share`` of the cases a rectangle of 0.02…1/3 of the area is noise."""
    if rng.random() >= share:
        return pixels
    height, width = pixels.shape[:2]
    for _ in range(_DRAWS):
        area = height * width * rng.uniform(0.02, 1 / 3)
        ratio = math.exp(rng.uniform(math.log(0.3), math.log(1 / 0.3)))
        h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            noise = rng.normal(_NOISE_MEAN, _NOISE_STD, (h, w, 3))
            changed = pixels.copy()
            changed[y : y + h, x : x + w] = np.clip(noise, 0, 255).astype(np.uint8)
            return changed
    return pixels
