"""What a model is built from: its encoder, its decoders' widths, and what it knows of sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from geomtp.decoders.light import Light
from geomtp.decoders.siamese_unet import CHANNELS
from geomtp.types import IMAGENET_MEAN, IMAGENET_STD, TASKS, ClassMap

DETECTORS = ("faster_rcnn", "retinanet")
"""The decoders of horizontal boxes."""


@dataclass(frozen=True)
class SourceConfig:
    """What a model knows of a source: classes, tasks, and how its images are normalised.

    - mean and std: per channel, in the units of the image files (0…255 for 8 bits), of both dates
    - light: what brings the second date to the light of the first; None where they have the same
    """

    classes: ClassMap
    tasks: tuple[str, ...] = TASKS
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    light: Light | None = None

    def in_light_of_first(self, images_after: Tensor) -> Tensor:
        """Normalised images (B, C, H, W) of the second date in the light of the first."""
        if self.light is None:
            return images_after
        return self.light.applied(images_after, self.mean, self.std)


@dataclass(frozen=True)
class ModelConfig:
    """All that is needed to build a model again; stored beside its weights.

    - encoder: a name that ``create_encoder`` knows, with its ``encoder_options``
    - sources: by name, in order; official files number them from 1
    - semantic_channels, detector_channels, fc_channels: widths of the decoders
    - detector: of horizontal boxes, one of ``DETECTORS``
    - change_channels: widths of the blocks of the change decoder, the coarsest first
    - proposals, rois: how many proposals of an image are looked at per level and kept, and how
      many regions of it a step trains on; None: as the reference (2000 or 1000, and 512)
    - anchor_scale: side of the smallest anchors, in cells of 4 px
    - rotated_looks: how often the rotated detector corrects a box when predicting
    - reference_box_targets: the reference's mistake in instance box regression (quirk 16)
    - reference_statistics: batch norms share their running statistics over all sources
    - reference_initialisation: feature pyramids of new detectors start as large as the reference's
    """

    encoder: str
    image_size: int
    sources: Mapping[str, SourceConfig]
    in_channels: int = 3
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    semantic_channels: int = 256
    detector_channels: int = 256
    fc_channels: int = 1024
    detector: str = "faster_rcnn"
    change_channels: tuple[int, ...] = CHANNELS
    proposals: int | None = None
    rois: int | None = None
    anchor_scale: float = 8.0
    rotated_looks: int = 1
    reference_box_targets: bool = False
    reference_statistics: bool = False
    reference_initialisation: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of ``to_json``."""
        sources = {
            name: SourceConfig(
                classes=ClassMap(
                    tuple(source["classes"]["names"]),
                    tuple((int(r), int(g), int(b)) for r, g, b in source["classes"]["palette"]),
                ),
                tasks=tuple(source["tasks"]),
                mean=tuple(source["mean"]),
                std=tuple(source["std"]),
                light=_light(source.get("light")),
            )
            for name, source in values["sources"].items()
        }
        widths = tuple(values.get("change_channels", CHANNELS))
        return ModelConfig(**{**values, "sources": sources, "change_channels": widths})


def _light(values: Mapping[str, Any] | None) -> Light | None:
    return None if values is None else Light(tuple(values["gain"]), tuple(values["offset"]))
