"""What a file of the reference's weights is and which encoder it fits, told by names and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from geomtp.checkpoints import HasOfficialKeys
from geomtp.checkpoints.official import PREFIXES
from geomtp.encoders.presets import PRESETS
from geomtp.encoders.weights import LEAST_SHARE

PRETRAINING = {
    "semsegdecoder.": "semantic",
    "inssegdecoder.": "instance",
    "rotdetdecoder.": "rotated",
}
"""What the keys of a decoder of the pretraining framework begin with, and its task."""

STEMS = ("patch_embed.proj.weight", "patch_embed.conv1.weight")
"""The first convolutions of ViT + RVSA and of InternImage."""

_PATCH_PX = 16


@dataclass(frozen=True)
class FittingEncoder:
    """An encoder that a file fits.

    - count: how many of the encoder's ``total`` tensors are there in its shapes
    - image_size: what the file was made for, in pixels; None where it does not say
    """

    name: str
    count: int
    total: int
    image_size: int | None
    in_channels: int

    def __str__(self) -> str:
        size = "" if self.image_size is None else f"{self.image_size} px and "
        flags = "" if self.image_size is None else f" --image-size {self.image_size}"
        flags += "" if self.in_channels == 3 else f" --in-channels {self.in_channels}"
        return (
            f"fits {self.name}: {self.count} of its {self.total} tensors in its shapes; made for "
            f"{size}{self.in_channels} channels: `geomtp weights import FILE --encoder {self.name}"
            f"{flags} --out OUT.safetensors`"
        )


def lines_on_official(tensors: Mapping[str, Tensor]) -> list[str]:
    """What kind of official file this is, and what it fits: a sentence each, if it can be told."""
    kind, encoder = kind_of_official(tensors), fitting_encoder(tensors)
    whole = "all of it: `geomtp weights import FILE --like MODEL --out OUT.safetensors`"
    lines = [f"{kind}; {whole}"] if kind else []
    return [*lines, str(encoder)] if encoder else lines


def kind_of_official(tensors: Mapping[str, Tensor]) -> str | None:
    """The kind of whole model by the names of its decoders (checkpoints, 2 and 4); None: unknown.

    Numbers of classes are those of the file: in maps the background is one of them.
    """
    tasks = [t for start, t in PRETRAINING.items() if any(k.startswith(start) for k in tensors)]
    if tasks:
        return f"MTP, pretraining: {', '.join(tasks)}"
    rows = {key: len(tensor) for key, tensor in tensors.items() if tensor.ndim}
    if not any(key.startswith("backbone.") for key in rows):
        return None
    if "head.fc.weight" in rows:
        return f"fine-tuned, scene (MMPretrain): {rows['head.fc.weight']} classes"
    if "decode_head.conv_seg.weight" in rows:
        of_change = any(key.startswith("decode_head.blocks.") for key in rows)
        task = "change (Open-CD)" if of_change else "semantic (MMSegmentation)"
        return f"fine-tuned, {task}: {rows['decode_head.conv_seg.weight']} classes"
    return _detector(rows)


def _detector(rows: Mapping[str, int]) -> str | None:
    """The kind of detector; ``rows``: the first sides of the tensors."""
    if "bbox_head.retina_cls.weight" in rows:
        anchors = rows["bbox_head.retina_reg.weight"] // 4
        classes = rows["bbox_head.retina_cls.weight"] // anchors
        return f"fine-tuned, horizontal (MMDetection, RetinaNet): {classes} classes"
    if "roi_head.bbox_head.fc_cls.weight" not in rows:
        return None
    kind = "horizontal (MMDetection, Faster R-CNN)"
    if any(key.startswith("roi_head.mask_head.") for key in rows):
        kind = "instance (MMDetection, Mask R-CNN)"
    elif rows.get("rpn_head.rpn_reg.weight", 0) == 6 * rows.get("rpn_head.rpn_cls.weight", 0):
        kind = "rotated (MMRotate, Oriented R-CNN)"
    return f"fine-tuned, {kind}: {rows['roi_head.bbox_head.fc_cls.weight'] - 1} classes"


def fitting_encoder(tensors: Mapping[str, Tensor]) -> FittingEncoder | None:
    """The encoder of ours of which most tensors are there in its shapes; None where few are.

    Models of timm are not tried: there are too many.
    """
    best = max((_fit(name, tensors) for name in PRESETS), key=lambda fit: fit.count / fit.total)
    return best if best.count >= LEAST_SHARE * best.total else None


def _fit(name: str, tensors: Mapping[str, Tensor]) -> FittingEncoder:
    with torch.device("meta"):  # shapes alone
        encoder = PRESETS[name](image_size=224)
    assert isinstance(encoder, HasOfficialKeys)
    own = encoder.state_dict()
    shapes = {theirs: own[ours].shape for ours, theirs in encoder.official_keys().items()}
    counts = {
        prefix: sum(
            prefix + key in tensors and tensors[prefix + key].shape == shape
            for key, shape in shapes.items()
        )
        for prefix in PREFIXES
    }
    prefix = max(counts, key=lambda tried: counts[tried])
    positions = tensors.get(f"{prefix}pos_embed")
    stem = next((tensors[prefix + key] for key in STEMS if prefix + key in tensors), None)
    return FittingEncoder(
        name=name,
        count=counts[prefix],
        total=len(shapes),
        image_size=None if positions is None else _side_px(positions.shape[1]),
        in_channels=3 if stem is None else stem.shape[1],
    )


def _side_px(positions: int) -> int | None:
    """The side of square images with so many patches, and perhaps a class token."""
    side = math.isqrt(positions)
    return side * _PATCH_PX if positions - side**2 in (0, 1) else None
