"""The nouns that travel between rooms: frozen dataclasses that check their own shapes.

Coordinates are pixels, x to the right, y down; (0, 0) is the outer corner of the first pixel and
(0.5, 0.5) its centre. Angles are radians, positive clockwise as seen in the image (y down).
"""

from __future__ import annotations

import colorsys
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORE = 255
"""Value of a semantic map that no loss and no metric counts."""

TASKS = ("semantic", "instance", "rotated")
"""The three tasks of multi-task pretraining, in the order of the paper."""

BOX_TASKS = ("instance", "horizontal")
"""The tasks that learn and predict ``boxes``; a source has one of them at most."""

ALL_TASKS = (*TASKS, "horizontal", "scene", "change")
"""All tasks that have a decoder: horizontal boxes without masks, the class of a whole image, and
what changed between two, too."""

MAP_TASKS = ("semantic", "change")
"""Tasks whose results are maps of classes."""

OBJECT_TASKS = ("rotated", "horizontal", "instance")
"""Tasks whose results are single objects."""

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Red, green and blue of ImageNet, 0…255: by them images are normalised where nothing is said."""

IMAGENET_STD = (58.395, 57.12, 57.375)

SizeHW = tuple[int, int]
"""Height and width in pixels."""

Rgb = tuple[int, int, int]


def _check(name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError where ``tensor`` does not fit ``shape`` (None fits anything)."""
    fits = tensor.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, tensor.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if s is None else str(s) for s in shape) + ")"
        raise ValueError(f"{name} must have shape {wanted}, got {tuple(tensor.shape)}")


@dataclass(frozen=True)
class ClassMap:
    """The classes of one source: names in order (index = class id 0…K−1) and their colours.

    ``palette`` holds one RGB triple per class (0…255); the background is not in it.
    Raises ValueError for repeated names, or when palette and names differ in number.
    """

    names: tuple[str, ...]
    palette: tuple[Rgb, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.names)) != len(self.names):
            repeated = sorted({n for n in self.names if self.names.count(n) > 1})
            raise ValueError(f"class names must differ, repeated: {', '.join(repeated)}")
        if not self.palette:
            object.__setattr__(self, "palette", spread_palette(len(self.names)))
        if len(self.palette) != len(self.names):
            raise ValueError(
                f"palette must hold one colour per class: "
                f"{len(self.names)} classes, {len(self.palette)} colours"
            )

    def __len__(self) -> int:
        return len(self.names)

    def index(self, name: str) -> int:
        """The id of class ``name``. Raises ValueError listing the known names."""
        try:
            return self.names.index(name)
        except ValueError:
            raise ValueError(f"unknown class {name!r}; known: {', '.join(self.names)}") from None


def spread_palette(count: int) -> tuple[Rgb, ...]:
    """``count`` colours spread over the hue circle (golden ratio), of alternating lightness."""
    colours = []
    for i in range(count):
        hue = (0.58 + i * 0.61803398875) % 1.0
        red, green, blue = colorsys.hls_to_rgb(hue, 0.45 + 0.15 * (i % 2), 0.85)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return tuple(colours)


@dataclass(frozen=True)
class Targets:
    """The labels of one image. None: this task is not labelled here; empty: there is nothing.

    The two instance lists are independent: ``boxes`` and ``rboxes`` may differ in number and order.

    - boxes: (N, 4) float, x1 y1 x2 y2 pixels; box_labels: (N,) int64, 0…K−1
    - masks: (N, H, W) bool, one per box
    - rboxes: (M, 5) float, cx cy w h pixels, angle radians (le90); rbox_labels: (M,) int64, 0…K−1
    - semantic: (H, W) uint8; 0 background, k+1 for class k, 255 ignore
    - scene_class: class id of the whole image
    - change: (H, W) uint8; 0 unchanged, 1 changed between the two dates, 255 ignore

    Raises ValueError when shapes or lengths disagree.
    """

    boxes: Tensor | None = None
    box_labels: Tensor | None = None
    masks: Tensor | None = None
    rboxes: Tensor | None = None
    rbox_labels: Tensor | None = None
    semantic: Tensor | None = None
    scene_class: int | None = None
    change: Tensor | None = None

    def __post_init__(self) -> None:
        _check_labelled("boxes", self.boxes, 4, "box_labels", self.box_labels)
        _check_labelled("rboxes", self.rboxes, 5, "rbox_labels", self.rbox_labels)
        if self.masks is not None:
            if self.boxes is None:
                raise ValueError("masks need boxes: one box per mask")
            _check("masks", self.masks, (len(self.boxes), None, None))
        if self.semantic is not None:
            _check("semantic", self.semantic, (None, None))
        if self.change is not None:
            _check("change", self.change, (None, None))

    def to(self, device: torch.device | str) -> Targets:
        """The same targets on ``device``."""
        return dataclasses.replace(self, **_tensors_on(device, self))


def _check_labelled(
    name: str, boxes: Tensor | None, columns: int, label_name: str, labels: Tensor | None
) -> None:
    if (boxes is None) != (labels is None):
        raise ValueError(f"{name} and {label_name} come together: one of them is None")
    if boxes is not None and labels is not None:
        _check(name, boxes, (None, columns))
        _check(label_name, labels, (len(boxes),))


