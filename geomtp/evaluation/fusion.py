"""Predictions of windows and of mirrored or resized views, put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from geomtp.evaluation.protocol import Protocol
from geomtp.evaluation.sliding import mean_of_windows
from geomtp.geometry import rotated_nms
from geomtp.geometry.rotated_boxes import rescale, translate
from geomtp.rasters import WindowXYXY
from geomtp.types import Predictions, SizeHW


def resized(found: Predictions, size_hw: SizeHW, output_hw: SizeHW) -> Predictions:
    """Predictions of an image of ``size_hw``, for the same image at ``output_hw``."""
    if size_hw == output_hw:
        return found
    scale_xy = (output_hw[1] / size_hw[1], output_hw[0] / size_hw[0])
    masks = found.masks
    if masks is not None:
        enlarged = F.interpolate(masks[None].float(), size=output_hw, mode="nearest-exact")
        masks = enlarged[0] > 0.5
    boxes, rboxes = found.boxes, found.rboxes
    return dataclasses.replace(
        _with_maps(found, lambda maps: F.interpolate(maps[None], output_hw, mode="bilinear")[0]),
        boxes=None if boxes is None else boxes * boxes.new_tensor(scale_xy * 2),
        masks=masks,
        rboxes=None if rboxes is None else rescale(rboxes, scale_xy),
    )


def of_windows(
    parts: Sequence[Predictions],
    windows: Sequence[WindowXYXY],
    size_hw: SizeHW,
    protocol: Protocol,
) -> Predictions:
    """Predictions of windows, each in its own pixels, as predictions of the image.

    Maps: the mean of the logits. Objects: moved, then suppressed class by class. The class of the
    whole image: the mean of the probabilities.
    """
    moved = [
        _shifted(part, (float(window[0]), float(window[1])))
        for part, window in zip(parts, windows, strict=True)
    ]
    maps = {
        name: mean_of_windows(zip(windows, _field(parts, name), strict=True), size_hw)
        for name in ("semantic_logits", "change_logits")
        if getattr(parts[0], name) is not None
    }
    joined, kept = _joined_objects(moved, protocol)
    if parts[0].masks is not None and kept is not None:
        joined = dataclasses.replace(joined, masks=_placed_masks(parts, windows, kept, size_hw))
    return dataclasses.replace(joined, scene_logits=_mean_scene(parts), **maps)


def of_views(parts: Sequence[Predictions], protocol: Protocol) -> Predictions:
    """Predictions of one image from several views of it, all in the same pixels.

    Probabilities are averaged (the maps then hold their logarithms), objects suppressed class by
    class. One view comes back as it is.
    """
    if len(parts) == 1:
        return parts[0]
    maps = {
        name: torch.stack([p.softmax(dim=0) for p in _field(parts, name)]).mean(dim=0).log()
        for name in ("semantic_logits", "change_logits")
        if getattr(parts[0], name) is not None
    }
    joined, kept = _joined_objects(parts, protocol)
    if parts[0].masks is not None and kept is not None:
        joined = dataclasses.replace(joined, masks=torch.cat(_field(parts, "masks"))[kept])
    return dataclasses.replace(joined, scene_logits=_mean_scene(parts), **maps)


def suppressed_rotated(found: Predictions, iou: float) -> Predictions:
    """Rotated boxes without those that a surer one of their class covers by more than ``iou``."""
    if found.rboxes is None or found.rbox_scores is None or found.rbox_labels is None:
        return found
    kept = rotated_nms(found.rboxes, found.rbox_scores, iou, found.rbox_labels)
    return dataclasses.replace(
        found,
        rboxes=found.rboxes[kept],
        rbox_scores=found.rbox_scores[kept],
        rbox_labels=found.rbox_labels[kept],
    )


def _joined_objects(
    parts: Sequence[Predictions], protocol: Protocol
) -> tuple[Predictions, Tensor | None]:
    """All objects of all parts after suppression, without masks; which boxes were kept."""
    first, kept = parts[0], None
    joined = Predictions()
    if first.rboxes is not None:
        joined = Predictions(
            rboxes=torch.cat(_field(parts, "rboxes")),
            rbox_scores=torch.cat(_field(parts, "rbox_scores")),
            rbox_labels=torch.cat(_field(parts, "rbox_labels")),
        )
        joined = suppressed_rotated(joined, protocol.rotated_nms_iou)
    if first.boxes is not None:
        boxes, scores, labels = (
            torch.cat(_field(parts, name)) for name in ("boxes", "box_scores", "box_labels")
        )
        kept = batched_nms(boxes.float(), scores.float(), labels, protocol.box_nms_iou)
        joined = dataclasses.replace(
            joined, boxes=boxes[kept], box_scores=scores[kept], box_labels=labels[kept]
        )
    return joined, kept


def _placed_masks(
    parts: Sequence[Predictions], windows: Sequence[WindowXYXY], kept: Tensor, size_hw: SizeHW
) -> Tensor:
    """The masks of the ``kept`` objects on the canvas of the whole image: (K, H, W) bool."""
    sources = [(mask, window) for part, window in zip(_field(parts, "masks"), windows, strict=True)
               for mask in part]  # fmt: skip
    placed = kept.new_zeros((len(kept), *size_hw), dtype=torch.bool)
    for canvas, index in zip(placed, kept.tolist(), strict=True):
        mask, (x1, y1, x2, y2) = sources[index]
        canvas[y1:y2, x1:x2] = mask
    return placed


def _shifted(found: Predictions, shift_xy: tuple[float, float]) -> Predictions:
    boxes, rboxes = found.boxes, found.rboxes
    return dataclasses.replace(
        found,
        boxes=None if boxes is None else boxes + boxes.new_tensor(shift_xy * 2),
        rboxes=None if rboxes is None else translate(rboxes, shift_xy),
    )


def _mean_scene(parts: Sequence[Predictions]) -> Tensor | None:
    if parts[0].scene_logits is None:
        return None
    return torch.stack([part.scene_scores for part in parts]).mean(dim=0).log()


def _with_maps(found: Predictions, change: Callable[[Tensor], Tensor]) -> Predictions:
    """``found`` with its maps of logits changed."""
    semantic, changed = found.semantic_logits, found.change_logits
    return dataclasses.replace(
        found,
        semantic_logits=None if semantic is None else change(semantic),
        change_logits=None if changed is None else change(changed),
    )


def _field(parts: Sequence[Predictions], name: str) -> list[Tensor]:
    return [getattr(part, name) for part in parts]
