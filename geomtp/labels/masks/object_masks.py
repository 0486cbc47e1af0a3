"""What a segmenter makes of one object: its mask, and how sure the segmenter is of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ObjectMask:
    """The mask of one object as the segmenter gave it, before any check.

    - rle: COCO run-length (compressed "counts") of the full image size; may be of an empty mask
    - score: what the segmenter itself holds of the mask, 0…1; 1 where it does not say
    - prompt: how the object was shown to the segmenter: "h", "r" or "rh" (``prompts.py``), "" where
      no prompt was made
    """

    rle: bytes
    score: float = 1.0
    prompt: str = ""
