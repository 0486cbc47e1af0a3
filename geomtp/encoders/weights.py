"""Pretrained weights into encoders, from files of any origin."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from geomtp.checkpoints import (
    HasOfficialKeys,
    ImportReport,
    import_official,
    read_foreign,
    read_weights,
)
from geomtp.checkpoints.official import PREFIXES
from geomtp.encoders.efficientnet_lite import is_efficientnet_lite, timm_key
from geomtp.encoders.encoder import Encoder

PART = "encoder."
"""What stands before the encoder's keys in our files of whole models."""

ENCODER_NAME = "encoder.safetensors"
"""The file of the encoder in the folder of a run."""

LEAST_SHARE = 0.25
"""Of an encoder's tensors, how many a file must hold to be its weights; common names such as
``stem.conv.weight`` fit more than one kind. Plain ViT weights hold 0.6 of a ViT + RVSA."""


@runtime_checkable
class RenamesOfficialWeights(Protocol):
    """An encoder whose weights also come in files of other names."""

    def renamed_official(self, weights: dict[str, Tensor], /) -> dict[str, Tensor]:
        """``weights`` under official names; as they are where they have them."""
        ...


log = logging.getLogger(__name__)


def load_encoder_weights(encoder: Encoder, path: str | Path) -> ImportReport:
    """Load pretrained weights into ``encoder``, all or nothing.

    The file may be one of ours, of an encoder or of a whole model, whose encoder is taken; one with
    official names: of MTP, of a masked autoencoder, for a TimmEncoder of timm; or the package of
    EfficientNet-lite0. Of a folder of a run its ``encoder.safetensors`` is taken. The stem is
    adapted to the encoder's input channels, tables of positions to its image size.

    Returns:
        What was used, is missing, unexpected, resized and ignored; also logged.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be read, is of another encoder, or does not fit; ``encoder`` is
            unchanged then.
    """
    path = Path(path)
    if path.is_dir():
        path = path / ENCODER_NAME
    if not isinstance(encoder, HasOfficialKeys):
        raise ValueError(f"{type(encoder).__name__} cannot take weights: it names none of its own")
    official = encoder.official_keys()
    tensors = _official_weights(path, official)
    if isinstance(encoder, RenamesOfficialWeights):
        tensors = encoder.renamed_official(tensors)
    found = max(sum(p + key in tensors for key in official.values()) for p in PREFIXES)
    if found < LEAST_SHARE * len(official):
        raise ValueError(
            f"{path} holds {found} of the {len(official)} weights of this {type(encoder).__name__}:"
            f" expected {_some(encoder, official)}; found {_shapes(tensors)}"
        )
    report = import_official(tensors, encoder)
    log.info("weights of %s:\n%s", path, report)
    return report


def _official_weights(path: Path, official: dict[str, str]) -> dict[str, Tensor]:
    """The weights in ``path`` under official keys, whichever keys the file has."""
    try:
        ours, info = read_weights(path)
    except ValueError:  # no description of ours: weights from elsewhere
        tensors = read_foreign(path)
        if is_efficientnet_lite(tensors):
            return {timm_key(key): tensor for key, tensor in tensors.items()}
        return tensors
    prefix = "" if info.get("kind") == "encoder" else PART
    table = {prefix + key: prefix + name for key, name in official.items()}
    return {table.get(key, key): tensor for key, tensor in ours.items()}


def _some(encoder: Encoder, official: dict[str, str]) -> str:
    own = encoder.state_dict()
    return _shapes({name: own[key] for key, name in official.items()})


def _shapes(tensors: dict[str, Tensor], count: int = 3) -> str:
    """The first few names, each with its shape."""
    shown = [f"{key} {tuple(tensor.shape)}" for key, tensor in list(tensors.items())[:count]]
    return ", ".join(shown) + (", …" if len(tensors) > count else "")
