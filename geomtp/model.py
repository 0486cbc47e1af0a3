"""Where an encoder meets its decoders: one model for many tasks and many sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.checkpoints import (
    FitsOfficialTensors,
    HasOfficialKeys,
    read_weights,
    save_weights,
)
from geomtp.decoders import oriented_rcnn
from geomtp.decoders.decoder import Decoder
from geomtp.decoders.detection import horizontal_rcnn
from geomtp.decoders.detection.rois import ROI_SAMPLER
from geomtp.decoders.detection.rpn import ProposalRules
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import TwoStageDecoder
from geomtp.decoders.early_gradients import PartialLoss, summed_loss
from geomtp.decoders.faster_rcnn import FasterRCNN
from geomtp.decoders.light import Light
from geomtp.decoders.linear import LinearClassifier
from geomtp.decoders.mask_rcnn import MaskRCNN
from geomtp.decoders.oriented_rcnn import OrientedRCNN
from geomtp.decoders.retinanet import RetinaNet
from geomtp.decoders.siamese_unet import CHANNELS, SiameseUNet
from geomtp.decoders.upernet import UperNet
from geomtp.encoders.encoder import Encoder
from geomtp.encoders.presets import create_encoder
from geomtp.types import (
    BOX_TASKS,
    TASKS,
    Batch,
    ClassMap,
    FeaturePyramid,
    Predictions,
    SizeHW,
)

SIZE_DIVISOR = 32

DETECTORS = ("faster_rcnn", "retinanet")
"""The decoders of horizontal boxes."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


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


