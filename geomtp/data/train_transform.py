"""Random views of an image and its labels, to train on.

All labels move with the image. What a view does not show is neither decoded nor, where the file
format allows it, read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.data.objects import KeepRule, objects_in_view
from geomtp.data.photometric import (
    PhotometricParameters,
    distort,
    distort_reference,
    distort_values,
)
from geomtp.data.rand_augment import erased, picture_of, rand_augment
from geomtp.data.transforms import (
    Prepared,
    Transform,
    dates,
    fitted,
    has_semantic,
    normalised,
    scaled,
)
from geomtp.data.turning import Turning, turned_pixels, turned_targets
from geomtp.data.views import (
    ViewParameters,
    change_view,
    read_view,
    semantic_view,
    sides_of_share,
)
from geomtp.geometry.rotated_boxes import Direction
from geomtp.labels import ImageLabels, StoreInfo
from geomtp.rasters import WindowXYXY
from geomtp.types import IGNORE, SizeHW

_FLIPS: tuple[Direction | None, ...] = ("horizontal", "vertical", "diagonal", None)
_LEVEL_FLIPS: tuple[Direction | None, ...] = ("horizontal", None)
_MOST_VIEWS = 10  # drawn of one image in search of one with objects
_STD_OF_BYTES = 57.0  # usual standard deviation of 8-bit photographs, in grey levels


@dataclass(frozen=True)
class TrainTransform(Transform):
    """Mirrored, resized and cropped at random, colours distorted, at most ``size_px`` a side.

    - resize_range: of the ratio r, drawn uniformly
    - flip: left-right, top-bottom, both or neither, a quarter each; flip_vertically=False:
      left-right or not, a half each
    - photometric: distort brightness, contrast, saturation and hue
    - reference_filtering: the objects that the paper's code keeps (``objects.KeepRule``)
    - reference_photometric: the colours of the paper's code (``photometric.distort_reference``)
    - resize_relative_to: "crop": the image's long side becomes r · size_px, whatever its size (the
      paper); "image": the image is zoomed by r, for small objects in large images, and views lie
      at its borders as often as the pixels there are its share
    - visible_fraction: how much of a box must be seen if its centre is not (``filtering``)
    - cut_rboxes: what becomes of a rotated box that the view cuts: it stays "whole", or becomes the
      "upright" box round what is seen of it
    - area_range: instead of a zoom, views show a share of the image's area drawn from this range,
      at a ratio of 3/4…4/3, resized to ``size_px`` a side
    - largest_class: crops are drawn anew, up to ten times, while one class fills this share or
      more of the semantic map, what is ignored left out
    - turning: which views are turned by any angle, after the crop (not for upright boxes)
    - rand_augment: change 8-bit pictures by two of the ways of RandAugment
    - erase_share: of 8-bit pictures have a rectangle of noise
    - exchange_dates: half of the pairs are seen in the other order

    A view that lost all objects of its image is drawn anew, up to ten times, and then stays as it
    is (the paper's code takes another image). Views smaller than ``size_px`` are not padded here.

    Raises ValueError for settings that mean nothing.
    """

    size_px: int
    resize_range: tuple[float, float] = (0.5, 2.0)
    flip: bool = True
    photometric: bool = True
    reference_filtering: bool = False
    reference_photometric: bool = False
    resize_relative_to: Literal["crop", "image"] = "crop"
    visible_fraction: float = 0.3
    cut_rboxes: Literal["whole", "upright"] = "whole"
    flip_vertically: bool = True
    area_range: tuple[float, float] | None = None
    largest_class: float = 1.0
    turning: Turning | None = None
    exchange_dates: bool = False
    rand_augment: bool = False
    erase_share: float = 0.0

    labels_follow_image: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = self.resize_range
        if self.size_px < 1 or not 0 < low <= high:
            raise ValueError(
                f"size_px must be positive and resize_range rise from above 0, "
                f"got {self.size_px} and {self.resize_range}"
            )
        if self.resize_relative_to not in ("crop", "image"):
            raise ValueError(
                f"resize_relative_to must be 'crop' or 'image', got {self.resize_relative_to!r}"
            )
        if self.area_range is not None and not 0 < self.area_range[0] <= self.area_range[1] <= 1:
            raise ValueError(f"area_range must rise within 0…1, got {self.area_range}")
        if not 0 < self.largest_class <= 1:
            raise ValueError(f"largest_class is a share above 0, got {self.largest_class}")
        if not 0 <= self.visible_fraction <= 1:
            raise ValueError(f"visible_fraction must lie in 0…1, got {self.visible_fraction}")

    def __call__(
        self,
        labels: ImageLabels,
        info: StoreInfo,
        tasks: Collection[str],
        rng: np.random.Generator,
    ) -> Prepared:
        """A view of the image, (C, H, W) float32, and its targets in pixels of the view."""
        rule = KeepRule(
            self.visible_fraction, self.reference_filtering, self.cut_rboxes == "upright"
        )
        for _ in range(_MOST_VIEWS):
            view = self.draw(labels.size_hw, rng)
            targets, lost = objects_in_view(labels, view, tasks, rule)
            if not lost:
                break
        root, semantic, change = info.image_root, None, None
        if "semantic" in tasks and has_semantic(labels):
            semantic = semantic_view(labels, root, view, info.semantic_values)
            for _ in range(_MOST_VIEWS if self.largest_class < 1 else 0):
                if largest_share(semantic) < self.largest_class:
                    break
                view = dataclasses.replace(view, crop_xyxy=self._crop(view.resized_hw, rng))
                semantic = semantic_view(labels, root, view, info.semantic_values)
                targets, _ = objects_in_view(labels, view, tasks, rule)
        if "change" in tasks and labels.change is not None:
            change = change_view(labels, root, view, info.change_values)
        targets = dataclasses.replace(
            targets, semantic=semantic, change=change, scene_class=labels.scene_class
        )
        # The second date is seen through the same view, but in a light of its own.
        angle = self.turning.draw(targets, info.classes, rng) if self.turning else 0.0
        if angle:
            targets = turned_targets(targets, view.size_hw, angle)
        paths = dates(labels, tasks)
        if self.exchange_dates and rng.random() < 0.5:
            paths.reverse()
        images = [self._image(root / path, view, info, rng, angle) for path in paths]
        return Prepared(images[0], targets, *images[1:])

    def _image(
        self,
        path: Path,
        view: ViewParameters,
        info: StoreInfo,
        rng: np.random.Generator,
        angle_rad: float,
    ) -> Tensor:
        pixels, dtype = read_view(path, view, range(len(info.mean)))
        if angle_rad:
            pixels = turned_pixels(pixels, angle_rad)
        if self.photometric:
            pixels = self._distorted(pixels, dtype, info, PhotometricParameters.draw(rng))
        if self.rand_augment or self.erase_share:
            picture = picture_of(pixels, dtype)
            if self.rand_augment:
                picture = rand_augment(picture, rng)
            picture = erased(picture, rng, self.erase_share)
            pixels = np.ascontiguousarray(picture.transpose(2, 0, 1), dtype=np.float32)
        return normalised(pixels, info)

    def draw(self, image_hw: SizeHW, rng: np.random.Generator) -> ViewParameters:
        """A random view of an image of this size."""
        directions = _FLIPS if self.flip_vertically else _LEVEL_FLIPS
        flip = directions[rng.integers(len(directions))] if self.flip else None
        if self.area_range is not None:
            return self._of_area(image_hw, flip, self.area_range, rng)
        ratio = float(rng.uniform(*self.resize_range))
        if self.resize_relative_to == "crop":
            resized_hw = fitted(image_hw, int(self.size_px * ratio))
        else:
            resized_hw = scaled(image_hw, ratio)
        return ViewParameters(image_hw, flip, resized_hw, self._crop(resized_hw, rng))

    def _crop(self, resized_hw: SizeHW, rng: np.random.Generator) -> WindowXYXY:
        height, width = (min(self.size_px, side) for side in resized_hw)
        y1 = self._start(resized_hw[0], height, rng)
        x1 = self._start(resized_hw[1], width, rng)
        return (x1, y1, x1 + width, y1 + height)

    def _of_area(
        self,
        image_hw: SizeHW,
        flip: Direction | None,
        area_range: tuple[float, float],
        rng: np.random.Generator,
    ) -> ViewParameters:
        """A part of the image of an area and a ratio drawn at random, ``size_px`` a side."""
        square = (min(image_hw), min(image_hw))
        height, width = sides_of_share(image_hw, area_range, rng) or square
        zooms = (self.size_px / height, self.size_px / width)
        resized_hw = (round(image_hw[0] * zooms[0]), round(image_hw[1] * zooms[1]))
        y1, x1 = (int(rng.integers(side - self.size_px + 1)) for side in resized_hw)
        crop = (x1, y1, x1 + self.size_px, y1 + self.size_px)
        return ViewParameters(image_hw, flip, resized_hw, crop)

    def _start(self, resized: int, seen: int, rng: np.random.Generator) -> int:
        """Where a view ``seen`` pixels long of an axis ``resized`` pixels long begins."""
        if self.resize_relative_to == "crop":
            return int(rng.integers(resized - seen + 1))
        # Any pixel is as likely in the middle, and then the view moves inside: were the start drawn
        # evenly, the borders of images much larger than views would hardly ever be seen.
        return min(max(int(rng.integers(resized)) - seen // 2, 0), resized - seen)

    def _distorted(
        self,
        pixels: NDArray[np.float32],
        dtype: np.dtype[np.generic],
        info: StoreInfo,
        parameters: PhotometricParameters,
    ) -> NDArray[np.float32]:
        if dtype != np.uint8 or len(pixels) not in (1, 3):
            mean, std = (np.array(part, dtype=np.float32) for part in (info.mean, info.std))
            return distort_values(pixels, parameters, std / np.float32(_STD_OF_BYTES), mean)
        if self.reference_photometric:
            return distort_reference(pixels, parameters)
        return distort(np.rint(pixels).astype(np.uint8), parameters).astype(np.float32)


def largest_share(semantic: Tensor) -> float:
    """The share of the most frequent value of a map (uint8), ignored pixels left out; 1 of none."""
    counts = torch.bincount(semantic.flatten().int(), minlength=IGNORE + 1)[:IGNORE]
    total = int(counts.sum())
    return float(counts.max()) / total if total else 1.0
