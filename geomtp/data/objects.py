"""The objects of an image as a view shows them: boxes, masks and rotated boxes together."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geomtp.data import filtering
from geomtp.data.views import ViewParameters, mask_views
from geomtp.labels import ImageLabels
from geomtp.labels.masks.run_lengths import rle_box
from geomtp.types import BOX_TASKS, Targets


@dataclass(frozen=True)
class KeepRule:
    """Which objects stay: see ``filtering``.

    - visible_fraction: how much of a box must be seen if its centre is not
    - reference: the paper's code instead: each list by itself, boxes that overlap the view, and
      rotated boxes that are centred in it
    - upright_if_cut: rotated boxes that the view cuts become upright boxes round what is seen
    """

    visible_fraction: float = 0.3
    reference: bool = False
    upright_if_cut: bool = False


def objects_in_view(
    labels: ImageLabels, view: ViewParameters, tasks: Collection[str], rule: KeepRule
) -> tuple[Targets, bool]:
    """Both lists of objects in pixels of the view, and whether the view lost all objects.

    ``boxes`` are those of the masks as the view shows them, where "instance" is a task and there
    are masks, and else cut at its border; rotated boxes are cut only if the rule says so. Only the
    masks of objects that are kept are decoded; an object of whose mask nothing is seen is dropped.
    Lists that ``tasks`` does not name are None.
    """
    boxes, rboxes = boxes_of(labels), rboxes_of(labels)
    boxes = None if boxes is None else view.boxes(boxes)
    rboxes = None if rboxes is None else view.rboxes(rboxes)
    keep_box, keep_rbox, joint = _kept(labels, boxes, rboxes, view, rule)
    targets = Targets()
    if wants_boxes(tasks) and boxes is not None and keep_box is not None:
        rows = keep_box.nonzero()[:, 0]
        targets, rows = _instances(labels, boxes, rows, view, masks="instance" in tasks)
        keep_box = torch.zeros_like(keep_box).index_fill(0, rows, True)
        keep_rbox = keep_box if joint else keep_rbox
    if "rotated" in tasks and rboxes is not None and keep_rbox is not None:
        seen = rboxes[keep_rbox]
        if rule.upright_if_cut:
            seen = filtering.upright_where_cut(seen, view.size_hw)
        targets = Targets(
            boxes=targets.boxes,
            box_labels=targets.box_labels,
            masks=targets.masks,
            rboxes=seen,
            rbox_labels=_ids(labels.rbox_labels)[keep_rbox],
        )
    looked_at = [keep_box] if rule.reference else [keep_box, keep_rbox]
    lists = [kept for kept in looked_at if kept is not None]
    lost = any(len(kept) for kept in lists) and not any(bool(kept.any()) for kept in lists)
    return targets, lost


def wants_boxes(tasks: Collection[str]) -> bool:
    """Whether one of the ``tasks`` learns horizontal boxes."""
    return any(task in tasks for task in BOX_TASKS)


def boxes_of(labels: ImageLabels) -> Tensor | None:
    """The boxes of a row, (N, 4) float32 in pixels of the file; from the masks if it has no boxes.

    None where it has neither.
    """
    if labels.boxes is not None:
        return torch.from_numpy(labels.boxes)
    if labels.rles is None:
        return None
    boxes = [rle_box(rle, labels.size_hw) or (0, 0, 0, 0) for rle in labels.rles]
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def rboxes_of(labels: ImageLabels) -> Tensor | None:
    """The rotated boxes of a row, (M, 5) float32 in pixels of the file, or None."""
    return None if labels.rboxes is None else torch.from_numpy(labels.rboxes)


def _ids(class_ids: np.ndarray | None) -> Tensor:
    assert class_ids is not None, "labels come with their boxes"
    return torch.from_numpy(class_ids)


def _kept(
    labels: ImageLabels,
    boxes: Tensor | None,
    rboxes: Tensor | None,
    view: ViewParameters,
    rule: KeepRule,
) -> tuple[Tensor | None, Tensor | None, bool]:
    """Which boxes and rotated boxes are kept, and whether they are the same objects."""
    size_hw, fraction = view.size_hw, rule.visible_fraction
    if rule.reference:
        return (
            None if boxes is None else filtering.overlapping_boxes(boxes, size_hw),
            None if rboxes is None else filtering.centred_rboxes(rboxes, size_hw),
            False,
        )
    keep_rbox = None if rboxes is None else filtering.visible_rboxes(rboxes, size_hw, fraction)
    if boxes is None:
        return None, keep_rbox, False
    if rboxes is not None and filtering.same_objects(
        boxes, _ids(labels.box_labels), rboxes, _ids(labels.rbox_labels)
    ):
        return keep_rbox, keep_rbox, True
    return filtering.visible_boxes(boxes, size_hw, fraction), keep_rbox, False


def _instances(
    labels: ImageLabels, boxes: Tensor, rows: Tensor, view: ViewParameters, *, masks: bool
) -> tuple[Targets, Tensor]:
    """Those of the ``rows`` of which something is seen, as targets, and their row numbers."""
    seen_masks = None
    if labels.rles is None or not masks:
        seen_boxes = filtering.clipped(boxes[rows], view.size_hw)
    else:
        seen_masks, seen_boxes = mask_views([labels.rles[i] for i in rows.tolist()], view)
    shown = filtering.with_area(seen_boxes)
    if not bool(shown.all()):
        rows, seen_boxes = rows[shown], seen_boxes[shown]
        seen_masks = None if seen_masks is None else seen_masks[shown]
    ids = _ids(labels.box_labels)[rows]
    return Targets(boxes=seen_boxes, box_labels=ids, masks=seen_masks), rows
