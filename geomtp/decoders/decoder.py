"""What every decoder is: a trunk shared by all sources and one classifier per source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.parallel import mean_over_processes
from geomtp.types import IGNORE, FeaturePyramid, Predictions, SizeHW, Targets


class Decoder(nn.Module, ABC):
    """Turns a feature pyramid into the losses or the predictions of one task.

    - trunk: what all sources share; reusing a pretrained decoder is loading these weights
    - classifiers: one module per source, by its name; a source that isn't in it lacks this task
    - dates: how many images of each place it needs. With two, its pyramid holds the images of all
      places at the first date, then those at the second, in the same order
    """

    dates: ClassVar[int] = 1

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

    def fine_tuned_keys(self) -> dict[str, str]:
        """The same for a fine-tuned model of the reference, which knows one source."""
        return self.official_keys({next(iter(self.classifiers)): 1})


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


def canvas_hw(pyramid: FeaturePyramid) -> SizeHW:
    """Height and width of the padded images that ``pyramid`` belongs to."""
    height, width = (side * pyramid.strides[0] for side in pyramid.levels[0].shape[-2:])
    return height, width


def pixel_loss(logits: Tensor, maps: Sequence[Tensor | None], size_hw: SizeHW) -> Tensor:
    """Cross-entropy summed over labelled pixels, divided by all pixels (as the reference).

    ``logits``: (B, K, h, w), enlarged to the label maps, which are those of images padded to
    ``size_hw``.
    """
    labels = _stacked_maps(maps, size_hw).to(logits.device).long()
    logits = F.interpolate(logits.float(), size=labels.shape[-2:], mode="bilinear")
    total = F.cross_entropy(logits, labels, ignore_index=IGNORE, reduction="sum")
    return total / mean_over_processes(total.new_tensor(float(labels.numel())))


def _stacked_maps(maps: Sequence[Tensor | None], size_hw: SizeHW) -> Tensor:
    """Label maps as (B, H, W), unlabelled images all ``IGNORE``.

    Maps of one size are stacked as they are, even where that size isn't the canvas's: the logits
    are then squeezed onto them, which is what the reference does (quirk 17). ``size_hw`` counts
    where no image is labelled.
    """
    known = [label_map for label_map in maps if label_map is not None]
    shape = tuple(known[0].shape) if known else size_hw
    empty = torch.full(shape, IGNORE, dtype=torch.uint8)
    return torch.stack(
        [empty.to(known[0]) if known and m is None else empty if m is None else m for m in maps]
    )


def maps_of_images(
    logits: Tensor,
    padded_hw: SizeHW,
    image_sizes_hw: Sequence[SizeHW],
    output_sizes_hw: Sequence[SizeHW] | None,
) -> list[Tensor]:
    """Logits (B, K, h, w) of a padded batch as one map (K, H, W) per image, without padding."""
    canvas = F.interpolate(logits, size=padded_hw, mode="bilinear")
    maps = []
    for index, size_hw in enumerate(image_sizes_hw):
        image = canvas[index : index + 1, :, : size_hw[0], : size_hw[1]]
        if output_sizes_hw is not None and output_sizes_hw[index] != size_hw:
            image = F.interpolate(image, size=output_sizes_hw[index], mode="bilinear")
        maps.append(image[0])
    return maps
