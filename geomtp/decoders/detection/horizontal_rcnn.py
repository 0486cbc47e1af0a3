"""What two-stage detectors of horizontal boxes share: all but the masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from geomtp.decoders.detection.coders import HorizontalCoder
from geomtp.decoders.detection.found_boxes import best_boxes
from geomtp.decoders.detection.rois import (
    SampledRois,
    as_rois,
    class_loss,
    pool_horizontal,
    region_count,
)
from geomtp.decoders.detection.rpn import ProposalRules
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import BOX_CELLS, TwoStageDecoder, TwoStageTrunk
from geomtp.types import FeaturePyramid, SizeHW, Targets

ROI_CODER = HorizontalCoder(stds=(0.1, 0.1, 0.2, 0.2))
PROPOSALS = ProposalRules(per_level_train=2000, per_level_test=1000, nms_iou=0.7, per_image=1000)


def horizontal_trunk(
    in_channels: tuple[int, ...],
    channels: int,
    fc_channels: int,
    proposals: ProposalRules,
    sampler: Sampler,
    *,
    masks: bool = False,
) -> TwoStageTrunk:
    """The trunk of a detector of horizontal boxes."""
    return TwoStageTrunk(
        in_channels,
        channels,
        fc_channels,
        coder=HorizontalCoder(),
        box_loss=_l1,
        only_inside=False,
        proposals=proposals,
        sampler=sampler,
        masks=masks,
    )


class HorizontalRCNN(TwoStageDecoder):
    """A two-stage detector whose regions are horizontal boxes, corrected for each class."""

    def _objects(self, target: Targets) -> tuple[Tensor, Tensor] | None:
        if target.boxes is None or target.box_labels is None:
            return None
        return target.boxes, target.box_labels

    def _box_losses(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        matched: Tensor,
        source: str,
        *,
        towards_one: bool = False,
    ) -> dict[str, Tensor]:
        """``class`` and ``box``; ``towards_one``: with 1 for all targets of the boxes."""
        logits, deltas = self._classified(pyramid, as_rois(rois.boxes, rois.image), source)
        predicted = deltas[rois.positives, rois.labels[rois.positives]]
        target = ROI_CODER.encode(rois.boxes[rois.positives], matched)
        if towards_one:
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
