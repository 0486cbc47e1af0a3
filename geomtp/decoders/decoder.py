"""What every decoder is: a trunk shared by all sources and one classifier per source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets


class Decoder(nn.Module, ABC):
    """Turns a feature pyramid into the losses or the predictions of one task.

    - trunk: what all sources share; reusing a pretrained decoder is loading these weights
    - classifiers: one module per source, by its name; a source that isn't in it lacks this task
    """

    trunk: nn.Module
    classifiers: nn.ModuleDict

    @abstractmethod
    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """Named scalar losses of one batch of ``source``, finite and differentiable.

        Images whose targets lack this task add nothing; if none has it the losses are zero.
        """

    @abstractmethod
    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Predictions of each image, in pixels of the image, or of ``output_sizes_hw`` if given."""

    @abstractmethod
    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our state-dict keys and the official ones; sources are numbered from 1 there."""


def check_source(source: str, classifiers: nn.ModuleDict) -> None:
    """Raise ValueError when ``source`` has no classifier."""
    if source not in classifiers:
        known = ", ".join(classifiers)
        raise ValueError(f"no classifier for the source {source!r}; this decoder knows: {known}")


def select_images(pyramid: FeaturePyramid, chosen: Sequence[int]) -> FeaturePyramid:
    """The pyramid of the ``chosen`` images of the batch, in that order."""
    if list(chosen) == list(range(len(pyramid.levels[0]))):
        return pyramid
    return FeaturePyramid(tuple(level[list(chosen)] for level in pyramid.levels), pyramid.strides)
