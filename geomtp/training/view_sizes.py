"""A warning where training sees far less of an image at a time than validation does."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from geomtp.data.dataset import StoreDataset
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform

MUCH_LARGER = 2.0
"""Validated images of so many times the side of training views are worth a word."""

_IMAGES_ASKED = 50


def small_views(
    training: Mapping[str, StoreDataset], held_out: Mapping[str, StoreDataset]
) -> str | None:
    """One sentence naming the sources whose views are much smaller than the validated images.

    None where there is none. Batch norms then know the statistics of small views, and global
    attention a smaller context; windows of the size of the views make them equal.
    """
    found = []
    for source in sorted(training.keys() & held_out.keys()):
        view, seen_px = training[source].transform, _side_px(held_out[source])
        if isinstance(view, TrainTransform) and seen_px >= MUCH_LARGER * view.size_px:
            found.append(f"{source}: views of {view.size_px} px, images of {seen_px} px")
    if not found:
        return None
    return (
        f"warning: validated images are much larger than training views ({'; '.join(found)}): "
        f"statistics and context differ, scores may be too low; train with a larger --image-size, "
        f"or score by windows of the views' size: geomtp evaluate --crop"
    )


def _side_px(dataset: StoreDataset) -> int:
    """The long side at which the images of a source are validated, the median of some of them."""
    transform, store = dataset.transform, dataset.store
    if isinstance(transform, EvalTransform) and transform.size_px is not None:
        return transform.size_px
    step = -(-len(store) // _IMAGES_ASKED) or 1
    sides = [max(store[i].size_hw) for i in range(0, len(store), step)]
    return int(statistics.median(sides)) if sides else 0
