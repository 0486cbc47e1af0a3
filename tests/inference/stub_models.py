"""Models of a few lines whose answers are known: what windows are made of can be told exactly."""

from collections import deque

import numpy as np
import torch
import torch.nn.functional as F

from geomtp.model import ModelConfig, SourceConfig
from geomtp.types import ClassMap, Predictions


class StubModel:
    """Has the interface of a model; ``say`` is told the values of the files."""

    def __init__(self, tasks, names=("ship", "plane"), bands=1, image_size=64):
        source = SourceConfig(ClassMap(names), tasks, (128.0,) * bands, (64.0,) * bands)
        self.config = ModelConfig("stub", image_size, {"made": source}, in_channels=bands)
        self.windows = 0

    def tasks_of(self, source):
        return list(self.config.sources[source].tasks)

    def predict(self, images, sizes, source, output_sizes=None, images_after=None):
        self.windows += len(images)
        after = None if images_after is None else images_after * 64 + 128
        return self.say(images * 64 + 128, after)


class Blur(StubModel):
    """Three values by the mean brightness around a pixel: it sees ``RADIUS`` pixels far."""

    RADIUS = 4

    def __init__(self, bands=1):
        super().__init__(("semantic",), bands=bands)

    def say(self, images, images_after):
        side = 2 * self.RADIUS + 1
        grey = images.mean(dim=1, keepdim=True)
        mean = F.avg_pool2d(F.pad(grey, (self.RADIUS,) * 4, mode="replicate"), side, 1)
        levels = torch.tensor([60.0, 128.0, 190.0])[:, None, None]
        return [Predictions(semantic_logits=-((m - levels) ** 2) / 100) for m in mean]


class Difference(StubModel):
    """Changed is where the two dates differ by more than 50."""

    def __init__(self):
        super().__init__(("change",))

    def say(self, images, images_after):
        far = (images - images_after).abs()[:, 0] - 50
        return [Predictions(change_logits=torch.stack([-d, d])) for d in far]


class Rectangles(StubModel):
    """Finds rectangles of one value on black: rotated or horizontal boxes, or masks.

    Values below 128 are class 0, others class 1. What a window cuts off is not seen, so that its
    box is too short; the score of a box grows with its area.
    """

    def __init__(self, task):
        super().__init__((task,))
        self.task = task

    def say(self, images, images_after):
        return [self._found(image[0].numpy()) for image in images.round()]

    def _found(self, grey):
        regions = list(_regions(grey))
        n = len(regions)
        boxes = torch.tensor([r[:4] for r in regions], dtype=torch.float32).reshape(n, 4)
        labels = torch.tensor([int(r[4] >= 128) for r in regions], dtype=torch.int64)
        scores = torch.tensor([min(0.99, r[5] / 100) for r in regions])
        if self.task == "rotated":
            middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
            wide = sides[:, :1] >= sides[:, 1:]
            sides = torch.where(wide, sides, sides.flip(1))
            angle = torch.where(wide, 0.0, -torch.pi / 2)
            return Predictions(
                rboxes=torch.cat([middles, sides, angle], dim=1),
                rbox_scores=scores,
                rbox_labels=labels,
            )
        masks = None
        if self.task == "instance":
            masks = torch.zeros(n, *grey.shape, dtype=torch.bool)
            for mask, region in zip(masks, regions, strict=True):
                mask[region[1] : region[3], region[0] : region[2]] = True
        return Predictions(boxes=boxes, box_scores=scores, box_labels=labels, masks=masks)


def _regions(grey):
    """x1, y1, x2, y2, value and area of each connected region above 0."""
    seen = np.zeros(grey.shape, dtype=bool)
    for y, x in np.argwhere(grey > 0):
        if seen[y, x]:
            continue
        waiting, rows, columns = deque([(y, x)]), [], []
        seen[y, x] = True
        while waiting:
            i, j = waiting.popleft()
            rows.append(i)
            columns.append(j)
            for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                inside = 0 <= a < grey.shape[0] and 0 <= b < grey.shape[1]
                if inside and grey[a, b] == grey[y, x] and not seen[a, b]:
                    seen[a, b] = True
                    waiting.append((a, b))
        yield min(columns), min(rows), max(columns) + 1, max(rows) + 1, grey[y, x], len(rows)
