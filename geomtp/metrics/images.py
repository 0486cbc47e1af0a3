"""What the metrics that go image by image share: merging over processes, checks of labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomtp.parallel import gather_objects

Record = TypeVar("Record")


def merged(images: Mapping[Hashable, Record]) -> list[Record]:
    """The records of all processes' images, each image once, ordered by the image's name.

    The order does not depend on which process saw an image, so detections of equal score rank the
    same on any number of processes.
    """
    by_id = dict(gather_objects(list(images.items())))
    return [by_id[image_id] for image_id in sorted(by_id, key=repr)]


def class_ids(image_id: Hashable, labels: Tensor, num_classes: int) -> NDArray[np.int64]:
    """The labels as an array (N,). Raises ValueError unless all are 0…num_classes − 1."""
    ids = labels.cpu().numpy().astype(np.int64)
    if ids.size and not 0 <= ids.min() <= ids.max() < num_classes:
        raise ValueError(
            f"image {image_id!r} holds class ids {ids.min()}…{ids.max()}, "
            f"expected 0…{num_classes - 1}"
        )
    return ids


def flags(name: str, given: Tensor | None, count: int) -> NDArray[np.bool_]:
    """One flag per true box: ``given``, all False for None. Raises ValueError for another shape."""
    chosen = torch.zeros(count, dtype=torch.bool) if given is None else given.cpu().bool()
    if chosen.shape != (count,):
        raise ValueError(
            f"{name} must hold one flag per true box: {count} boxes, "
            f"flags of shape {tuple(chosen.shape)}"
        )
    return chosen.numpy()
