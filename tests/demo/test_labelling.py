"""Made labels held against drawn ones."""

import dataclasses

import numpy as np
import torch

from geomtp.demo.labelling import compared
from geomtp.geometry import encode_rle
from geomtp.labels import ImageLabels, StoreInfo, write_store
from geomtp.types import ClassMap


def _row(corners, rboxes):
    """An image of 8 px with rectangles as masks: x1 y1 x2 y2 each."""
    masks = torch.zeros(len(corners), 8, 8, dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1:y2, x1:x2] = True
    ids = np.zeros(len(corners), dtype=np.int64)
    return ImageLabels(
        "a.png",
        (8, 8),
        boxes=np.array(corners, dtype=np.float32),
        box_labels=ids,
        rles=tuple(encode_rle(masks)),
        rboxes=np.array(rboxes, dtype=np.float32),
        rbox_labels=ids,
    )


def test_each_object_is_compared_with_the_one_of_the_same_box(tmp_path):
    info = StoreInfo("s", ClassMap(("ship",)), tmp_path, (0.0,), (1.0,))
    small, large = [1, 1, 2, 2, 0.0], [6, 4, 4, 2, 0.0]
    exact = _row([(0, 0, 2, 2), (4, 3, 8, 5)], [small, large])
    made = _row([(4, 3, 8, 4), (0, 0, 2, 4)], [large, small])  # in another order
    other = dataclasses.replace(exact, image="b.png", split="val")
    stores = [
        write_store(tmp_path / name, [row, other], info)
        for name, row in (("made", made), ("exact", exact))
    ]
    found = [(row.image, number, overlap) for row, number, overlap in compared(*stores)]
    assert found == [("a.png", 0, 0.5), ("a.png", 1, 0.5)]
