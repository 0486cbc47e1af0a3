"""What two-stage detectors of horizontal boxes share: all but the masks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.detection.coders import HorizontalCoder
from geomtp.decoders.detection.found_boxes import best_boxes
from geomtp.decoders.detection.rois import (
    ROI_SAMPLER,
    SampledRois,
    as_rois,
    class_loss,
    pool_horizontal,
    region_count,
)
from geomtp.decoders.detection.rpn import RPN_SAMPLER, ProposalRules
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import BOX_CELLS, TwoStageDecoder, TwoStageTrunk
from geomtp.types import FeaturePyramid, SizeHW, Targets

ROI_CODER = HorizontalCoder(stds=(0.1, 0.1, 0.2, 0.2))
PROPOSALS = ProposalRules(per_level_train=2000, per_level_test=1000, nms_iou=0.7, per_image=1000)


class HorizontalRCNN(TwoStageDecoder):
    """A two-stage detector whose regions are horizontal boxes, corrected for each class.

    - num_classes: classes of each source
    - channels, fc_channels: width of the feature pyramid and of the two shared layers
    - score_threshold, nms_iou, max_detections: what is kept of the predictions of an image
    - reference_box_targets: train the boxes of regions towards the constant 1, as the reference's
      Mask R-CNN does by mistake (quirk 16)
    """

    masks: ClassVar[bool]

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: Mapping[str, int],
        channels: int = 256,
        fc_channels: int = 1024,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        proposals: ProposalRules = PROPOSALS,
        rpn_sampler: Sampler = RPN_SAMPLER,
        roi_sampler: Sampler = ROI_SAMPLER,
        reference_box_targets: bool = False,
    ) -> None:
        super().__init__(
            TwoStageTrunk(
                in_channels,
                channels,
                fc_channels,
                coder=HorizontalCoder(),
                box_loss=_l1,
                only_inside=False,
                proposals=proposals,
                sampler=rpn_sampler,
                masks=self.masks,
            ),
            num_classes,
            lambda count: self._classifier(channels, fc_channels, count),
            roi_sampler=roi_sampler,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=max_detections,
        )
        self.reference_box_targets = reference_box_targets
        self._start()

    @abstractmethod
    def _classifier(self, channels: int, fc_channels: int, num_classes: int) -> nn.Module:
        """The layers of one source."""

    @abstractmethod
    def _start(self) -> None:
        """Give the parameters their first values."""

    def _objects(self, target: Targets) -> tuple[Tensor, Tensor] | None:
        if target.boxes is None or target.box_labels is None:
            return None
        return target.boxes, target.box_labels

    def _box_losses(
        self, pyramid: FeaturePyramid, rois: SampledRois, matched: Tensor, source: str
    ) -> dict[str, Tensor]:
        """``class`` and ``box``."""
        logits, deltas = self._classified(pyramid, as_rois(rois.boxes, rois.image), source)
        predicted = deltas[rois.positives, rois.labels[rois.positives]]
        target = ROI_CODER.encode(rois.boxes[rois.positives], matched)
        if self.reference_box_targets:
            target = torch.ones_like(target)
        box = F.l1_loss(predicted, target, reduction="sum") / region_count(logits)
        return {"class": class_loss(logits, rois.labels), "box": box}

    def _classified(
        self, pyramid: FeaturePyramid, rois: Tensor, source: str
    ) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and corrections (R, K, 4) of ``rois`` (R, 5)."""
        features = self.trunk.box_head(pool_horizontal(pyramid, rois, BOX_CELLS))
        logits, deltas = self.classifiers[source](features)
        return logits.float(), deltas.float().unflatten(-1, (-1, 4))

    def _boxes_of_image(
        self, pyramid: FeaturePyramid, proposals: Tensor, size_hw: SizeHW, source: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (N, 4) of one image, scores and labels, by falling score."""
        image = torch.zeros(len(proposals), device=proposals.device)
        logits, deltas = self._classified(pyramid, as_rois(proposals, image), source)
        scores = logits.softmax(dim=-1)[:, :-1]
        candidates = ROI_CODER.decode(proposals[:, None], deltas, size_hw)
        region, label = torch.nonzero(scores > self.score_threshold, as_tuple=True)
        return best_boxes(
            candidates[region, label],
            scores[region, label],
            label,
            nms_iou=self.nms_iou,
            most=self.max_detections,
        )


def _l1(predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted - target).abs()
