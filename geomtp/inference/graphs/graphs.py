"""What is traced: an encoder or a model as a function of tensors alone."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from geomtp.decoders.decoder import Decoder, canvas_hw
from geomtp.decoders.detection.two_stage import TwoStageDecoder
from geomtp.decoders.linear import LinearClassifier
from geomtp.decoders.retinanet import RetinaNet
from geomtp.decoders.siamese_unet import SiameseUNet
from geomtp.decoders.upernet import UperNet
from geomtp.encoders.encoder import Encoder
from geomtp.model import MultiTaskModel
from geomtp.types import FeaturePyramid, SizeHW

IN_WORDS = {
    "scene_logits": "logits of the classes of the whole image (B, {1})",
    "semantic_logits": "logits of the classes of each pixel, background first (B, {1}, H, W)",
    "change_logits": "logits of each pixel, unchanged and changed (B, 2, H, W)",
    "features": "features (B, {1}, H/{stride}, W/{stride})",
    "anchors": "boxes x1 y1 x2 y2 in pixels that deltas refer to, finest level first (A, 4)",
    "proposal_logits": "raw: logit of an object at each anchor (B, A)",
    "proposal_deltas": "raw: corrections of each anchor, not decoded (B, A, {2})",
    "class_logits": "raw: logits of the classes at each anchor (B, A, {2})",
    "box_deltas": "raw: corrections of each anchor, not decoded (B, A, 4)",
}
"""What outputs hold, by what their names end with before a number; {1}: their second dimension."""


class Normalisation(nn.Module):
    """(pixels − mean) / std by channel; without figures, pixels as they are."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...] | None, std: tuple[float, ...] | None) -> None:
        super().__init__()
        self.known = mean is not None and std is not None
        if self.known:
            self.register_buffer("mean", torch.tensor(mean)[:, None, None])
            self.register_buffer("std", torch.tensor(std)[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return (images - self.mean) / self.std if self.known else images


class EncoderGraph(nn.Module):
    """Images (B, C, H, W) to the encoder's levels by name, finest first."""

    dates = 1

    def __init__(self, encoder: Encoder, normalisation: Normalisation) -> None:
        super().__init__()
        self.encoder = encoder
        self.normalisation = normalisation

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """``features_1`` … ``features_4``: (B, C_i, H_i, W_i)."""
        return _numbered("features", self.encoder(self.normalisation(images)))


class ModelGraph(nn.Module):
    """Images (B, C, H, W), of two dates where change is asked for, to what the decoders say.

    - source: whose classifiers are asked; all of its tasks are in the graph
    - about: what the model knows of it, of which the light of the dates is asked
    - dates: how many images of each place are asked for
    """

    def __init__(self, model: MultiTaskModel, source: str, normalisation: Normalisation) -> None:
        super().__init__()
        self.normalisation = normalisation
        self.encoder = model.encoder
        self.decoders = nn.ModuleDict({t: model.decoders[t] for t in model.tasks_of(source)})
        self.source = source
        self.about = model.config.sources[source] if model.config else None
        self.dates = max(cast(Decoder, decoder).dates for decoder in self.decoders.values())

    def forward(self, images: Tensor, images_after: Tensor | None = None) -> dict[str, Tensor]:
        """Logits of scenes (B, K), of pixels (B, K + 1 or 2, H, W); of detectors what is raw."""
        dates = [self.normalisation(images)]
        if images_after is not None:
            after = self.normalisation(images_after)
            dates.append(after if self.about is None else self.about.in_light_of_first(after))
        pyramid = self.encoder(torch.cat(dates))
        first = pyramid if images_after is None else pyramid.of_images(0, images.shape[0])
        outputs: dict[str, Tensor] = {}
        for task, decoder in self.decoders.items():
            own = pyramid if cast(Decoder, decoder).dates > 1 else first
            outputs |= _said_by(cast(Decoder, decoder), task, own, self.source)
        return outputs


Graph = EncoderGraph | ModelGraph


def _said_by(
    decoder: Decoder, task: str, pyramid: FeaturePyramid, source: str
) -> dict[str, Tensor]:
    """The outputs of one decoder by name. Raises TypeError for a decoder without a graph."""
    match decoder:
        case LinearClassifier():
            logits = decoder.logits(pyramid, [canvas_hw(pyramid)], source)
            return {"scene_logits": logits}
        case UperNet() | SiameseUNet():
            logits = decoder.logits(pyramid, source).float()
            size_hw = canvas_hw(pyramid)
            return {f"{task}_logits": F.interpolate(logits, size=size_hw, mode="bilinear")}
        case TwoStageDecoder():
            levels = decoder.trunk.neck(pyramid)
            proposed = decoder.trunk.rpn_head(levels)
            return {
                **_numbered(f"{task}_features", levels),
                f"{task}_anchors": torch.cat(proposed.anchors),
                f"{task}_proposal_logits": torch.cat(proposed.scores, dim=1),
                f"{task}_proposal_deltas": torch.cat(proposed.deltas, dim=1),
            }
        case RetinaNet():
            dense = decoder.looked_at(pyramid, source)
            return {
                f"{task}_anchors": torch.cat(dense.anchors),
                f"{task}_class_logits": torch.cat(dense.logits, dim=1),
                f"{task}_box_deltas": torch.cat(dense.deltas, dim=1),
            }
    raise TypeError(f"{type(decoder).__name__} has no graph")


def in_words(name: str, tensor: Tensor, size_hw: SizeHW) -> str:
    """What the output ``name`` holds, told from its value for images of ``size_hw``."""
    kind = next(kind for kind in IN_WORDS if kind in name)
    return IN_WORDS[kind].format(*tensor.shape, stride=round(size_hw[0] / tensor.shape[-2]))


def _numbered(name: str, pyramid: FeaturePyramid) -> dict[str, Tensor]:
    return {f"{name}_{index}": level for index, level in enumerate(pyramid.levels, start=1)}
