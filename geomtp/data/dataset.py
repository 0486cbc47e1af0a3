"""Samples of one label store, and batches of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from geomtp.data.transforms import Transform
from geomtp.labels import DoubtRule, LabelStore, StoreInfo
from geomtp.types import ALL_TASKS, IGNORE, Batch, SizeHW, Targets

_STRIDE_PX = 32  # encoders take multiples of it
_MOST_BAD = 20  # images tried in place of damaged ones


@dataclass(frozen=True)
class Sample:
    """One image, prepared.

    - image: (C, H, W) float32, normalised; size_hw: its H and W
    - targets: what the tasks need, in pixels of ``image``, or of the file where the next is given
    - original_size_hw: of the file, where targets are in pixels of the file (evaluation), else None
    - image_id: the image's path in the store
    - image_after: like ``image``, of the second date, where the tasks need one
    """

    image: Tensor
    targets: Targets
    size_hw: SizeHW
    original_size_hw: SizeHW | None
    image_id: str
    image_after: Tensor | None = None


@dataclass(frozen=True)
class StoreDataset:
    """The images of ``store`` as ``transform`` makes them, with the labels of ``tasks``.

    What is drawn at random depends on ``seed``, the epoch and the index only. Pickled, it is as
    small as the path of its store.

    - skip_bad: warn of a file that cannot be used and take another image of the store in its place
      (evaluation: leave it out); otherwise the error stops the run
    - mean, std: normalise by these instead of the store's
    - doubt: instances that are left out

    Raises ValueError for unknown tasks, or mean and std that do not go together.
    """

    store: LabelStore
    transform: Transform
    tasks: Sequence[str]
    seed: int = 0
    skip_bad: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    doubt: DoubtRule = field(default_factory=DoubtRule)

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in ALL_TASKS]
        if unknown:
            raise ValueError(f"unknown tasks {unknown}; known: {', '.join(ALL_TASKS)}")
        _ = self.info  # checks mean and std

    def __len__(self) -> int:
        return len(self.store)

    @property
    def info(self) -> StoreInfo:
        """The store's, with the mean and std that images are normalised by."""
        own = self.store.info
        return replace(own, mean=self.mean or own.mean, std=self.std or own.std)

    def get(self, epoch: int, index: int) -> Sample:
        """Image ``index`` as it is seen in ``epoch``, or with ``skip_bad`` one that can be used.

        Raises OSError or ValueError naming a file that cannot be used.
        """
        rng = np.random.default_rng((self.seed, epoch, index))
        for _ in range(_MOST_BAD):
            try:
                return self._sample(index, rng)
            except (OSError, ValueError) as error:
                if not self.skip_bad:
                    raise
                warnings.warn(f"another image is taken instead: {error}", stacklevel=2)
            index = int(rng.integers(len(self)))
        raise OSError(
            f"{_MOST_BAD} images of {self.store.path} in a row could not be used: "
            f"is its image folder {self.store.image_root} the right one?"
        )

    def get_or_none(self, index: int) -> Sample | None:
        """Image ``index`` itself; None, with a warning, if it cannot be used (``skip_bad``).

        Raises like ``get``.
        """
        try:
            return self._sample(index, np.random.default_rng((self.seed, 0, index)))
        except (OSError, ValueError) as error:
            if not self.skip_bad:
                raise
            warnings.warn(f"left out: {error}", stacklevel=2)
            return None

    def _sample(self, index: int, rng: np.random.Generator) -> Sample:
        labels = self.doubt.apply(self.store[index])
        image, targets, image_after = self.transform(labels, self.info, self.tasks, rng)
        return Sample(
            image=image,
            targets=targets,
            size_hw=(image.shape[1], image.shape[2]),
            original_size_hw=None if self.transform.labels_follow_image else labels.size_hw,
            image_id=labels.image,
            image_after=image_after,
        )


def collate(
    samples: Sequence[Sample],
    source: str,
    size_px: int | None = None,
    *,
    reference_label_padding: bool = False,
) -> Batch:
    """A batch of samples of one source, padded right and bottom to one canvas.

    The canvas is the largest image rounded up to multiples of 32, and at least ``size_px`` a side.
    Images and masks are padded with 0, semantic maps with 255 (ignored). Labels in pixels of the
    file (evaluation) are not padded; their batch has ``original_sizes_hw``.

    ``reference_label_padding``: semantic maps are padded only to the largest image of the batch
    rounded up, as the paper's code does, and are then smaller than the canvas.

    Raises ValueError for no samples or samples of training and evaluation together.
    """
    if not samples:
        raise ValueError("a batch needs at least one sample")
    largest = [max(sample.size_hw[axis] for sample in samples) for axis in (0, 1)]
    own_hw = (_rounded_up(largest[0]), _rounded_up(largest[1]))
    least = _rounded_up(size_px or 0)
    canvas_hw = (max(own_hw[0], least), max(own_hw[1], least))
    originals = [s.original_size_hw for s in samples if s.original_size_hw is not None]
    if originals and len(originals) != len(samples):
        raise ValueError("samples of training and of evaluation do not go into one batch")
    targets = [sample.targets for sample in samples]
    if not originals:
        label_hw = own_hw if reference_label_padding else canvas_hw
        targets = [_padded_targets(target, canvas_hw, label_hw) for target in targets]
    after = [sample.image_after for sample in samples if sample.image_after is not None]
    if after and len(after) != len(samples):
        raise ValueError("images with a second date and without do not go into one batch")
    return Batch(
        images=_canvas([sample.image for sample in samples], canvas_hw),
        targets=tuple(targets),
        image_sizes_hw=tuple(sample.size_hw for sample in samples),
        source=source,
        images_after=_canvas(after, canvas_hw) if after else None,
        image_ids=tuple(sample.image_id for sample in samples),
        original_sizes_hw=tuple(originals) or None,
    )


def _canvas(images: Sequence[Tensor], size_hw: SizeHW) -> Tensor:
    """Images (C, H, W) of several sizes as (B, C, *size_hw), padded with 0."""
    canvas = images[0].new_zeros(len(images), images[0].shape[0], *size_hw)
    for place, image in zip(canvas, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]] = image
    return canvas


def _rounded_up(side_px: int) -> int:
    return -(-side_px // _STRIDE_PX) * _STRIDE_PX


def _padded_targets(targets: Targets, canvas_hw: SizeHW, label_hw: SizeHW) -> Targets:
    masks, semantic, change = targets.masks, targets.semantic, targets.change
    return replace(
        targets,
        masks=None if masks is None else _padded(masks, canvas_hw, 0),
        semantic=None if semantic is None else _padded(semantic, label_hw, IGNORE),
        change=None if change is None else _padded(change, canvas_hw, IGNORE),
    )


def _padded(maps: Tensor, size_hw: SizeHW, value: int) -> Tensor:
    """(…, H, W) padded right and bottom to ``size_hw``."""
    missing = (0, size_hw[1] - maps.shape[-1], 0, size_hw[0] - maps.shape[-2])
    return F.pad(maps, missing, value=value) if any(missing) else maps
