"""Region proposals: where in an image an object may be (Faster R-CNN, arXiv 1506.01497)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from geomtp.decoders.detection.anchors import (
    RATIOS,
    by_anchor,
    inside,
    level_numbers,
    pyramid_anchors,
)
from geomtp.decoders.detection.assignment import BETWEEN, assign, box_overlaps
from geomtp.decoders.detection.coders import ProposalCoder
from geomtp.decoders.detection.sampling import Sampler
from geomtp.parallel import mean_over_processes
from geomtp.types import FeaturePyramid, SizeHW

RPN_SAMPLER = Sampler(count=256, positive_fraction=0.5)


@dataclass(frozen=True)
class ProposalRules:
    """Where proposals start and how many are kept.

    - per_level_train, per_level_test: of an image, before suppression
    - nms_iou, per_image: overlap that suppresses, and how many remain
    - anchor_scale: side of a square anchor in cells of its level; at 8 and strides 4…64 anchors
      have 32…512 px. An object that no anchor overlaps by 0.3 does not train the proposals.
    """

    per_level_train: int
    per_level_test: int
    nms_iou: float
    per_image: int
    anchor_scale: float = 8.0


class RegionProposalNetwork(nn.Module):
    """One convolution, then a score and a correction for each of three anchors in each cell.

    - box_loss: (predicted, target) to the unsummed loss
    - only_inside: train on anchors that lie wholly in the image
    """

    def __init__(
        self,
        *,
        channels: int,
        coder: ProposalCoder,
        box_loss: Callable[[Tensor, Tensor], Tensor],
        rules: ProposalRules,
        only_inside: bool,
        sampler: Sampler = RPN_SAMPLER,
    ) -> None:
        super().__init__()
        self.rpn_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.rpn_cls = nn.Conv2d(channels, len(RATIOS), 1)
        self.rpn_reg = nn.Conv2d(channels, len(RATIOS) * coder.size, 1)
        self.coder = coder
        self.box_loss = box_loss
        self.rules = rules
        self.only_inside = only_inside
        self.sampler = sampler

    def forward(self, pyramid: FeaturePyramid) -> RpnOutput:
        """Scores and corrections of every anchor of every level."""
        scores, deltas = [], []
        for level in pyramid.levels:
            shared = F.relu(self.rpn_conv(level), inplace=True)
            scores.append(by_anchor(self.rpn_cls(shared), 1).squeeze(-1))
            deltas.append(by_anchor(self.rpn_reg(shared), self.coder.size))
        anchors = tuple(pyramid_anchors(pyramid, self.rules.anchor_scale))
        return RpnOutput(anchors, tuple(scores), tuple(deltas))

    def loss(
        self, output: RpnOutput, boxes: Sequence[Tensor], image_sizes_hw: Sequence[SizeHW]
    ) -> dict[str, Tensor]:
        """``proposal_score`` and ``proposal_box``, per sampled anchor.

        ``boxes``: the objects of each image, as the coder takes them.
        """
        anchors = torch.cat(output.anchors)
        scores, deltas = torch.cat(output.scores, dim=1), torch.cat(output.deltas, dim=1)
        # Sums over nothing keep the graph whole where there is no image or no object.
        score_sum, box_sum = scores.sum() * 0, deltas.sum() * 0
        sampled = 0
        for index, (objects, size_hw) in enumerate(zip(boxes, image_sizes_hw, strict=True)):
            assigned = self._assigned(anchors, objects, size_hw)
            positives, negatives = self.sampler.sample(assigned)
            chosen = torch.cat([positives, negatives])
            is_object = (assigned[chosen] >= 0).to(scores.dtype)
            score_sum = score_sum + F.binary_cross_entropy_with_logits(
                scores[index][chosen], is_object, reduction="sum"
            )
            targets = self.coder.encode(anchors[positives], objects[assigned[positives]])
            box_sum = box_sum + self.box_loss(deltas[index][positives], targets).sum()
            sampled += max(len(positives), 1) + max(len(negatives), 1)
        count = mean_over_processes(scores.new_tensor(float(sampled))).clamp(min=1)
        return {"proposal_score": score_sum / count, "proposal_box": box_sum / count}

    def _assigned(self, anchors: Tensor, objects: Tensor, size_hw: SizeHW) -> Tensor:
        outer = self.coder.enclosing(objects)
        rules = {"positive": 0.7, "negative": 0.3, "low_quality": 0.3}
        if not self.only_inside:
            return assign(box_overlaps(outer, anchors), **rules)
        within = inside(anchors, size_hw)
        assigned = torch.full((len(anchors),), BETWEEN, device=anchors.device)
        assigned[within] = assign(box_overlaps(outer, anchors[within]), **rules)
        return assigned

    @torch.no_grad()
    def propose(
        self, output: RpnOutput, image_sizes_hw: Sequence[SizeHW], *, training: bool
    ) -> list[Tensor]:
        """Proposals (N, 4 or 5) of each image by falling score, without gradient."""
        per_level = self.rules.per_level_train if training else self.rules.per_level_test
        return [
            self._proposals_of_image(output, index, size_hw, per_level)
            for index, size_hw in enumerate(image_sizes_hw)
        ]

    def _proposals_of_image(
        self, output: RpnOutput, image: int, size_hw: SizeHW, per_level: int
    ) -> Tensor:
        best = [
            scores[image].topk(min(per_level, scores.shape[1])).indices for scores in output.scores
        ]
        anchors = [level[index] for level, index in zip(output.anchors, best, strict=True)]
        levels = level_numbers(anchors)
        scores = torch.cat(
            [level[image][index] for level, index in zip(output.scores, best, strict=True)]
        ).sigmoid()
        deltas = torch.cat(
            [level[image][index] for level, index in zip(output.deltas, best, strict=True)]
        )
        boxes = self.coder.decode(torch.cat(anchors), deltas, size_hw)
        outer = self.coder.enclosing(boxes)
        real = (self.coder.sides(boxes) > 0).all(dim=-1)
        boxes, outer, scores, levels = boxes[real], outer[real], scores[real], levels[real]
        kept = batched_nms(outer, scores, levels, self.rules.nms_iou)[: self.rules.per_image]
        return boxes[kept]


@dataclass(frozen=True)
class RpnOutput:
    """What the network says of each anchor, level by level.

    - anchors: (A_i, 4) x1 y1 x2 y2; scores: (B, A_i) logits; deltas: (B, A_i, size)
    """

    anchors: tuple[Tensor, ...]
    scores: tuple[Tensor, ...]
    deltas: tuple[Tensor, ...]
