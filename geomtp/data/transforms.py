"""From a row of a label store to an image and its targets: the whole, and what views share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.data.objects import boxes_of, rboxes_of, wants_boxes
from geomtp.data.views import (
    ViewParameters,
    read_view,
)
from geomtp.geometry import decode_rle
from geomtp.labels import ImageLabels, StoreInfo, change_map, semantic_map
from geomtp.types import SizeHW, Targets


class Prepared(NamedTuple):
    """An image and its labels as a transform made them.

    - image: (C, H, W) float32, normalised
    - targets: in pixels of the image, or of the file (``labels_follow_image``)
    - image_after: (C, H, W), the same view of the second date, where ``tasks`` need one
    """

    image: Tensor
    targets: Targets
    image_after: Tensor | None = None


class Transform(ABC):
    """Reads an image and its labels and prepares both.

    ``labels_follow_image``: whether the targets come back in pixels of the image that comes back,
    not in pixels of the file.
    """

    labels_follow_image: ClassVar[bool]

    @abstractmethod
    def __call__(
        self,
        labels: ImageLabels,
        info: StoreInfo,
        tasks: Collection[str],
        rng: np.random.Generator,
    ) -> Prepared:
        """The image, (C, H, W) float32 normalised by the store, and the targets of ``tasks``.

        Raises OSError or ValueError naming a file that cannot be used.
        """


@dataclass(frozen=True)
class EvalTransform(Transform):
    """The whole image, its long side made ``size_px`` (None: as it is); labels stay as in the file.

    Raises ValueError for a size below 1.
    """

    size_px: int | None = None

    labels_follow_image: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.size_px is not None and self.size_px < 1:
            raise ValueError(f"size_px must be positive, got {self.size_px}")

    def __call__(
        self,
        labels: ImageLabels,
        info: StoreInfo,
        tasks: Collection[str],
        rng: np.random.Generator,
    ) -> Prepared:
        """The image, (C, H, W) float32, and its targets in pixels of the file."""
        resized_hw = fitted(labels.size_hw, self.size_px) if self.size_px else labels.size_hw
        view = ViewParameters.whole(labels.size_hw, resized_hw)
        bands = range(len(info.mean))
        images = [
            normalised(read_view(info.image_root / path, view, bands)[0], info)
            for path in dates(labels, tasks)
        ]
        return Prepared(images[0], whole_targets(labels, info, tasks), *images[1:])


def dates(labels: ImageLabels, tasks: Collection[str]) -> list[str]:
    """The paths of the image and, where ``tasks`` need it, of the one of the second date.

    Raises ValueError when it is needed and the row has none.
    """
    if "change" not in tasks:
        return [labels.image]
    if labels.image_after is None:
        raise ValueError(f"{labels.image} has no image of a second date to show change")
    return [labels.image, labels.image_after]


def whole_targets(labels: ImageLabels, info: StoreInfo, tasks: Collection[str]) -> Targets:
    """The targets of ``tasks`` in pixels of the file; what the row does not hold is None."""
    boxes = boxes_of(labels) if wants_boxes(tasks) else None
    rboxes = rboxes_of(labels) if "rotated" in tasks else None
    semantic, change = None, None
    if "semantic" in tasks and has_semantic(labels):
        values = info.semantic_values
        semantic = torch.from_numpy(semantic_map(labels, info.image_root, values=values))
    if "change" in tasks and labels.change is not None:
        values = info.change_values
        change = torch.from_numpy(change_map(labels, info.image_root, values=values))
    masks = None
    if "instance" in tasks and labels.rles is not None:
        masks = decode_rle(labels.rles, labels.size_hw)
    return Targets(
        boxes=boxes,
        box_labels=_tensor(labels.box_labels) if boxes is not None else None,
        masks=masks,
        rboxes=rboxes,
        rbox_labels=_tensor(labels.rbox_labels) if rboxes is not None else None,
        semantic=semantic,
        scene_class=labels.scene_class,
        change=change,
    )


def has_semantic(labels: ImageLabels) -> bool:
    """Whether a row holds semantic labels: a grey map, or masks to paint one from."""
    return labels.semantic is not None or labels.rles is not None


def normalised(pixels: NDArray[np.float32], info: StoreInfo) -> Tensor:
    """(pixels − mean) / std by channel: (C, H, W) float32."""
    mean = torch.tensor(info.mean, dtype=torch.float32)[:, None, None]
    std = torch.tensor(info.std, dtype=torch.float32)[:, None, None]
    return torch.from_numpy(pixels).sub(mean).div_(std)


def fitted(image_hw: SizeHW, side_px: int) -> SizeHW:
    """The size at which the image's long side is ``side_px``, its proportions kept."""
    return scaled(image_hw, side_px / max(image_hw))


def scaled(image_hw: SizeHW, factor: float) -> SizeHW:
    """The size nearest to ``factor`` times ``image_hw``, at least one pixel a side."""
    height, width = (max(1, int(side * factor + 0.5)) for side in image_hw)
    return (height, width)


def _tensor(class_ids: NDArray[np.int64] | None) -> Tensor | None:
    return None if class_ids is None else torch.from_numpy(class_ids)