@dataclass(frozen=True)
class Batch:
    """Images of one source with their labels, padded right and bottom to one size.

    - images: (B, C, H, W) float, normalised, RGB; H and W are multiples of 32
    - targets: one per image
    - image_sizes_hw: height and width of each image before padding
    - source: the source's name
    - images_after: (B, C, H, W), the second date where there is one
    - image_ids: what each image is called, unique within the source
    - original_sizes_hw: sizes of the images in their files, where they were resized; labels are
      then in original pixels (evaluation)

    Raises ValueError when lengths or shapes disagree.
    """

    images: Tensor
    targets: tuple[Targets, ...]
    image_sizes_hw: tuple[SizeHW, ...]
    source: str
    images_after: Tensor | None = None
    image_ids: tuple[str, ...] = ()
    original_sizes_hw: tuple[SizeHW, ...] | None = None

    def __post_init__(self) -> None:
        _check("images", self.images, (len(self.targets), None, None, None))
        if len(self.image_sizes_hw) != len(self.targets):
            raise ValueError(
                f"{len(self.targets)} targets but {len(self.image_sizes_hw)} image sizes"
            )
        if self.images_after is not None:
            _check("images_after", self.images_after, tuple(self.images.shape))

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on ``device``."""
        targets = tuple(target.to(device) for target in self.targets)
        return dataclasses.replace(self, targets=targets, **_tensors_on(device, self))

    def pin_memory(self) -> Batch:
        """The same batch with its images in page-locked memory (called by the data loader)."""
        after = None if self.images_after is None else self.images_after.pin_memory()
        return dataclasses.replace(self, images=self.images.pin_memory(), images_after=after)


@dataclass(frozen=True)
class FeaturePyramid:
    """Feature maps of one batch, finest first.

    - levels: tensors (B, C_i, H_i, W_i)
    - strides: input pixels per cell of each level

    Raises ValueError when the two differ in number.
    """

    levels: tuple[Tensor, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.levels) != len(self.strides):
            raise ValueError(f"{len(self.levels)} levels but {len(self.strides)} strides")

    def of_images(self, start: int, stop: int) -> FeaturePyramid:
        """The pyramid of images ``start``…``stop − 1`` of the batch."""
        return FeaturePyramid(tuple(level[start:stop] for level in self.levels), self.strides)


@dataclass(frozen=True)
class Predictions:
    """What a decoder says of one image, in pixels of that image; fields of other tasks are None.

    - boxes: (N, 4) x1 y1 x2 y2; box_scores: (N,) 0…1, falling; box_labels: (N,) 0…K−1
    - masks: (N, H, W) bool, one per box
    - rboxes: (M, 5) cx cy w h angle (le90); rbox_scores: (M,) falling; rbox_labels: (M,)
    - semantic_logits: (K+1, H, W) float, background first
    - scene_logits: (K,) float
    - change_logits: (2, H, W) float, unchanged first
    """

    boxes: Tensor | None = None
    box_scores: Tensor | None = None
    box_labels: Tensor | None = None
    masks: Tensor | None = None
    rboxes: Tensor | None = None
    rbox_scores: Tensor | None = None
    rbox_labels: Tensor | None = None
    semantic_logits: Tensor | None = None
    scene_logits: Tensor | None = None
    change_logits: Tensor | None = None

    def __post_init__(self) -> None:
        _check_labelled("boxes", self.boxes, 4, "box_labels", self.box_labels)
        _check_labelled("boxes", self.boxes, 4, "box_scores", self.box_scores)
        _check_labelled("rboxes", self.rboxes, 5, "rbox_labels", self.rbox_labels)
        _check_labelled("rboxes", self.rboxes, 5, "rbox_scores", self.rbox_scores)

    @property
    def semantic(self) -> Tensor:
        """The most likely class of each pixel: (H, W) uint8, 0 background, k+1 for class k."""
        if self.semantic_logits is None:
            raise ValueError("these predictions hold no semantic map")
        return self.semantic_logits.argmax(dim=0).to(torch.uint8)

    @property
    def change(self) -> Tensor:
        """What changed: (H, W) uint8, 0 unchanged, 1 changed."""
        if self.change_logits is None:
            raise ValueError("these predictions hold no change map")
        return self.change_logits.argmax(dim=0).to(torch.uint8)

    @property
    def scene_scores(self) -> Tensor:
        """The probability of each class of the whole image: (K,) 0…1, adding up to 1."""
        if self.scene_logits is None:
            raise ValueError("these predictions hold no class of the whole image")
        return self.scene_logits.float().softmax(dim=0)

    def to(self, device: torch.device | str) -> Predictions:
        """The same predictions on ``device``."""
        return dataclasses.replace(self, **_tensors_on(device, self))

    @staticmethod
    def joined(parts: Sequence[Predictions]) -> Predictions:
        """The fields of all ``parts``, predictions of one image by several tasks, in one object.

        Raises ValueError when two parts hold the same field.
        """
        fields: dict[str, Tensor] = {}
        for part in parts:
            for field in dataclasses.fields(part):
                value = getattr(part, field.name)
                if value is None:
                    continue
                if field.name in fields:
                    raise ValueError(f"two predictions of one image hold {field.name}")
                fields[field.name] = value
        return Predictions(**fields)


def _tensors_on(device: torch.device | str, noun: Targets | Batch | Predictions) -> dict[str, Any]:
    """The tensor fields of ``noun``, moved to ``device``."""
    values = {field.name: getattr(noun, field.name) for field in dataclasses.fields(noun)}
    return {name: v.to(device) for name, v in values.items() if isinstance(v, Tensor)}
