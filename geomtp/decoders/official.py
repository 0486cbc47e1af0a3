"""The official names of what two-stage detectors share."""

from __future__ import annotations

import re
from collections.abc import Mapping


def official_detector_key(
    key: str, decoder: str, parts: Mapping[str, str], source_numbers: Mapping[str, int]
) -> str:
    """The official name of a two-stage detector's state-dict key.

    - decoder: official prefix of the trunk
    - parts: our name of each layer of a classifier and the official one before the number
    """
    if match := re.match(r"classifiers\.([^.]+)\.(\w+)\.(\w+)", key):
        return f"{parts[match[2]]}{source_numbers[match[1]]}.{match[3]}"
    key = re.sub(r"(lateral_convs|fpn_convs|mask_head\.convs)\.(\d)\.", r"\1.\2.conv.", key)
    key = key.replace("trunk.box_head.", "trunk.roi_head.bbox_head.")
    key = key.replace("trunk.mask_head.", "trunk.roi_head.mask_head.")
    return decoder + key.removeprefix("trunk")
