"""The official names of what detectors share."""

from __future__ import annotations

import re
from collections.abc import Mapping

CONVS = r"(lateral_convs|fpn_convs|cls_convs|reg_convs|mask_head\.convs)\.(\d)\."
"""Convolutions that are wrapped, with their activation, in the reference."""

CLASSIFIER = r"classifiers\.([^.]+)\.(\w+)\.(\w+)"
"""A tensor of a classifier: its source, its layer, and what of it."""


def official_trunk_key(key: str) -> str:
    """The name of a trunk's tensor in a fine-tuned model; pretraining puts its decoder before."""
    key = re.sub(CONVS, r"\1.\2.conv.", key.removeprefix("trunk."))
    return re.sub(r"^(box|mask)_head\.", _roi_head, key)


def _roi_head(match: re.Match[str]) -> str:
    return f"roi_head.{'bbox' if match[1] == 'box' else 'mask'}_head."


def official_detector_key(
    key: str, decoder: str, parts: Mapping[str, str], source_numbers: Mapping[str, int]
) -> str:
    """The official name of a two-stage detector's state-dict key in the pretraining framework.

    - decoder: official prefix of the trunk
    - parts: our name of each layer of a classifier and the official one before the number
    """
    if match := re.match(CLASSIFIER, key):
        return f"{parts[match[2]]}{source_numbers[match[1]]}.{match[3]}"
    return f"{decoder}.{official_trunk_key(key)}"


def fine_tuned_detector_key(key: str) -> str:
    """The name of a two-stage detector's state-dict key in MMDetection and MMRotate."""
    if match := re.match(CLASSIFIER, key):
        head = "mask" if match[2] == "conv_logits" else "bbox"
        return f"roi_head.{head}_head.{match[2]}.{match[3]}"
    return official_trunk_key(key)
