"""What detectors in two stages share: proposals first, then a look at each of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from geomtp.decoders.decoder import Decoder, check_source, select_images
from geomtp.decoders.detection.coders import ProposalCoder
from geomtp.decoders.detection.masks import MaskHead
from geomtp.decoders.detection.rois import SampledRois, SharedFcs, match_and_sample, objects_of
from geomtp.decoders.detection.rpn import ProposalRules, RegionProposalNetwork
from geomtp.decoders.detection.sampling import Sampler
from geomtp.decoders.fpn import FeaturePyramidNetwork
from geomtp.decoders.official import fine_tuned_detector_key
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

BOX_CELLS = 7


@dataclass(frozen=True)
class Matching:
    """How regions are matched with objects.

    - columns: numbers of a box, 4 or 5
    - overlaps: IoU (G, N) of objects and regions
    - low_quality: an object's best regions belong to it from this IoU on; None: from 0.5, as all
    """

    columns: int
    overlaps: Callable[[Tensor, Tensor], Tensor]
    low_quality: float | None


class TwoStageTrunk(nn.Module):
    """Feature pyramid, region proposals, and the shared layers of boxes and, if asked, of masks."""

    def __init__(
        self,
        in_channels: tuple[int, ...],
        channels: int,
        fc_channels: int,
        *,
        coder: ProposalCoder,
        box_loss: Callable[[Tensor, Tensor], Tensor],
        only_inside: bool,
        proposals: ProposalRules,
        sampler: Sampler,
        masks: bool = False,
    ) -> None:
        super().__init__()
        self.neck = FeaturePyramidNetwork(in_channels, channels)
        self.rpn_head = RegionProposalNetwork(
            channels=channels,
            coder=coder,
            box_loss=box_loss,
            rules=proposals,
            only_inside=only_inside,
            sampler=sampler,
        )
        self.box_head = SharedFcs(channels, fc_channels, BOX_CELLS)
        self.mask_head = MaskHead(channels) if masks else None


class TwoStageDecoder(Decoder):
    """A detector that looks again at the regions its proposal network names.

    - num_classes: classes of each source
    - score_threshold, nms_iou, max_detections: what is kept of the predictions of an image
    """

    matching: ClassVar[Matching]
    trunk: TwoStageTrunk

    def __init__(
        self,
        trunk: TwoStageTrunk,
        num_classes: Mapping[str, int],
        classifier: Callable[[int], nn.Module],
        *,
        roi_sampler: Sampler,
        score_threshold: float,
        nms_iou: float,
        max_detections: int,
    ) -> None:
        super().__init__()
        self.num_classes = dict(num_classes)
        self.roi_sampler = roi_sampler
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_detections = max_detections
        self.trunk = trunk
        self.classifiers = nn.ModuleDict(
            {source: classifier(count) for source, count in self.num_classes.items()}
        )

    def fine_tuned_keys(self) -> dict[str, str]:
        """Our keys and those of MMDetection and MMRotate, which know one source."""
        own = ("trunk.", f"classifiers.{next(iter(self.classifiers))}.")
        return {k: fine_tuned_detector_key(k) for k in self.state_dict() if k.startswith(own)}

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """``proposal_score`` and ``proposal_box``, and of the regions ``class``, ``box`` and more.

        Images without the labels of this task are left out.
        """
        check_source(source, self.classifiers)
        found = {i: objects for i, t in enumerate(targets) if (objects := self._objects(t))}
        boxes, labels = [item[0] for item in found.values()], [item[1] for item in found.values()]
        sizes_hw = [image_sizes_hw[i] for i in found]
        pyramid = self.trunk.neck(select_images(pyramid, list(found)))
        output = self.trunk.rpn_head(pyramid)
        losses: dict[str, Tensor] = self.trunk.rpn_head.loss(output, boxes, sizes_hw)
        rois = match_and_sample(
            self.trunk.rpn_head.propose(output, sizes_hw, training=True),
            boxes,
            labels,
            num_classes=self.num_classes[source],
            overlaps=self.matching.overlaps,
            low_quality=self.matching.low_quality,
            sampler=self.roi_sampler,
            like=pyramid.levels[0].new_zeros(0, self.matching.columns),
        )
        matched = objects_of(rois, boxes)
        return losses | self._region_losses(
            pyramid, rois, matched, [targets[i] for i in found], source
        )

    @abstractmethod
    def _objects(self, target: Targets) -> tuple[Tensor, Tensor] | None:
        """Boxes and class ids of one image; None where it is not labelled for this task."""

    @abstractmethod
    def _region_losses(
        self,
        pyramid: FeaturePyramid,
        rois: SampledRois,
        matched: Tensor,
        targets: Sequence[Targets],
        source: str,
    ) -> dict[str, Tensor]:
        """The losses of the second stage. ``matched``: the object of each positive region."""

    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Predictions of each image, one image after the other."""
        check_source(source, self.classifiers)
        pyramid = self.trunk.neck(pyramid)
        output = self.trunk.rpn_head(pyramid)
        proposals = self.trunk.rpn_head.propose(output, image_sizes_hw, training=False)
        return [
            self._predict_image(
                pyramid.of_images(index, index + 1),
                proposals[index],
                size_hw,
                source,
                output_sizes_hw[index] if output_sizes_hw else size_hw,
            )
            for index, size_hw in enumerate(image_sizes_hw)
        ]

    @abstractmethod
    def _predict_image(
        self,
        pyramid: FeaturePyramid,
        proposals: Tensor,
        size_hw: SizeHW,
        source: str,
        output_hw: SizeHW,
    ) -> Predictions:
        """What is found in one image, in pixels of an image of ``output_hw``."""
