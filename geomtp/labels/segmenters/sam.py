"""The segmenter "sam": Segment Anything, prompted with boxes or filled boxes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from geomtp.labels.annotations import Annotations
from geomtp.labels.masks.object_masks import ObjectMask
from geomtp.labels.masks.run_lengths import rle_of_part
from geomtp.labels.segmenters.image_pixels import ImagePixels
from geomtp.labels.segmenters.prompt_windows import prompt_windows
from geomtp.labels.segmenters.prompts import Frame, Prompt, check_prompt, prompt_boxes
from geomtp.labels.segmenters.sam_models import Embedding, SamModels
from geomtp.labels.segmenters.segmenter import Segmenter
from geomtp.labels.shapes import rotated_boxes
from geomtp.types import SizeHW

_PROMPTS_ON_CPU = 4  # its caches hold no more: 16 at once take a third longer than one by one
_MASKS_AT_ONCE = 8  # enlarged to the model's picture: 4 MB each at 1024 px


class SamSegmenter(Segmenter):
    """Segment Anything with the prompts of SAMRS (arXiv 2305.02034).

    - models: the loaded model (``sam_models.load_sam``)
    - prompt: "rh", "h" or "r", see ``prompts.Prompt``
    - boxes_per_batch: prompts decoded at once, on the processor 4 at most; bounds the memory
    - window_px: larger images are looked at in windows of this size, each embedded once
    - zoom_below_px: objects with a shorter long side are looked at in windows of ``zoom_px``, which
      the model sees enlarged; 0: none are. Each of these windows is embedded as well.
    - multimask: the best of the model's three masks by its own predicted IoU; without, its one mask

    The score is the IoU that the model predicts, 0…1.
    Raises ValueError for an unknown prompt and for sizes below 1.
    """

    def __init__(
        self,
        models: SamModels,
        *,
        prompt: Prompt = "rh",
        boxes_per_batch: int = 64,
        window_px: int = 1024,
        zoom_below_px: float = 0,
        zoom_px: int = 256,
        multimask: bool = True,
    ) -> None:
        if min(boxes_per_batch, window_px, zoom_px) < 1:
            raise ValueError("boxes_per_batch, window_px and zoom_px must be 1 or more")
        check_prompt(prompt)
        self._models = models
        self._prompt: Prompt = prompt
        on_cpu = models.device.type == "cpu"
        self._boxes_per_batch = min(boxes_per_batch, _PROMPTS_ON_CPU) if on_cpu else boxes_per_batch
        self._window_px = window_px
        self._zoom_below_px = zoom_below_px
        self._zoom_px = zoom_px
        self._multimask = multimask

    def segment(self, image: Path, annotations: Annotations) -> list[ObjectMask]:
        """See ``Segmenter``. Masks are turned into run-lengths batch by batch."""
        size_hw = annotations.size_hw
        boxes = prompt_boxes(annotations.objects, size_hw, self._prompt)
        if len(boxes) == 0:
            return []
        rboxes = rotated_boxes(annotations.objects, size_hw)
        pixels = ImagePixels(image, size_hw)
        masks: dict[int, ObjectMask] = {}
        for window, indices in prompt_windows(
            boxes,
            size_hw,
            self._window_px,
            zoom_below_px=self._zoom_below_px,
            zoom_px=self._zoom_px,
        ):
            embedding = self._models.embed(pixels.read(window), window)
            for start in range(0, len(indices), self._boxes_per_batch):
                batch = indices[start : start + self._boxes_per_batch]
                logits, scores = self._decode(embedding, boxes[batch], rboxes[batch])
                for index, mask, score in zip(
                    batch, _full_size(logits, embedding.frame), scores, strict=True
                ):
                    rle = _rle(mask, window[:2], size_hw)
                    masks[index] = ObjectMask(rle, score, self._prompt)
        return [masks[index] for index in range(len(boxes))]

    def _decode(
        self, embedding: Embedding, boxes: NDArray[np.float64], rboxes: NDArray[np.float64]
    ) -> tuple[Tensor, list[float]]:
        """The best mask of each prompt: logits (N, S, S) and scores 0…1."""
        if self._prompt == "r":
            masks = embedding.frame.mask_prompts(rboxes, self._models.mask_side_px)
            logits, scores = self._models.decode_masks(embedding, masks, multimask=self._multimask)
        else:
            prompts = embedding.frame.box_prompts(boxes)
            logits, scores = self._models.decode_boxes(
                embedding, prompts, multimask=self._multimask
            )
        best = scores.argmax(dim=1)
        row = torch.arange(len(best), device=best.device)
        return logits[row, best], scores[row, best].clamp(0, 1).tolist()


def _full_size(logits: Tensor, frame: Frame) -> Iterator[NDArray[np.bool_]]:
    """The masks (h, w) of a window, one after the other, from logits (N, S, S) of its picture.

    Bilinear to the size of the model's picture, without the padding, bilinear to the window: the
    way SAM does it. SAM 2 resizes once.
    """
    for part in logits.split(_MASKS_AT_ONCE):
        maps = part[:, None]  # (n, 1, S, S)
        if not frame.stretched:
            height, width = frame.resized_hw
            maps = F.interpolate(maps, frame.padded_hw, mode="bilinear")[..., :height, :width]
        maps = F.interpolate(maps, frame.window_hw, mode="bilinear")
        yield from (maps[:, 0] > 0).cpu().numpy()


def _rle(mask: NDArray[np.bool_], corner_xy: tuple[int, int], size_hw: SizeHW) -> bytes:
    """The run-length of a window's mask, looking only at the part that has foreground."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return rle_of_part(mask[:0, :0], corner_xy, size_hw)
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = (corner_xy[0] + int(columns[0]), corner_xy[1] + int(rows[0]))
    return rle_of_part(part, corner, size_hw)
