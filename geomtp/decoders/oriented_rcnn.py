"""Rotated detection: Oriented R-CNN (Xie et al. 2021, arXiv 2108.05699)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from geomtp.decoders.detection.coders import MidpointOffsetCoder, RotatedCoder
from geomtp.decoders.detection.rois import (
    ROI_SAMPLER,
    RegionClassifier,
    SampledRois,
    as_rois,
    class_loss,
    pool_rotated,
    region_count,
)
from geomtp.decoders.detection.rpn import RPN_SAMPLER, ProposalRules
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import (
    BOX_CELLS,
    Matching,
    TwoStageDecoder,
    TwoStageTrunk,
)
from geomtp.decoders.official import official_detector_key
from geomtp.geometry import rotated_iou, rotated_nms
from geomtp.geometry.rotated_boxes import rescale
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

ROI_CODER = RotatedCoder()
PROPOSALS = ProposalRules(per_level_train=2000, per_level_test=2000, nms_iou=0.8, per_image=2000)


def _overlaps(objects: Tensor, boxes: Tensor) -> Tensor:
    """Rotated IoU (G, N); sides below a thousandth of a pixel count as that, as the reference."""
    return rotated_iou(_with_area(objects), _with_area(boxes))


def _with_area(rboxes: Tensor) -> Tensor:
    return torch.cat([rboxes[:, :2], rboxes[:, 2:4].clamp(min=1e-3), rboxes[:, 4:]], dim=-1)


class OrientedRCNN(TwoStageDecoder):
    """Rotated boxes and classes of objects; the parameters are those of ``MaskRCNN``.

    - looks: how often each region is classified and corrected when predicting. The second look is
      at the box that the first one found, and its scores count: proposals need not be good
      (iterative regression, Cascade R-CNN, arXiv 1712.00726). 1 as the reference.
    """

    matching = Matching(columns=5, overlaps=_overlaps, low_quality=None)

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: Mapping[str, int],
        channels: int = 256,
        fc_channels: int = 1024,
        score_threshold: float = 0.05,
        nms_iou: float = 0.1,
        max_detections: int = 2000,
        looks: int = 1,
        proposals: ProposalRules = PROPOSALS,
        rpn_sampler: Sampler = RPN_SAMPLER,
        roi_sampler: Sampler = ROI_SAMPLER,
    ) -> None:
        if looks < 1:
            raise ValueError(f"looks must be at least 1, found {looks}")
        trunk = TwoStageTrunk(
            in_channels,
            channels,
            fc_channels,
            coder=MidpointOffsetCoder(),
            box_loss=_smooth_l1,
            only_inside=True,
            proposals=proposals,
            sampler=rpn_sampler,
        )
        super().__init__(
            trunk,
            num_classes,
            lambda count: RegionClassifier(fc_channels, count, ROI_CODER.size),
            roi_sampler=roi_sampler,
            score_threshold=score_threshold,
            nms_iou=nms_iou,
            max_detections=max_detections,
        )
        self.looks = looks

    def _objects(self, target: Targets) -> tuple[Tensor, Tensor] | None:
        if target.rboxes is None or target.rbox_labels is None:
            return None
        return target.rboxes, target.rbox_labels

    def _region_losses(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        matched: Tensor,
        targets: Sequence[Targets],
        source: str,
    ) -> dict[str, Tensor]:
        logits, deltas = self._classified(pyramid, as_rois(rois.boxes, rois.image), source)
        target = ROI_CODER.encode(rois.boxes[rois.positives], matched)
        total = F.smooth_l1_loss(deltas[rois.positives], target, reduction="sum", beta=1.0)
        return {"class": class_loss(logits, rois.labels), "box": total / region_count(logits)}

    def _classified(
        self, pyramid: FeaturePyramid, rois: Tensor, source: str
    ) -> tuple[Tensor, Tensor]:
        """Class logits (R, K + 1) and corrections (R, 5) of ``rois`` (R, 6)."""
        features = self.trunk.box_head(pool_rotated(pyramid, rois, BOX_CELLS))
        logits, deltas = self.classifiers[source](features)
        return logits.float(), deltas.float()

    def _predict_image(
        self,
        pyramid: FeaturePyramid,
        proposals: Tensor,
        size_hw: SizeHW,
        source: str,
        output_hw: SizeHW,
    ) -> Predictions:
        boxes, scores = self._looked_at(pyramid, proposals, size_hw, source)
        for _ in range(self.looks - 1):
            boxes = boxes[(scores > self.score_threshold).any(dim=-1)]
            boxes, scores = self._looked_at(pyramid, boxes, size_hw, source)
        region, label = torch.nonzero(scores > self.score_threshold, as_tuple=True)
        boxes, scores = boxes[region], scores[region, label]
        kept = rotated_nms(boxes, scores, self.nms_iou, label)[: self.max_detections]
        scale_xy = (output_hw[1] / size_hw[1], output_hw[0] / size_hw[0])
        boxes = boxes[kept] if output_hw == size_hw else rescale(boxes[kept], scale_xy)
        return Predictions(rboxes=boxes, rbox_scores=scores[kept], rbox_labels=label[kept])

    def _looked_at(
        self, pyramid: FeaturePyramid, boxes: Tensor, size_hw: SizeHW, source: str
    ) -> tuple[Tensor, Tensor]:
        """The boxes (N, 5) of one image corrected, and their scores (N, K), 0…1."""
        image = torch.zeros(len(boxes), device=boxes.device)
        logits, deltas = self._classified(pyramid, as_rois(boxes, image), source)
        return ROI_CODER.decode(boxes, deltas, size_hw), logits.softmax(dim=-1)[:, :-1]

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of the pretraining framework."""
        parts = {"fc_cls": "rotdetroiboxhead_fc_cls", "fc_reg": "rotdetroiboxhead_fc_reg"}
        return {
            key: official_detector_key(key, "rotdetdecoder", parts, source_numbers)
            for key in self.state_dict()
        }


def _smooth_l1(predicted: Tensor, target: Tensor) -> Tensor:
    return F.smooth_l1_loss(predicted, target, reduction="none", beta=1 / 9)
