"""Horizontal detection in two stages: Faster R-CNN (Ren et al. 2015, arXiv 1506.01497)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

from torch import Tensor, nn

from geomtp.decoders.detection.assignment import box_overlaps
from geomtp.decoders.detection.found_boxes import scaled_boxes
from geomtp.decoders.detection.horizontal_rcnn import HorizontalRCNN
from geomtp.decoders.detection.rois import RegionClassifier, SampledRois
from geomtp.decoders.detection.two_stage import Matching
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets


class FasterRCNN(HorizontalRCNN):
    """Boxes and classes of objects: ``MaskRCNN`` without its masks, the same parameters.

    Its trunk takes the weights of Mask R-CNN's. It starts as the reference's fine-tuned detectors:
    Normal 0.01 in the proposals and for the classes, 0.001 for the boxes, Xavier in between.
    """

    matching = Matching(columns=4, overlaps=box_overlaps, low_quality=None)
    masks = False

    def _classifier(self, channels: int, fc_channels: int, num_classes: int) -> nn.Module:
        return RegionClassifier(fc_channels, num_classes, 4 * num_classes)

    def _start(self) -> None:
        head = self.trunk.rpn_head
        for layer in (head.rpn_conv, head.rpn_cls, head.rpn_reg):
            _normal(layer, 0.01)
        for shared in self.trunk.box_head.shared_fcs:
            nn.init.xavier_uniform_(cast(nn.Linear, shared).weight)
            nn.init.zeros_(cast(nn.Linear, shared).bias)
        for classifier in self.classifiers.values():
            _normal(cast(RegionClassifier, classifier).fc_cls, 0.01)
            _normal(cast(RegionClassifier, classifier).fc_reg, 0.001)

    def _region_losses(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        matched: Tensor,
        targets: Sequence[Targets],
        source: str,
    ) -> dict[str, Tensor]:
        return self._box_losses(pyramid, rois, matched, source)

    def _predict_image(
        self,
        pyramid: FeaturePyramid,
        proposals: Tensor,
        size_hw: SizeHW,
        source: str,
        output_hw: SizeHW,
    ) -> Predictions:
        boxes, scores, labels = self._boxes_of_image(pyramid, proposals, size_hw, source)
        boxes = scaled_boxes(boxes, size_hw, output_hw)
        return Predictions(boxes=boxes, box_scores=scores, box_labels=labels)

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of a fine-tuned model, which knows one source."""
        return self.fine_tuned_keys()


def _normal(layer: nn.Conv2d | nn.Linear, std: float) -> None:
    nn.init.normal_(layer.weight, std=std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
