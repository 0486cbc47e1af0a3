"""The figure that shows one image's truth above its prediction, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from geomtp.training.overlays import Picture, draw_instances, draw_rotated, draw_semantic
from geomtp.types import IGNORE, TASKS, ClassMap, Predictions, SizeHW, Targets

_INK, _PALE, _EMPTY = (40, 40, 40), (120, 120, 120), (238, 238, 238)
_GAP = 8
_TEXT_PX = 17
_LINE = 26
_LEAST_PX = 112  # of a panel, so that a heading fits beside the narrowest image


@dataclass(frozen=True)
class _Ground:
    """The image on the scale of the figure."""

    picture: Picture
    size_hw: SizeHW  # before scaling
    scale: float

    @staticmethod
    def of(image: Picture, max_side_px: int) -> _Ground:
        """Enlarged by a whole factor, or reduced, to at most ``max_side_px``."""
        height, width = image.shape[:2]
        side = max(height, width)
        scale = max_side_px // side if side <= max_side_px else max_side_px / side
        size = max(1, round(width * scale)), max(1, round(height * scale))
        resized = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
        return _Ground(np.array(resized), (height, width), scale)

    def resampled(self, maps: Tensor) -> Tensor:
        """(…, H, W) maps at the nearest pixels, without the padding on the right and bottom."""
        if maps.shape[-2] < self.size_hw[0] or maps.shape[-1] < self.size_hw[1]:
            raise ValueError(
                f"labels must cover the image: labels {tuple(maps.shape[-2:])}, "
                f"image {self.size_hw}"
            )
        for dim, length, wanted in zip((-2, -1), self.size_hw, self.picture.shape[:2], strict=True):
            nearest = ((torch.arange(wanted) + 0.5) * length / wanted).long()
            maps = maps.index_select(dim, nearest.to(maps.device))
        return maps


@dataclass(frozen=True)
class _Objects:
    boxes: Tensor
    labels: Tensor
    scores: Tensor | None
    masks: Tensor | None = None


@dataclass(frozen=True)
class _Side:
    """What is drawn of the truth or of the prediction; None where there is nothing to draw."""

    semantic: Tensor | None
    instance: _Objects | None
    rotated: _Objects | None
    scene: str

    def panel(self, task: str, ground: _Ground, classes: ClassMap) -> Picture | None:
        """The image with the labels of ``task``."""
        if task == "semantic":
            if self.semantic is None:
                return None
            return draw_semantic(ground.picture, ground.resampled(self.semantic), classes)
        objects = self.instance if task == "instance" else self.rotated
        if objects is None:
            return None
        labels, scores = objects.labels, objects.scores
        if task == "instance":
            masks = None if objects.masks is None else ground.resampled(objects.masks)
            boxes = objects.boxes.float() * ground.scale
            return draw_instances(ground.picture, boxes, masks, labels, scores, classes)
        lengths = torch.tensor([ground.scale] * 4 + [1.0], device=objects.boxes.device)
        rboxes = objects.boxes.float() * lengths
        return draw_rotated(ground.picture, rboxes, labels, scores, classes)

    @property
    def has_masks(self) -> bool:
        """Whether objects have masks, not boxes alone."""
        return self.instance is not None and self.instance.masks is not None

    def values(self, size_hw: SizeHW) -> set[int]:
        """Values that a semantic map of all that is drawn would hold: k+1 for class k, and 255."""
        values: set[int] = set()
        if self.semantic is not None:
            values |= set(self.semantic[: size_hw[0], : size_hw[1]].unique().tolist())
        for objects in (self.instance, self.rotated):
            if objects is not None:
                values |= {label + 1 for label in objects.labels.tolist()}
        return values - {0}


def comparison(
    image: Picture,
    targets: Targets,
    predictions: Predictions,
    classes: ClassMap,
    *,
    score_threshold: float = 0.5,
    max_side_px: int = 512,
) -> Image.Image:
    """One figure of one image: the image, and per task the truth above the prediction.

    There is a column for each task that either side holds, and below a legend of the classes that
    are drawn. Small images are enlarged by a whole factor, large ones reduced.

    Args:
        image: (H, W, 3) uint8, see ``displayable``.
        targets: the truth. Maps may be larger than the image: padded on the right and bottom.
        predictions: objects with a score below ``score_threshold`` are left out.
        classes: names and colours.
        score_threshold: 0…1.
        max_side_px: the longer side of the image in the figure.

    Raises:
        ValueError: a map is smaller than the image, or the image is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"a picture is drawn on an image (H, W, 3) of uint8, got {image.shape} of {image.dtype}"
        )
    ground = _Ground.of(image, max_side_px)
    truth, prediction = _truth(targets, classes), _prediction(predictions, classes, score_threshold)
    values = truth.values(ground.size_hw) | prediction.values(ground.size_hw)
    unknown = {value - 1 for value in values - {IGNORE} if value > len(classes)}
    if unknown:
        raise ValueError(f"there are {len(classes)} classes, but labels of class {max(unknown)}")
    panels = {}
    for task in TASKS:
        pair = truth.panel(task, ground, classes), prediction.panel(task, ground, classes)
        if any(panel is not None for panel in pair):
            boxes_alone = task == "instance" and not (truth.has_masks or prediction.has_masks)
            panels["boxes" if boxes_alone else task] = pair
    facts = _facts(ground, truth, prediction, score_threshold)
    grid = _grid(ground.picture, facts, panels)
    legend = _legend(values, classes, grid.width)
    figure = Image.new("RGB", (max(grid.width, legend.width), grid.height + legend.height), "white")
    figure.paste(grid, (0, 0))
    figure.paste(legend, (0, grid.height))
    return figure


