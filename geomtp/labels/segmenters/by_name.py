"""A segmenter by the name that the command line uses."""

from __future__ import annotations

from pathlib import Path

from geomtp.labels.segmenters.grabcut import GrabCutSegmenter
from geomtp.labels.segmenters.prompts import Prompt
from geomtp.labels.segmenters.sam import SamSegmenter
from geomtp.labels.segmenters.sam_models import load_sam
from geomtp.labels.segmenters.segmenter import SEGMENTERS, Segmenter

SEGMENTER_NAMES = (*SEGMENTERS, "grabcut", "sam")


def create_segmenter(
    name: str,
    *,
    weights: str | Path | None = None,
    prompt: Prompt = "rh",
    device: str = "auto",
    process: int = 0,
    boxes_per_batch: int = 64,
    zoom_below_px: float = 0,
    online: bool = False,
) -> Segmenter:
    """The segmenter ``name``: box, polygon, grabcut or sam.

    Everything but the name is for "sam": ``weights`` is its folder (with ``online`` also a name on
    the Hugging Face hub), ``device`` and ``process`` as in ``computing_device``; for the rest see
    ``SamSegmenter``.

    Raises ValueError for an unknown name or for "sam" without weights; FileNotFoundError when the
    weights or the package that the segmenter needs are missing.
    """
    if name == "sam":
        if weights is None:
            raise ValueError("the segmenter 'sam' needs weights: give the folder that holds them")
        return SamSegmenter(
            load_sam(weights, online=online, device=device, process=process),
            prompt=prompt,
            boxes_per_batch=boxes_per_batch,
            zoom_below_px=zoom_below_px,
        )
    if name != "grabcut" and name not in SEGMENTERS:
        known = ", ".join((*SEGMENTERS, "grabcut", "sam"))
        raise ValueError(f"unknown segmenter {name!r}; known: {known}")
    if weights is not None:
        raise ValueError(f"the segmenter {name!r} takes no weights; only 'sam' does")
    return GrabCutSegmenter() if name == "grabcut" else SEGMENTERS[name]
