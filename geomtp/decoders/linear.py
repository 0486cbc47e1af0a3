"""The class of a whole image: a linear layer on the mean of the coarsest features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.decoder import Decoder, canvas_hw, check_source
from geomtp.types import FeaturePyramid, Predictions, SizeHW, Targets

UNLABELLED = -100
"""The class of images without one, which no loss counts."""


class LinearClassifier(Decoder):
    """One linear layer per source on the features averaged over the image; there is no trunk.

    - in_channels: of the pyramid's levels; the last is used, as it is
    - num_classes: classes of each source; there is no background

    Averages leave the padding out (the reference's images are never padded).
    """

    def __init__(self, *, in_channels: tuple[int, ...], num_classes: Mapping[str, int]) -> None:
        super().__init__()
        self.trunk = nn.Identity()
        self.classifiers = nn.ModuleDict(
            {source: nn.Linear(in_channels[-1], count) for source, count in num_classes.items()}
        )
        for layer in self.classifiers.values():
            nn.init.normal_(layer.weight, std=0.01)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def logits(
        self, pyramid: FeaturePyramid, image_sizes_hw: Sequence[SizeHW], source: str
    ) -> Tensor:
        """(B, K)."""
        check_source(source, self.classifiers)
        logits: Tensor = self.classifiers[source](pooled(pyramid, image_sizes_hw))
        return logits

    def loss(
        self,
        pyramid: FeaturePyramid,
        targets: Sequence[Targets],
        image_sizes_hw: Sequence[SizeHW],
        source: str,
    ) -> dict[str, Tensor]:
        """Cross-entropy, the mean over the labelled images."""
        logits = self.logits(pyramid, image_sizes_hw, source).float()
        classes = [UNLABELLED if t.scene_class is None else t.scene_class for t in targets]
        labels = torch.tensor(classes, device=logits.device)
        total = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
        return {"class": total / max(1, len(targets) - classes.count(UNLABELLED))}

    def predict(
        self,
        pyramid: FeaturePyramid,
        image_sizes_hw: Sequence[SizeHW],
        source: str,
        output_sizes_hw: Sequence[SizeHW] | None = None,
    ) -> list[Predictions]:
        """Predictions with ``scene_logits`` (K,) of each image."""
        logits = self.logits(pyramid, image_sizes_hw, source).float()
        return [Predictions(scene_logits=row) for row in logits]

    def official_keys(self, source_numbers: Mapping[str, int]) -> dict[str, str]:
        """Our keys and those of the classification framework, which knows one source."""
        return {
            f"classifiers.{source}.{part}": f"head.fc.{part}"
            for source in list(self.classifiers)[:1]
            for part in ("weight", "bias")
        }


def pooled(pyramid: FeaturePyramid, image_sizes_hw: Sequence[SizeHW]) -> Tensor:
    """The mean of the coarsest features over the cells of each image: (B, C)."""
    level, stride = pyramid.levels[-1], pyramid.strides[-1]
    if all(size_hw == canvas_hw(pyramid) for size_hw in image_sizes_hw):
        return level.mean(dim=(2, 3))
    means = [
        image[:, : -(-height // stride), : -(-width // stride)].mean(dim=(1, 2))
        for image, (height, width) in zip(level, image_sizes_hw, strict=True)
    ]
    return torch.stack(means)
