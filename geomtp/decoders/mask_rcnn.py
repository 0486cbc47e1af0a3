"""Instance segmentation: Mask R-CNN (He et al. 2017, arXiv 1703.06870)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from geomtp.decoders.decoder import check_source, select_images
from geomtp.decoders.detection.assignment import box_overlaps
from geomtp.decoders.detection.coders import HorizontalCoder
from geomtp.decoders.detection.masks import mask_targets, paste_masks
from geomtp.decoders.detection.rois import (
    ROI_SAMPLER,
    SampledRois,
    SharedFcs,
    as_rois,
    class_loss,
    match_and_sample,
    objects_of,
    pool_horizontal,
    region_count,
)
from geomtp.decoders.detection.rpn import RPN_SAMPLER, ProposalRules, RegionProposalNetwork
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.detection.two_stage import TwoStageDecoder, TwoStageTrunk
from geomtp.decoders.fpn import FeaturePyramidNetwork, conv_for_relu
from geomtp.decoders.official import official_detector_key
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

BOX_CELLS = 7
MASK_CELLS = 14
ROI_CODER = HorizontalCoder(stds=(0.1, 0.1, 0.2, 0.2))
PROPOSALS = ProposalRules(per_level_train=2000, per_level_test=1000, nms_iou=0.7, per_image=1000)


class MaskRCNN(TwoStageDecoder):
    """Boxes, classes and masks of objects.

    - num_classes: classes of each source
    - channels, fc_channels: width of the feature pyramid and of the two shared layers
    - reference_box_targets: train the boxes of regions towards the constant 1, as the reference
      does by mistake (quirk 16)
    - score_threshold, nms_iou, max_detections: what is kept of the predictions of an image
    """

    trunk: MaskRCNNTrunk

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: Mapping[str, int],
        channels: int = 256,
        fc_channels: int = 1024,
        reference_box_targets: bool = False,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        proposals: ProposalRules = PROPOSALS,
        rpn_sampler: Sampler = RPN_SAMPLER,
        roi_sampler: Sampler = ROI_SAMPLER,
    ) -> None:
        super().__init__()
        self.num_classes = dict(num_classes)
        self.reference_box_targets = reference_box_targets
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_detections = max_detections
        self.roi_sampler = roi_sampler
        self.trunk = MaskRCNNTrunk(in_channels, channels, fc_channels, proposals, rpn_sampler)
        self.classifiers = nn.ModuleDict(
            {
                source: MaskRCNNClassifier(channels, fc_channels, count)
                for source, count in self.num_classes.items()
            }
        )

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """``proposal_score``, ``proposal_box``, ``class``, ``box`` and ``mask``."""
        check_source(source, self.classifiers)
        chosen = [i for i, target in enumerate(targets) if target.boxes is not None]
        targets, sizes_hw = [targets[i] for i in chosen], [image_sizes_hw[i] for i in chosen]
        boxes = [target.boxes for target in targets if target.boxes is not None]
        labels = [target.box_labels for target in targets if target.box_labels is not None]
        pyramid = self.trunk.neck(select_images(pyramid, chosen))
        output = self.trunk.rpn_head(pyramid)
        losses: dict[str, Tensor] = self.trunk.rpn_head.loss(output, boxes, sizes_hw)
        proposals = self.trunk.rpn_head.propose(output, sizes_hw, training=True)
        rois = match_and_sample(
            proposals,
            boxes,
            labels,
            num_classes=self.num_classes[source],
            overlaps=box_overlaps,
            low_quality=0.5,
            sampler=self.roi_sampler,
            like=pyramid.levels[0].new_zeros(0, 4),
        )
        return (
            losses
            | self._box_losses(pyramid, rois, boxes, source)
            | self._mask_loss(pyramid, rois, targets, source)
        )

    def _box_losses(
        self, pyramid: FeaturePyramid, rois: SampledRois, boxes: Sequence[Tensor], source: str
    ) -> dict[str, Tensor]:
        logits, deltas = self._classified(pyramid, as_rois(rois.boxes, rois.image), source)
        classes = rois.labels[rois.positives]
        predicted = deltas[rois.positives, classes]
        objects = objects_of(rois, boxes)
        target = ROI_CODER.encode(rois.boxes[rois.positives], objects)
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
        features = self.trunk.mask_head(pool_horizontal(pyramid, rois, MASK_CELLS))
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
        first = torch.zeros(len(proposals), device=proposals.device)
        logits, deltas = self._classified(pyramid, as_rois(proposals, first), source)
        scores = logits.softmax(dim=-1)[:, :-1]
        candidates = ROI_CODER.decode(proposals[:, None], deltas, size_hw)
        region, label = torch.nonzero(scores > self.score_threshold, as_tuple=True)
        boxes, scores = candidates[region, label], scores[region, label]
        kept = batched_nms(boxes, scores, label, self.nms_iou)[: self.max_detections]
        boxes, scores, label = boxes[kept], scores[kept], label[kept]
        rois = as_rois(boxes, first.new_zeros(len(boxes)))
        masks = self._mask_logits(pyramid, rois, source)[torch.arange(len(boxes)), label].sigmoid()
        scale_y, scale_x = output_hw[0] / size_hw[0], output_hw[1] / size_hw[1]
        boxes = boxes * boxes.new_tensor([scale_x, scale_y, scale_x, scale_y])
        return Predictions(
            boxes=boxes,
            box_scores=scores,
            box_labels=label,
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


class MaskRCNNTrunk(TwoStageTrunk):
    """Feature pyramid, region proposals, and the shared layers of boxes and masks."""

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: int,
        fc_channels: int,
        proposals: ProposalRules,
        sampler: Sampler,
    ) -> None:
        super().__init__()
        self.neck = FeaturePyramidNetwork(in_channels, channels)
        self.rpn_head = RegionProposalNetwork(
            channels=channels,
            coder=HorizontalCoder(),
            box_loss=_l1,
            rules=proposals,
            only_inside=False,
            sampler=sampler,
        )
        self.box_head = SharedFcs(channels, fc_channels, BOX_CELLS)
        self.mask_head = MaskHead(channels)


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


class MaskHead(nn.Module):
    """Four convolutions and one upsampling."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            conv_for_relu(channels, channels, 3, bias=True) for _ in range(4)
        )
        self.upsample = nn.ConvTranspose2d(channels, channels, 2, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, 14, 14) to (R, C, 28, 28)."""
        for conv in self.convs:
            pooled = F.relu(conv(pooled), inplace=True)
        return F.relu(self.upsample(pooled), inplace=True)


def _l1(predicted: Tensor, target: Tensor) -> Tensor:
    return (predicted - target).abs()