def _truth(targets: Targets, classes: ClassMap) -> _Side:
    instance = rotated = None
    if targets.boxes is not None and targets.box_labels is not None:
        instance = _Objects(targets.boxes, targets.box_labels, None, targets.masks)
    if targets.rboxes is not None and targets.rbox_labels is not None:
        rotated = _Objects(targets.rboxes, targets.rbox_labels, None)
    scene = "" if targets.scene_class is None else classes.names[targets.scene_class]
    return _Side(targets.semantic, instance, rotated, scene)


def _prediction(predictions: Predictions, classes: ClassMap, threshold: float) -> _Side:
    p = predictions
    instance = rotated = None
    if p.boxes is not None and p.box_scores is not None and p.box_labels is not None:
        sure = p.box_scores >= threshold
        masks = None if p.masks is None else p.masks[sure]
        instance = _Objects(p.boxes[sure], p.box_labels[sure], p.box_scores[sure], masks)
    if p.rboxes is not None and p.rbox_scores is not None and p.rbox_labels is not None:
        sure = p.rbox_scores >= threshold
        rotated = _Objects(p.rboxes[sure], p.rbox_labels[sure], p.rbox_scores[sure])
    scene = ""
    if p.scene_logits is not None:
        score, label = p.scene_logits.float().softmax(dim=0).max(dim=0)
        scene = f"{classes.names[int(label)]} {float(score):.2f}"
    return _Side(None if p.semantic_logits is None else p.semantic, instance, rotated, scene)


def _facts(ground: _Ground, truth: _Side, prediction: _Side, threshold: float) -> list[str]:
    """Lines below the image: its size, and what the panels do not show."""
    facts = [f"{ground.size_hw[1]} x {ground.size_hw[0]} px"]
    if ground.scale >= 2:
        facts.append(f"enlarged {ground.scale:.0f} times")
    if prediction.instance is not None or prediction.rotated is not None:
        facts.append(f"scores from {threshold:.2f}")
    if truth.scene:
        facts.append(f"truth: {truth.scene}")
    if prediction.scene:
        facts.append(f"prediction: {prediction.scene}")
    return facts


def _grid(
    image: Picture, facts: Sequence[str], panels: dict[str, tuple[Picture | None, Picture | None]]
) -> Image.Image:
    """The image with its facts at the left, then a column of two panels per task."""
    font = ImageFont.load_default(size=_TEXT_PX)
    height, width = (max(side, _LEAST_PX) for side in image.shape[:2])
    first = max(width, *(round(font.getlength(fact)) + 1 for fact in facts))
    below = max(height, _LINE * len(facts)) if panels else _LINE * len(facts)
    left = _GAP + first + _GAP + _LINE  # of the panels, after the upright words
    size = left + len(panels) * (width + _GAP), _LINE + _GAP + height + _GAP + below + _GAP
    figure = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(figure)
    tops = _GAP + _LINE, _GAP + _LINE + height + _GAP
    pen.text((_GAP, tops[0] - 8), "image", fill=_INK, font=font, anchor="ls")
    figure.paste(Image.fromarray(image), (_GAP, tops[0]))
    for i, fact in enumerate(facts):
        pen.text((_GAP, tops[1] + _LINE * i), fact, fill=_PALE, font=font, anchor="lt")
    for i, (task, pair) in enumerate(panels.items()):
        x = left + i * (width + _GAP)
        pen.text((x, tops[0] - 8), task, fill=_INK, font=font, anchor="ls")
        for y, panel, missing in zip(tops, pair, ("not labelled", "not predicted"), strict=True):
            if panel is not None:
                figure.paste(Image.fromarray(panel), (x, y))
                continue
            pen.rectangle((x, y, x + width - 1, y + height - 1), fill=_EMPTY)
            middle = x + width / 2, y + height / 2
            pen.text(middle, missing, fill=_PALE, font=font, anchor="mm")
    for y, word in zip(tops, ("truth", "prediction"), strict=True):
        if panels:
            figure.paste(_upright(word, height, font), (left - _LINE, y))
    return figure


def _upright(
    word: str, height: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont
) -> Image.Image:
    """A word in the middle of a strip of this height, read from the bottom to the top."""
    strip = Image.new("RGB", (height, _LINE), "white")
    pen = ImageDraw.Draw(strip)
    pen.text((height / 2, _LINE - 8), word, fill=_INK, font=font, anchor="ms")
    return strip.transpose(Image.Transpose.ROTATE_90)


def _legend(values: set[int], classes: ClassMap, width: int) -> Image.Image:
    """Swatches and names in even columns; wider than ``width`` only where one name is."""
    font = ImageFont.load_default(size=_TEXT_PX)
    entries = [(classes.names[v - 1], classes.palette[v - 1]) for v in sorted(values - {IGNORE})]
    if IGNORE in values:
        entries.append(("not counted", (160, 160, 160)))
    wide = 44 + max((round(font.getlength(name)) for name, _ in entries), default=0)
    columns = max(1, (width - _GAP) // wide)
    lines = -(-len(entries) // columns)
    size = max(width, _GAP + wide * min(columns, len(entries))), lines * _LINE + _GAP * (lines > 0)
    legend = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(legend)
    for i, (name, colour) in enumerate(entries):
        x, y = _GAP + i % columns * wide, i // columns * _LINE
        pen.rectangle((x, y + 4, x + 15, y + 19), fill=colour)
        pen.text((x + 22, y + 18), name, fill=_INK, font=font, anchor="ls")
    return legend