class MultiTaskModel(nn.Module):
    """One encoder, one decoder per task; each decoder has one classifier per source.

    - decoders: by task name
    - config: what the model was built from, where it was built by ``build_model``
    """

    def __init__(
        self,
        encoder: Encoder,
        decoders: Mapping[str, Decoder],
        config: ModelConfig | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoders = nn.ModuleDict(decoders)
        self.config = config

    def loss(self, batches: Mapping[str, Batch]) -> dict[str, Tensor]:
        """Scalar losses named ``task/loss/source``, after one pass of all images of all sources."""
        images, starts = self._concatenated(batches)
        pyramid = self.encoder(images)
        losses: dict[str, Tensor] = {}
        for source in batches:
            for task in self.tasks_of(source):
                part = pyramid.of_images(*self._span(task, starts[source], batches[source]))
                losses |= self._decoder_losses(task, part, batches[source])
        return losses

    def total_loss(
        self,
        batches: Mapping[str, Batch],
        weights: Mapping[str, float] | None = None,
        log_variances: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of all losses, to train on, and each loss by name, without gradient.

        The same numbers and gradients as from ``loss``, in much less memory: each decoder's
        activations are gone when the next begins (``early_gradients``).

        - weights: factor by ``task/loss/source``, ``task/loss`` or ``task`` (the longest counts); 1
          where nothing is said
        - log_variances: scalars s by ``task/source``: what these two add, L, then counts as
          exp(−s)·L + s, and s gets its gradient too
        """
        images, starts = self._concatenated(batches)
        losses: dict[str, Tensor] = {}

        def partial(task: str, source: str) -> PartialLoss:
            def loss(pyramid: FeaturePyramid) -> Tensor:
                found = self._decoder_losses(task, pyramid, batches[source])
                losses.update({name: value.detach() for name, value in found.items()})
                weighed = torch.stack(
                    [value * loss_weight(name, weights or {}) for name, value in found.items()]
                ).sum()
                if log_variances is None:
                    return weighed
                log_variance = log_variances[f"{task}/{source}"]
                return weighed * torch.exp(-log_variance) + log_variance

            return PartialLoss(*self._span(task, starts[source], batches[source]), loss)

        parts = [partial(task, source) for source in batches for task in self.tasks_of(source)]
        parameters = [*self.decoders.parameters(), *(log_variances or {}).values()]
        total = summed_loss(self.encoder(images), parts, parameters)
        return total, losses

    def _decoder_losses(
        self, task: str, pyramid: FeaturePyramid, batch: Batch
    ) -> dict[str, Tensor]:
        decoder = self._decoder(task)
        found = decoder.loss(pyramid, batch.targets, batch.image_sizes_hw, batch.source)
        return {f"{task}/{name}/{batch.source}": value for name, value in found.items()}

    def _concatenated(self, batches: Mapping[str, Batch]) -> tuple[Tensor, dict[str, int]]:
        """All images in one tensor of the largest size, and where each source's images start.

        A source's images of the second date follow those of the first, where a decoder needs them.
        """
        if not batches:
            raise ValueError("a step needs the batch of at least one source")
        heights, widths = zip(*(batch.images.shape[-2:] for batch in batches.values()), strict=True)
        size_hw = _multiple_of((max(heights), max(widths)))
        starts, parts, start = {}, [], 0
        for source, batch in batches.items():
            starts[source] = start
            for images in self._dates(source, batch.images, batch.images_after):
                parts.append(_padded(images, size_hw))
                start += len(images)
        return torch.cat(parts), starts

    def _dates(self, source: str, images: Tensor, images_after: Tensor | None) -> list[Tensor]:
        """The images that the decoders of ``source`` need, by date."""
        if max(self._decoder(task).dates for task in self.tasks_of(source)) == 1:
            return [images]
        if images_after is None:
            raise ValueError(f"the images of {source} need those of a second date to show change")
        if self.config is None:
            return [images, images_after]
        return [images, self.config.sources[source].in_light_of_first(images_after)]

    def _span(self, task: str, start: int, batch: Batch) -> tuple[int, int]:
        """The first and the last + 1 of the images of ``batch`` that a decoder looks at."""
        return start, start + self._decoder(task).dates * len(batch.images)

    def _decoder(self, task: str) -> Decoder:
        return cast(Decoder, self.decoders[task])

    def tasks_of(self, source: str) -> list[str]:
        """The tasks that have a classifier for ``source``. Raises ValueError if there is none."""
        known = {task: self._decoder(task).classifiers for task in self.decoders}
        tasks = [task for task, classifiers in known.items() if source in classifiers]
        if not tasks:
            names = sorted({name for classifiers in known.values() for name in classifiers})
            raise ValueError(f"the model knows no source {source!r}; known: {', '.join(names)}")
        return tasks

    @torch.no_grad()
    def predict(
        self,
        images: Tensor,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
        images_after: Tensor | None = None,
    ) -> list[Predictions]:
        """Predictions of all tasks of ``source`` for normalised images (B, C, H, W).

        In pixels of each image, or of ``output_sizes_hw`` where given. ``images_after``: those of
        the second date, for change. Raises ValueError when they are needed and missing.
        """
        dates = torch.cat(self._dates(source, images, images_after))
        pyramid = self.encoder(_padded(dates, _multiple_of(images.shape[-2:])))
        parts = []
        for task in self.tasks_of(source):
            decoder = self._decoder(task)
            own = pyramid.of_images(0, decoder.dates * len(images))
            parts.append(decoder.predict(own, image_sizes_hw, source, output_sizes_hw))
        return [Predictions.joined(image_parts) for image_parts in zip(*parts, strict=True)]

    def official_keys(self) -> dict[str, str]:
        """Our state-dict keys and those of the reference.

        They are those of its pretraining framework, or of a fine-tuned model where there is no
        decoder of pretraining.
        """
        if not isinstance(self.encoder, HasOfficialKeys):
            raise ValueError(f"{type(self.encoder).__name__} has no official counterpart")
        names = {name: None for task in self.decoders for name in self._decoder(task).classifiers}
        order = list(self.config.sources) if self.config else list(names)
        numbers = {source: index + 1 for index, source in enumerate(order)}
        own = self.encoder.official_keys()
        prefix = "encoder" if any(task in TASKS for task in self.decoders) else "backbone"
        keys = {f"encoder.{ours}": f"{prefix}.{theirs}" for ours, theirs in own.items()}
        for task in self.decoders:
            for ours, theirs in self._decoder(task).official_keys(numbers).items():
                keys[f"decoders.{task}.{ours}"] = theirs
        return keys

    def fit_official(self, key: str, tensor: Tensor) -> Tensor:
        """``tensor``, resized where the encoder's tables are of another size."""
        part, _, name = key.partition(".")
        if part == "encoder" and isinstance(self.encoder, FitsOfficialTensors):
            return self.encoder.fit_official(name, tensor)
        return tensor


def build_model(config: ModelConfig) -> MultiTaskModel:
    """A freshly initialised model of ``config``; only tasks that some source has get a decoder."""
    for name, source in config.sources.items():
        if all(task in source.tasks for task in BOX_TASKS):
            raise ValueError(f"{name} cannot train both {' and '.join(BOX_TASKS)}: one gives boxes")
    encoder = create_encoder(
        config.encoder,
        image_size=config.image_size,
        in_channels=config.in_channels,
        **config.encoder_options,
    )

    def classes_of(task: str) -> dict[str, int]:
        return {n: len(s.classes) for n, s in config.sources.items() if task in s.tasks}

    decoders: dict[str, Decoder] = {}
    if num_classes := classes_of("semantic"):
        decoders["semantic"] = UperNet(
            in_channels=encoder.out_channels,
            num_classes=num_classes,
            channels=config.semantic_channels,
            reference_statistics=config.reference_statistics,
        )
    if num_classes := classes_of("instance"):
        decoders["instance"] = MaskRCNN(
            in_channels=encoder.out_channels,
            num_classes=num_classes,
            channels=config.detector_channels,
            fc_channels=config.fc_channels,
            proposals=_proposals(horizontal_rcnn.PROPOSALS, config),
            roi_sampler=_sampler(config.rois),
            reference_box_targets=config.reference_box_targets,
        )
    if num_classes := classes_of("rotated"):
        decoders["rotated"] = OrientedRCNN(
            in_channels=encoder.out_channels,
            num_classes=num_classes,
            channels=config.detector_channels,
            fc_channels=config.fc_channels,
            looks=config.rotated_looks,
            proposals=_proposals(oriented_rcnn.PROPOSALS, config),
            roi_sampler=_sampler(config.rois),
        )
    if num_classes := classes_of("horizontal"):
        decoders["horizontal"] = _horizontal(config, encoder.out_channels, num_classes)
    if num_classes := classes_of("scene"):
        decoders["scene"] = LinearClassifier(
            in_channels=encoder.out_channels, num_classes=num_classes
        )
    if sources := list(classes_of("change")):
        decoders["change"] = SiameseUNet(
            in_channels=encoder.out_channels, sources=sources, channels=config.change_channels
        )
    for decoder in decoders.values():
        if config.reference_initialisation and isinstance(decoder, TwoStageDecoder):
            decoder.trunk.neck.start_as_reference()
    return MultiTaskModel(encoder, decoders, config)


def _horizontal(
    config: ModelConfig, in_channels: tuple[int, ...], num_classes: Mapping[str, int]
) -> Decoder:
    """The detector of horizontal boxes. Raises ValueError for a name that is none."""
    if config.detector not in DETECTORS:
        raise ValueError(f"unknown detector {config.detector!r}; known: {', '.join(DETECTORS)}")
    if config.detector == "retinanet":
        return RetinaNet(
            in_channels=in_channels,
            num_classes=num_classes,
            channels=config.detector_channels,
            anchor_scale=config.anchor_scale / 2,  # its finest cells are twice as wide
        )
    return FasterRCNN(
        in_channels=in_channels,
        num_classes=num_classes,
        channels=config.detector_channels,
        fc_channels=config.fc_channels,
        proposals=_proposals(horizontal_rcnn.PROPOSALS, config),
        roi_sampler=_sampler(config.rois),
    )


def _proposals(rules: ProposalRules, config: ModelConfig) -> ProposalRules:
    rules = dataclasses.replace(rules, anchor_scale=config.anchor_scale)
    if config.proposals is None:
        return rules
    names = ("per_level_train", "per_level_test", "per_image")
    return dataclasses.replace(rules, **dict.fromkeys(names, config.proposals))


def _sampler(count: int | None) -> Sampler:
    return ROI_SAMPLER if count is None else Sampler(count, ROI_SAMPLER.positive_fraction)


def save(model: MultiTaskModel, path: str | Path) -> None:
    """Write ``model`` to ``path`` (.safetensors) and its description beside it (.json).

    Raises ValueError when the model was not built from a ModelConfig, OSError when the disk is
    full: the previous file then stays as it was.
    """
    if model.config is None:
        raise ValueError("only a model made by build_model can be saved: it has no config")
    save_weights(model.state_dict(), path, {"kind": "model", "model": model.config.to_json()})


def load(path: str | Path) -> MultiTaskModel:
    """The model that ``save`` wrote to ``path``, in evaluation mode.

    Raises FileNotFoundError, or ValueError when the file holds something else.
    """
    weights, info = read_weights(path)
    if info.get("kind") != "model":
        kind = info.get("kind", "unknown")
        raise ValueError(f"{path} holds no whole model (kind: {kind}); load it as weights instead")
    try:
        model = build_model(_all_in_the_file(ModelConfig.from_json(info["model"])))
        model.load_state_dict(weights)
    except (AttributeError, KeyError, RuntimeError, TypeError) as error:  # of a stranger's JSON
        raise ValueError(
            f"{path} describes a model that this geomtp cannot build ({str(error)[:200]}); was it "
            f"written by a newer one?"
        ) from error
    return model.eval()


def _all_in_the_file(config: ModelConfig) -> ModelConfig:
    """``config`` without the download of weights that the file holds anyway."""
    options = {name: v for name, v in config.encoder_options.items() if name != "download"}
    return dataclasses.replace(config, encoder_options=options)


def loss_weight(name: str, weights: Mapping[str, float]) -> float:
    """The weight of the loss ``task/loss/source``: that of its longest prefix in ``weights``."""
    parts = name.split("/")
    prefixes = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    return next((weights[prefix] for prefix in prefixes if prefix in weights), 1.0)


def _multiple_of(size_hw: Sequence[int]) -> SizeHW:
    height, width = (-(-side // SIZE_DIVISOR) * SIZE_DIVISOR for side in size_hw)
    return height, width


def _padded(images: Tensor, size_hw: SizeHW) -> Tensor:
    below, right = size_hw[0] - images.shape[-2], size_hw[1] - images.shape[-1]
    return F.pad(images, (0, right, 0, below)) if below or right else images
