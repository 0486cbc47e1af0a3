"""Instance segmentation: Mask R-CNN (He et al. 2017, arXiv 1703.06870)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.detection.assignment import box_overlaps
from geomtp.decoders.detection.found_boxes import scaled_boxes
from geomtp.decoders.detection.horizontal_rcnn import HorizontalRCNN
from geomtp.decoders.detection.masks import MaskHead, mask_targets, paste_masks
from geomtp.decoders.detection.rois import (
    SampledRois,
    as_rois,
    pool_horizontal,
    region_count,
)
from geomtp.decoders.detection.two_stage import Matching
from geomtp.decoders.official import official_detector_key
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

MASK_CELLS = 14


class MaskRCNN(HorizontalRCNN):
    """Boxes, classes and masks of objects; its settings are those of ``HorizontalRCNN``."""

    matching = Matching(columns=4, overlaps=box_overlaps, low_quality=0.5)
    masks = True

    def _classifier(self, channels: int, fc_channels: int, num_classes: int) -> nn.Module:
        return MaskRCNNClassifier(channels, fc_channels, num_classes)

    def _start(self) -> None:
        """As torch's layers do."""

    def _region_losses(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        matched: Tensor,
        targets: Sequence[Targets],
        source: str,
    ) -> dict[str, Tensor]:
        """``class``, ``box`` and ``mask``."""
        boxes = self._box_losses(pyramid, rois, matched, source)
        return boxes | self._mask_loss(pyramid, rois, targets, source)

    def _mask_loss(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        targets: Sequence[Targets],
        source: str,
    ) -> dict[str, Tensor]:
        """Binary cross-entropy of the object's class, over positives of images with masks."""
        with_masks = [target.masks is not None for target in targets]
        keep = torch.tensor(with_masks, dtype=torch.bool, device=rois.image.device)[
            rois.image[rois.positives]
        ]
        positives, objects = rois.positives[keep], rois.objects[keep]
        image, boxes = rois.image[positives], rois.boxes[positives]
        logits = self._mask_logits(pyramid, as_rois(boxes, image), source)
        logits = logits[torch.arange(len(positives)), rois.labels[positives]]
        wanted = torch.zeros_like(logits)
        for index, target in enumerate(targets):
            here = image == index
            if target.masks is not None and here.any():
                wanted[here] = mask_targets(
                    target.masks, boxes[here], objects[here], logits.shape[-1]
                )
        total = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        return {"mask": total / (region_count(logits) * logits.shape[-1] ** 2)}

    def _mask_logits(self, pyramid: FeaturePyramid, rois: Tensor, source: str) -> Tensor:
        """(R, K, 28, 28) of ``rois`` (R, 5)."""
        head = cast(MaskHead, self.trunk.mask_head)
        features = head(pool_horizontal(pyramid, rois, MASK_CELLS))
        classifier = cast(MaskRCNNClassifier, self.classifiers[source])
        logits: Tensor = classifier.conv_logits(features)
        return logits.float()

    def _predict_image(
        self,
        pyramid: FeaturePyramid,
        proposals: Tensor,
        size_hw: SizeHW,
        source: str,
        output_hw: SizeHW,
    ) -> Predictions:
        boxes, scores, labels = self._boxes_of_image(pyramid, proposals, size_hw, source)
        rois = as_rois(boxes, boxes.new_zeros(len(boxes)))
        masks = self._mask_logits(pyramid, rois, source)[torch.arange(len(boxes)), labels].sigmoid()
        boxes = scaled_boxes(boxes, size_hw, output_hw)
        return Predictions(
            boxes=boxes,
            box_scores=scores,
            box_labels=labels,
            masks=paste_masks(masks, boxes, output_hw),
        )

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of the pretraining framework."""
        parts = {
            "fc_cls": "inssegroiboxhead_fc_cls",
            "fc_reg": "inssegroiboxhead_fc_reg",
            "conv_logits": "inssegroimaskhead_conv",
        }
        return {
            key: official_detector_key(key, "inssegdecoder", parts, source_numbers)
            for key in self.state_dict()
        }


class MaskRCNNClassifier(nn.Module):
    """The layers of one source: classes, corrections and masks, one of each per class."""

    def __init__(self, channels: int, fc_channels: int, num_classes: int) -> None:
        super().__init__()
        self.fc_cls = nn.Linear(fc_channels, num_classes + 1)
        self.fc_reg = nn.Linear(fc_channels, 4 * num_classes)
        self.conv_logits = nn.Conv2d(channels, num_classes, 1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(R, fc_channels) to class logits (R, K + 1), background last, and (R, 4·K)."""
        return self.fc_cls(features), self.fc_reg(features)
