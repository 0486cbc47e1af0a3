"""The light of two dates: values of the second brought to those of the first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

Statistics = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel."""


@dataclass(frozen=True)
class Light:
    """What makes of a value of the second date one of the first: gain · value + offset.

    - gain, offset: per channel; offset in the units of the image files

    Raises ValueError when they differ in length or a gain is not positive.
    """

    gain: tuple[float, ...]
    offset: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.gain) != len(self.offset) or not all(value > 0 for value in self.gain):
            raise ValueError(
                f"a light has a positive gain and an offset per channel, got {self.gain} and "
                f"{self.offset}"
            )

    @staticmethod
    def between(first: Statistics, second: Statistics) -> Light:
        """The light that gives images of statistics ``second`` those of ``first``."""
        gain = [a / b for a, b in zip(first[1], second[1], strict=True)]
        offset = [a - g * b for a, g, b in zip(first[0], gain, second[0], strict=True)]
        return Light(tuple(round(g, 4) for g in gain), tuple(round(o, 4) for o in offset))

    def applied(self, images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        """``images`` (B, C, H, W) of the second date, normalised by ``mean`` and ``std``, in the
        light of the first, normalised by the same.
        """
        gain, offset, middle, unit = (
            torch.tensor(part, device=images.device, dtype=images.dtype)[:, None, None]
            for part in (self.gain, self.offset, mean, std)
        )
        return images * gain + ((gain - 1) * middle + offset) / unit

    def becomes_mean(self, mean: tuple[float, ...], std: tuple[float, ...]) -> tuple[float, ...]:
        """The normalised value per channel that ``applied`` makes the mean, 0: that of padding."""
        parts = zip(self.gain, self.offset, mean, std, strict=True)
        return tuple(-((g - 1) * m + offset) / (s * g) for g, offset, m, s in parts)

    def __str__(self) -> str:
        gains, offsets = (
            ", ".join(f"{value:.3g}" for value in part) for part in (self.gain, self.offset)
        )
        return f"gain {gains}; offset {offsets}"
