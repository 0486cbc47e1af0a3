"""How long the average precision of rotated boxes takes, beside plain loops over images.

    OMP_NUM_THREADS=1 python -m benchmarks.rotated_map [--images 10000] [--twin-images 200]

Each image of 1024 pixels holds 30 true objects of 15 classes and 100 detections: most are true
objects moved a little, the others anything. Timed is all of ``RotatedScore``: AP by area and by
eleven points at IoU 0.5, at 0.75, and the mean over ten IoU. The twin goes image by image, class by
class and detection by detection, as evaluators of DOTA usually do, and gives AP at 0.5 alone; on
the images that both see the two must agree.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

import numpy as np
import torch

from geomtp.geometry import rotated_iou
from geomtp.metrics import RotatedScore
from geomtp.metrics.averages import average_precision
from geomtp.types import Predictions, Targets

CLASSES, DETECTIONS, OBJECTS, SIDE_PX = 15, 100, 30, 1024.0
Image = tuple[Predictions, Targets]


def draw(count: int) -> list[Image]:
    generator = torch.Generator().manual_seed(0)
    low = torch.tensor([0.0, 0.0, 12.0, 8.0, -1.5])
    high = torch.tensor([SIDE_PX, SIDE_PX, 90.0, 40.0, 1.5])
    noise = torch.tensor([3.0, 3.0, 4.0, 2.0, 0.05])
    images = []
    for _ in range(count):
        true = low + torch.rand(OBJECTS, 5, generator=generator) * (high - low)
        classes = torch.randint(0, CLASSES, (OBJECTS,), generator=generator)
        which = torch.randint(0, OBJECTS, (DETECTIONS,), generator=generator)
        moved = true[which] + torch.randn(DETECTIONS, 5, generator=generator) * noise
        anything = low + torch.rand(DETECTIONS, 5, generator=generator) * (high - low)
        right = torch.rand(DETECTIONS, generator=generator) < 0.7
        labels = torch.randint(0, CLASSES, (DETECTIONS,), generator=generator)
        found = Predictions(
            rboxes=torch.where(right[:, None], moved, anything),
            rbox_scores=torch.rand(DETECTIONS, generator=generator),
            rbox_labels=torch.where(right, classes[which], labels),
        )
        images.append((found, Targets(rboxes=true, rbox_labels=classes)))
    return images


def score(images: list[Image]) -> tuple[float, ...]:
    scores = RotatedScore([f"class {k}" for k in range(CLASSES)])
    for number, (found, true) in enumerate(images):
        scores.update(number, found, true)
    return scores.compute().ap50


def plain_loops(images: list[Image]) -> tuple[float, ...]:
    return tuple(_of_class(images, label) for label in range(CLASSES))


def _of_class(images: list[Image], label: int) -> float:
    rows, objects = [], 0
    for found, true in images:
        mine, own = found.rbox_labels == label, true.rbox_labels == label
        order = found.rbox_scores[mine].argsort(descending=True, stable=True)
        overlaps = rotated_iou(found.rboxes[mine][order].double(), true.rboxes[own].double())
        scores = found.rbox_scores[mine][order].tolist()
        objects += int(own.sum())
        claimed: set[int] = set()
        for value, row in zip(scores, overlaps.tolist(), strict=True):
            best = max(range(len(row)), key=row.__getitem__, default=None)
            right = best is not None and row[best] >= 0.5 and best not in claimed
            if right:
                claimed.add(best)
            rows.append((value, right))
    rows.sort(key=lambda row: -row[0])
    right = np.array([right for _, right in rows]).cumsum()
    return average_precision(right / objects, right / np.arange(1, len(rows) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--twin-images", type=int, default=200)
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    images = draw(arguments.images)
    few = images[: arguments.twin_images]
    began = time.process_time()
    twin = plain_loops(few)
    twin_s = (time.process_time() - began) / len(few)
    np.testing.assert_allclose(score(few), twin, atol=1e-12)
    profile = cProfile.Profile() if arguments.profile else None
    began, began_wall = time.process_time(), time.perf_counter()
    if profile is not None:
        profile.enable()
    score(images)
    if profile is not None:
        profile.disable()
    ours_s, wall_s = time.process_time() - began, time.perf_counter() - began_wall
    print(
        f"{len(images)} images x {DETECTIONS} detections, {torch.get_num_threads()} threads: "
        f"{ours_s:.1f} s of processor ({wall_s:.1f} s wall), {1e3 * ours_s / len(images):.2f} ms "
        f"an image; plain loops on {len(few)} images {1e3 * twin_s:.2f} ms an image, "
        f"{twin_s * len(images) / ours_s:.1f} times as long"
    )
    if profile is not None:
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)


if __name__ == "__main__":
    main()
