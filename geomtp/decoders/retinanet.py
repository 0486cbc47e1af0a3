"""Horizontal detection in one stage: RetinaNet (Lin et al. 2017, arXiv 1708.02002)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import sigmoid_focal_loss

from geomtp.decoders.decoder import Decoder, check_source, select_images
from geomtp.decoders.detection.anchors import RATIOS, by_anchor, pyramid_anchors
from geomtp.decoders.detection.assignment import BETWEEN, assign, box_overlaps
from geomtp.decoders.detection.coders import HorizontalCoder
from geomtp.decoders.detection.found_boxes import best_boxes, scaled_boxes
from geomtp.decoders.fpn import FeaturePyramidNetwork
from geomtp.decoders.official import official_trunk_key
from geomtp.parallel import mean_over_processes
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

OCTAVES = 3
ANCHORS = OCTAVES * len(RATIOS)
CODER = HorizontalCoder()
LEAST_OVERLAP = 1e-6
"""Every object has the anchors that fit it best, however badly. The reference says 0 here, which
gives all anchors to an object that none overlaps."""


class RetinaNet(Decoder):
    """Boxes and classes of objects, told from every cell of every level from 1/8 on.

    - num_classes: classes of each source; channels: width of the pyramid and of the two towers
    - anchor_scale: side of the smallest anchors, in cells of their level (of 8 px and more)
    - per_level: how many boxes of a level are looked at when predicting
    - score_threshold, nms_iou, max_detections: what is kept of the predictions of an image
    """

    trunk: RetinaNetTrunk

    def __init__(
        self,
        *,
        in_channels: tuple[int, ...],
        num_classes: Mapping[str, int],
        channels: int = 256,
        anchor_scale: float = 4.0,
        per_level: int = 1000,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_detections: int = 100,
    ) -> None:
        super().__init__()
        self.anchor_scale = anchor_scale
        self.per_level = per_level
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_detections = max_detections
        self.trunk = RetinaNetTrunk(in_channels, channels)
        self.classifiers = nn.ModuleDict(
            {source: _classifier(channels, count) for source, count in num_classes.items()}
        )

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """``class`` (focal) and ``box``, per anchor that belongs to an object."""
        check_source(source, self.classifiers)
        chosen = [i for i, target in enumerate(targets) if target.boxes is not None]
        output = self.looked_at(select_images(pyramid, chosen), source)
        anchors = torch.cat(output.anchors)
        logits, deltas = torch.cat(output.logits, dim=1), torch.cat(output.deltas, dim=1)
        # Sums over nothing keep the graph whole where there is no image or no object.
        class_sum, box_sum = logits.sum() * 0, deltas.sum() * 0
        positive = 0
        for index, target in enumerate(targets[i] for i in chosen):
            boxes, labels = cast(Tensor, target.boxes), cast(Tensor, target.box_labels)
            overlaps = box_overlaps(boxes, anchors)
            assigned = assign(overlaps, positive=0.5, negative=0.4, low_quality=LEAST_OVERLAP)
            anchor = torch.nonzero(assigned >= 0)[:, 0]
            objects, known = assigned[anchor], assigned != BETWEEN
            wanted = torch.zeros_like(logits[index])
            wanted[anchor, labels[objects]] = 1
            class_sum = class_sum + sigmoid_focal_loss(
                logits[index][known], wanted[known], alpha=0.25, gamma=2, reduction="sum"
            )
            corrections = CODER.encode(anchors[anchor], boxes[objects])
            box_sum = box_sum + F.l1_loss(deltas[index][anchor], corrections, reduction="sum")
            positive += max(len(anchor), 1)
        count = mean_over_processes(logits.new_tensor(float(positive))).clamp(min=1)
        return {"class": class_sum / count, "box": box_sum / count}

    def looked_at(self, pyramid: FeaturePyramid, source: str) -> DenseOutput:
        """What is said of every anchor of every level."""
        pyramid = self.trunk.neck(pyramid)
        logits, deltas = [], []
        classifier = cast(nn.Conv2d, self.classifiers[source])
        for level in pyramid.levels:
            logits.append(
                by_anchor(
                    classifier(self.trunk.cls_convs(level)), classifier.out_channels // ANCHORS
                )
            )
            deltas.append(by_anchor(self.trunk.retina_reg(self.trunk.reg_convs(level)), CODER.size))
        anchors = pyramid_anchors(pyramid, self.anchor_scale, OCTAVES)
        return DenseOutput(tuple(anchors), tuple(logits), tuple(deltas))

    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Boxes of each image, in pixels of the image, or of ``output_sizes_hw`` if given."""
        check_source(source, self.classifiers)
        output = self.looked_at(pyramid, source)
        return [
            self._predict_image(
                output, index, size_hw, output_sizes_hw[index] if output_sizes_hw else size_hw
            )
            for index, size_hw in enumerate(image_sizes_hw)
        ]

    def _predict_image(
        self, output: DenseOutput, image: int, size_hw: SizeHW, output_hw: SizeHW
    ) -> Predictions:
        boxes, scores, labels = [], [], []
        for anchors, logits, deltas in zip(
            output.anchors, output.logits, output.deltas, strict=True
        ):
            of_level = logits[image].sigmoid()
            anchor, label = torch.nonzero(of_level > self.score_threshold, as_tuple=True)
            score = of_level[anchor, label]
            best = score.topk(min(self.per_level, len(score))).indices
            anchor = anchor[best]
            found = CODER.decode(anchors[anchor], deltas[image][anchor], size_hw)
            real = (CODER.sides(found) > 0).all(dim=-1)
            boxes.append(found[real])
            scores.append(score[best][real])
            labels.append(label[best][real])
        found, score, label = best_boxes(
            torch.cat(boxes),
            torch.cat(scores),
            torch.cat(labels),
            nms_iou=self.nms_iou,
            most=self.max_detections,
        )
        found = scaled_boxes(found, size_hw, output_hw)
        return Predictions(boxes=found, box_scores=score, box_labels=label)

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of a fine-tuned model, which knows one source."""
        first = f"classifiers.{next(iter(self.classifiers))}."
        keys = {}
        for key in self.state_dict():
            if key.startswith(first):
                keys[key] = key.replace(first, "bbox_head.retina_cls.")
            elif key.startswith("trunk.neck."):
                keys[key] = official_trunk_key(_from_zero(key))
            elif key.startswith("trunk."):
                keys[key] = f"bbox_head.{official_trunk_key(key)}"
        return keys


class RetinaNetTrunk(nn.Module):
    """Feature pyramid, a tower of convolutions for classes and one for boxes, and the boxes.

    Starts as the reference: Normal 0.01, biases zero.
    """

    def __init__(self, in_channels: tuple[int, ...], channels: int) -> None:
        super().__init__()
        self.neck = FeaturePyramidNetwork(in_channels, channels, first_level=1, extra_convs=2)
        self.cls_convs = Tower(channels)
        self.reg_convs = Tower(channels)
        self.retina_reg = _normal_conv(channels, ANCHORS * CODER.size)


class Tower(nn.ModuleList):
    """Four convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__(_normal_conv(channels, channels) for _ in range(4))

    def forward(self, level: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        for conv in self:
            level = F.relu(conv(level), inplace=True)
        return level


@dataclass(frozen=True)
class DenseOutput:
    """What the network says of each anchor, level by level.

    - anchors: (A_i, 4) x1 y1 x2 y2; logits: (B, A_i, K); deltas: (B, A_i, 4)
    """

    anchors: tuple[Tensor, ...]
    logits: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]


def _normal_conv(in_channels: int, out_channels: int, bias: float = 0.0) -> nn.Conv2d:
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    nn.init.constant_(cast(Tensor, conv.bias), bias)
    return conv


def _classifier(channels: int, num_classes: int) -> nn.Conv2d:
    """Logits of all classes of all anchors of a cell; every score starts at 0.01."""
    return _normal_conv(channels, ANCHORS * num_classes, -math.log((1 - 0.01) / 0.01))


def _from_zero(key: str) -> str:
    """The key of a convolution of the pyramid, counted from its first level as the reference."""
    parts = key.split(".")
    return ".".join([*parts[:3], str(int(parts[3]) - 1), *parts[4:]])
