"""Quality control: each mask held against the rotated box that it was made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.geometry import decode_rle_crop
from geomtp.labels.masks.box_masks import box_mask, box_window, grown
from geomtp.labels.masks.components import holes_of, label_components
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.run_lengths import rle_area, rle_of_part
from geomtp.types import SizeHW

FLAGS = (
    "empty",
    "large_spill",
    "low_coverage",
    "spill_cut",
    "strays_dropped",
    "holes",
    "box_instead",
)
"""What can be wrong with a mask (see ``check_masks``), in the order in which flags are listed."""


@dataclass(frozen=True, slots=True)
class QualityRules:
    """When a mask is mended, flagged or given up; shares are 0…1.

    - margin_share, margin_px: the box is grown on every side by this share of its short side, and
      by this many pixels at least; what lies outside is spill. Annotated boxes are tight to a pixel
      or two, and shadows and blur widen masks.
    - most_spill: a mask with a larger share outside has taken something else for the object
    - least_coverage: a mask that covers less of the box shows a part of the object. Aeroplanes
      cover about a third of their box, hardly anything less than a quarter.
    - low_coverage: below this a mask is flagged, and stays
    - stray_share: a component smaller than this share of the largest one is dropped
    - hole_share: holes that together hold more than this share of the filled mask are flagged;
      they stay, since courtyards are holes
    """

    margin_share: float = 0.1
    margin_px: float = 2.0
    most_spill: float = 0.5
    least_coverage: float = 0.2
    low_coverage: float = 0.35
    stray_share: float = 0.1
    hole_share: float = 0.05

    def __post_init__(self) -> None:
        shares = ("margin_share", "most_spill", "least_coverage", "stray_share", "hole_share")
        for name in (*shares, "low_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share of 0…1, found {getattr(self, name)}")
        if self.margin_px < 0:
            raise ValueError(f"margin_px must be 0 or more, found {self.margin_px}")


@dataclass(frozen=True, slots=True)
class CheckedMask:
    """A mask after the checks, with what was found.

    - rle: COCO run-length of the full image, mended, or the filled box; empty only where the box
      holds no pixel of the image
    - raw_rle: the mask as the segmenter gave it
    - score, prompt: the segmenter's own (see ``ObjectMask``); a filled box has the score 0
    - flags: of ``FLAGS``, in their order
    - coverage: the share of the box (as far as it lies in the image) that the raw mask covers
    - spill: the share of the raw mask outside the box grown by the margin
    - components: connected parts (corners connect) of the raw mask inside the grown box
    - holes: of ``rle`` before a box took its place
    """

    rle: bytes
    raw_rle: bytes
    score: float
    flags: tuple[str, ...]
    coverage: float
    spill: float
    components: int
    holes: int
    prompt: str = ""


def check_masks(
    masks: Sequence[ObjectMask],
    rboxes_cxcywha: NDArray[Any],
    size_hw: SizeHW,
    rules: QualityRules | None = None,
) -> list[CheckedMask]:
    """One checked mask per mask and rotated box (N, 5), in their order.

    1. What lies outside the box grown by a margin is cut ("spill_cut").
    2. Components much smaller than the largest are dropped ("strays_dropped").
    3. "holes" and "low_coverage" are flagged.
    4. A mask that is empty ("empty"), mostly outside ("large_spill") or covers almost nothing of
       the box ("low_coverage") gives way to the filled box ("box_instead").

    Only the window around each box is decoded. Raises ValueError when the numbers of masks and
    boxes differ, or for a run-length of another image size.
    """
    if rboxes_cxcywha.shape != (len(masks), 5):
        raise ValueError(
            f"expected one rotated box of five numbers for each of {len(masks)} masks, "
            f"found an array of {rboxes_cxcywha.shape}"
        )
    rules = rules or QualityRules()
    rboxes = rboxes_cxcywha.astype(np.float64)
    return [_check(mask, rbox, size_hw, rules) for mask, rbox in zip(masks, rboxes, strict=True)]


def _check(
    mask: ObjectMask, rbox: NDArray[np.float64], size_hw: SizeHW, rules: QualityRules
) -> CheckedMask:
    room = grown(rbox, max(rules.margin_px, rules.margin_share * float(rbox[2:4].min())))
    window = box_window(room, size_hw)
    box = box_mask(rbox, window)
    raw = decode_rle_crop([mask.rle], size_hw, window)[0].numpy()
    cut = raw & box_mask(room, window)
    area = rle_area(mask.rle)
    spill = 1 - int(cut.sum()) / area if area else 0.0
    coverage = int((raw & box).sum()) / max(int(box.sum()), 1)
    kept, components = _without_strays(cut, rules.stray_share)
    holes, hole_pixels = holes_of(kept)
    found = {
        "empty": area == 0,
        "large_spill": spill > rules.most_spill,
        "low_coverage": area > 0 and coverage < max(rules.low_coverage, rules.least_coverage),
        "spill_cut": spill > 0,
        "strays_dropped": kept.sum() < cut.sum(),
        "holes": hole_pixels > rules.hole_share * (hole_pixels + int(kept.sum())),
    }
    if found["empty"] or found["large_spill"] or coverage < rules.least_coverage:
        # What was mended does not matter any more, only why the mask was given up.
        found |= {"spill_cut": False, "strays_dropped": False, "holes": False, "box_instead": True}
        kept = box
    return CheckedMask(
        rle=rle_of_part(kept, window[:2], size_hw),
        raw_rle=mask.rle,
        score=0.0 if found.get("box_instead") else mask.score,
        flags=tuple(flag for flag in FLAGS if found.get(flag)),
        coverage=coverage,
        spill=spill,
        components=components,
        holes=holes,
        prompt=mask.prompt,
    )


def _without_strays(mask: NDArray[np.bool_], stray_share: float) -> tuple[NDArray[np.bool_], int]:
    """The mask without its small components, and how many components it had."""
    labels, count = label_components(mask)
    if count < 2:
        return mask, count
    areas = np.bincount(labels.reshape(-1))
    areas[0] = 0  # the background
    return (areas >= max(stray_share * areas.max(), 1))[labels], count
