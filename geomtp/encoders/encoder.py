"""What every encoder is: an image in, a feature pyramid out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.types import FeaturePyramid, SizeHW


class Encoder(nn.Module, ABC):
    """Turns images (B, C, H, W) of any size into a FeaturePyramid, finest level first.

    - out_channels, strides: channels and input pixels per cell of each level
    - num_layers: layers counted for layer-wise learning-rate decay; ``layer_of`` gives 0 for the
      stem and ``num_layers`` for the last block
    """

    out_channels: tuple[int, ...]
    strides: tuple[int, ...]
    num_layers: int

    @abstractmethod
    def forward(self, images: Tensor) -> FeaturePyramid:
        """The feature pyramid of ``images`` (B, C, H, W)."""

    @abstractmethod
    def layer_of(self, parameter_name: str) -> int:
        """The layer, 0…num_layers + 1, that a parameter belongs to (last: what follows the blocks).

        ``parameter_name`` is a name of ``named_parameters()``.
        """

    def undecayed(self) -> set[str]:
        """Names of parameters that weight decay leaves alone, besides vectors and positions."""
        return set()


def check_channels(images: Tensor, in_channels: int) -> None:
    """Raises ValueError where ``images`` are not (B, C, H, W) with C of ``in_channels``."""
    if images.ndim != 4 or images.shape[1] != in_channels:
        raise ValueError(
            f"the encoder was built for images of {in_channels} channels, (B, {in_channels}, H, W);"
            f" found {tuple(images.shape)}; build it with in_channels of the images, or leave out "
            f"channels"
        )


def pad_to_multiple(images: Tensor, multiple: int | SizeHW) -> Tensor:
    """``images`` (B, C, H, W) padded right and bottom with zeros to multiples of ``multiple``."""
    rows, columns = (multiple, multiple) if isinstance(multiple, int) else multiple
    height, width = images.shape[-2:]
    below, right = -height % rows, -width % columns
    if below == 0 and right == 0:
        return images
    return F.pad(images, (0, right, 0, below))
