"""What detectors in two stages share: proposals first, then a look at each of them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from geomtp.decoders.decoder import Decoder, check_source
from geomtp.decoders.detection.rpn import RegionProposalNetwork
from geomtp.decoders.fpn import FeaturePyramidNetwork
from geomtp.types import FeaturePyramid, Predictions, SizeHW


class TwoStageTrunk(nn.Module):
    """The parts of a trunk that make proposals; the others look at regions."""

    neck: FeaturePyramidNetwork
    rpn_head: RegionProposalNetwork


class TwoStageDecoder(Decoder):
    """A detector that looks again at the regions its proposal network names."""

    trunk: TwoStageTrunk

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
