"""Views of images without labels: random crops, resized and mirrored, for masked autoencoding."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geomtp.data.image_index import ImageIndex
from geomtp.data.loading import Failure, loader_of
from geomtp.data.mixing import Key, StepSampler
from geomtp.data.views import sides_of_share
from geomtp.labels.channel_statistics import measure_mean_std
from geomtp.rasters import WindowXYXY, raster_info, read_window
from geomtp.types import Batch, SizeHW, Targets

SOURCE = "images"
"""Name of the one source of unlabelled images."""

_MOST_BAD = 20
_MEASURED = 100


@dataclass(frozen=True)
class RandomView:
    """What part of an image is seen: a random crop, resized to ``size_px`` and mirrored.

    - crop_area: share of the image's area that the crop has, drawn uniformly; its sides differ by a
      factor of 3/4 to 4/3
    - crop_side_px: draw the side of a square crop, in pixels of the image, from this range instead;
      for scenes much larger than a view, of which only that part is read
    """

    size_px: int
    crop_area: tuple[float, float] = (0.2, 1.0)
    crop_side_px: tuple[int, int] | None = None

    def window(self, image_hw: SizeHW, rng: np.random.Generator) -> WindowXYXY:
        """The crop of an image of this size, whole pixels inside the image."""
        height, width = self._size_hw(image_hw, rng)
        y1 = int(rng.integers(image_hw[0] - height + 1))
        x1 = int(rng.integers(image_hw[1] - width + 1))
        return (x1, y1, x1 + width, y1 + height)

    def _size_hw(self, image_hw: SizeHW, rng: np.random.Generator) -> SizeHW:
        least = min(image_hw)
        if self.crop_side_px is not None:
            side = min(least, int(rng.integers(self.crop_side_px[0], self.crop_side_px[1] + 1)))
            return (side, side)
        # An image that is too long for its share shows as much as the ratio of the sides allows.
        most = round(least * 4 / 3)
        narrow = (min(image_hw[0], most), min(image_hw[1], most))
        return sides_of_share(image_hw, self.crop_area, rng) or narrow

    def middle(self, image_hw: SizeHW) -> WindowXYXY:
        """The largest square crop in the middle; of the largest side where sides are in pixels."""
        side = min(image_hw)
        if self.crop_side_px is not None:
            side = min(side, self.crop_side_px[1])
        y1, x1 = (image_hw[0] - side) // 2, (image_hw[1] - side) // 2
        return (x1, y1, x1 + side, y1 + side)


@dataclass(frozen=True)
class UnlabelledDataset:
    """The images of ``index`` as views, normalised by ``mean`` and ``std``.

    What is drawn at random depends on ``seed``, the epoch and the index only. The number of means
    is the number of channels: the first ones of each file are read.

    - skip_bad: warn of a file that cannot be used and take another image in its place; otherwise
      the error stops the run
    """

    index: ImageIndex
    view: RandomView
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int = 0
    skip_bad: bool = False

    def __len__(self) -> int:
        return len(self.index)

    def get(self, epoch: int, number: int) -> tuple[Tensor, str]:
        """Image ``number`` as it is seen in ``epoch``, (C, size_px, size_px), and its path.

        Raises OSError or ValueError naming a file that cannot be used.
        """
        rng = np.random.default_rng((self.seed, epoch, number))
        for _ in range(_MOST_BAD):
            path = self.index[number]
            try:
                window = self.view.window(checked_size(path, len(self.mean)), rng)
                pixels = self._read(path, window)
                across, down = rng.integers(2, size=2)
                flipped = [axis for axis, chosen in ((2, across), (1, down)) if chosen]
                return pixels.flip(flipped) if flipped else pixels, str(path)
            except (OSError, ValueError) as error:
                if not self.skip_bad:
                    raise
                warnings.warn(f"another image is taken instead: {error}", stacklevel=2)
            number = int(rng.integers(len(self)))
        raise OSError(
            f"{_MOST_BAD} images in a row could not be used, the last was {path}: is the data the "
            f"right one, and in_channels {len(self.mean)}?"
        )

    def middle(self, number: int) -> Tensor:
        """The middle of image ``number``, upright, (C, size_px, size_px). Raises as ``get``."""
        path = self.index[number]
        return self._read(path, self.view.middle(checked_size(path, len(self.mean))))

    def _read(self, path: Path, window: WindowXYXY) -> Tensor:
        pixels = read_window(path, window, bands=range(len(self.mean)))
        values = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)  # (C, h, w)
        mean = torch.tensor(self.mean)[:, None, None]
        values = values.sub(mean).div_(torch.tensor(self.std)[:, None, None])
        values = values.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)  # no data: the mean
        side = self.view.size_px
        if values.shape[1:] == (side, side):
            return values.contiguous()
        resized = F.interpolate(values[None], (side, side), mode="bicubic", antialias=True)
        return resized[0]


def checked_size(path: Path, channels: int) -> SizeHW:
    """Height and width of an image.

    Raises OSError where it cannot be read, ValueError where it has fewer than ``channels`` (a grey
    picture counts as three).
    """
    info = raster_info(path)
    if info.bands < channels and info.channels != channels:
        raise ValueError(
            f"{path} has {info.bands} channels, in_channels asks for {channels}: "
            f"set in_channels to {info.bands}, or leave such images out"
        )
    return info.size_hw


def measure_statistics(
    index: ImageIndex, channels: int, *, skip_bad: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over 100 images spread over the index.

    Raises ValueError when an image has fewer channels (with ``skip_bad`` it is passed over), or
    none of them can be read.
    """
    paths = [index[number] for number in index.spread(_MEASURED)]
    usable = []
    for path in paths:
        try:
            checked_size(path, channels)
        except OSError:
            continue  # training says what is wrong with it, or passes it over
        except ValueError:
            if not skip_bad:
                raise
            continue
        usable.append(path)
    return measure_mean_std(Path(), [str(path) for path in usable or paths], channels)


class _Views(Dataset[tuple[Tensor, str] | Failure]):
    """The views of a data set by key."""

    def __init__(self, dataset: UnlabelledDataset) -> None:
        self._dataset = dataset

    def __getitem__(self, key: Key) -> tuple[Tensor, str] | Failure:
        _, epoch, number = key
        try:
            return self._dataset.get(epoch, number)
        except (OSError, ValueError) as error:
            return Failure(error)


def _batch(read: Sequence[tuple[Tensor, str] | Failure]) -> Batch | Failure:
    views: list[Tensor] = []
    names: list[str] = []
    for item in read:
        if isinstance(item, Failure):
            return item
        views.append(item[0])
        names.append(item[1])
    height, width = views[0].shape[1:]
    return Batch(
        images=torch.stack(views),
        targets=(Targets(),) * len(views),
        image_sizes_hw=((height, width),) * len(views),
        source=SOURCE,
        image_ids=tuple(names),
    )


def unlabelled_loader(
    dataset: UnlabelledDataset,
    *,
    batch_size: int,
    steps: int,
    start_step: int = 0,
    seed: int = 0,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin_memory: bool = False,
) -> DataLoader[Any]:
    """A loader of the batches of steps ``start_step``…``steps − 1``, as this process reads them.

    All processes together read what one with the batch of all would; what comes does not depend on
    the number of ``workers``. Iterating raises OSError or ValueError naming a file that cannot be
    used.
    """
    sampler = StepSampler(
        {SOURCE: len(dataset)},
        {SOURCE: batch_size},
        steps,
        start_step=start_step,
        seed=seed,
        rank=rank,
        world=world,
    )
    return loader_of(_Views(dataset), sampler, _batch, workers, pin_memory)
