"""A model from its configuration: the one place where decoders are chosen and sized."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from geomtp.decoders import oriented_rcnn
from geomtp.decoders.decoder import Decoder
from geomtp.decoders.detection import horizontal_rcnn
from geomtp.decoders.detection.rois import ROI_SAMPLER
from geomtp.decoders.detection.rpn import ProposalRules
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import TwoStageDecoder
from geomtp.decoders.faster_rcnn import FasterRCNN
from geomtp.decoders.linear import LinearClassifier
from geomtp.decoders.mask_rcnn import MaskRCNN
from geomtp.decoders.oriented_rcnn import OrientedRCNN
from geomtp.decoders.retinanet import RetinaNet
from geomtp.decoders.siamese_unet import SiameseUNet
from geomtp.decoders.upernet import UperNet
from geomtp.encoders.presets import create_encoder
from geomtp.model.config import DETECTORS, ModelConfig
from geomtp.model.multi_task import MultiTaskModel
from geomtp.types import BOX_TASKS


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
