"""Merging the detections of a large scene: settled from top to bottom beside all at once.

    python -m benchmarks.merge_detections [--counts 10000 100000 1000000] [--whole]

Objects (20 to 60 pixels long) lie at random in a square scene, one on 2500 square pixels; each is
found by one to four windows, a little differently each time. Figures: detections, those that are
kept, seconds, microseconds per detection, the most detections open at once, and the growth of the
process's peak memory. ``--whole`` adds ``rotated_nms`` of everything at once, whose result must be
the same. On one core: 3.2 s and 96 MiB for a million, at once 2.9 s and 332 MiB.
"""

from __future__ import annotations

import argparse
import math
import resource
import time

import torch
from torch import Tensor

from geomtp.geometry import NmsSweep, enclosing_boxes, rotated_nms
from geomtp.geometry.sweep_nms import BOXES_PER_BAND

IOU = 0.1


def detections(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes (count, 5), scores, labels: on average 2.5 detections of each object."""
    objects = math.ceil(count / 2.5)
    side = math.sqrt(objects * 2500)
    unit = torch.rand(objects, 5, generator=generator)
    low = torch.tensor([0.0, 0.0, 20.0, 8.0, -math.pi / 2])
    high = torch.tensor([side, side, 60.0, 20.0, math.pi / 2])
    true = low + unit * (high - low)
    times = torch.randint(1, 5, (objects,), generator=generator)
    which = torch.arange(objects).repeat_interleave(times)[:count]
    noise = torch.randn(len(which), 5, generator=generator)
    boxes = true[which] + noise * torch.tensor([1.0, 1.0, 1.5, 0.8, 0.05])
    return boxes, torch.rand(len(which), generator=generator), which % 15


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def swept(boxes: Tensor, scores: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """The kept indices, and the most boxes that were open after a band."""
    sweep, kept, most = NmsSweep(IOU), [], 0
    tops = enclosing_boxes(boxes.double())[:, 1]
    for band in tops.argsort(stable=True).split(BOXES_PER_BAND):
        kept.append(sweep.settled_above(float(tops[band[0]])))
        most = max(most, sweep.waiting)
        sweep.add(boxes[band], scores[band], band, labels[band])
    kept.append(sweep.settled_above(math.inf))
    return torch.cat(kept), most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--whole", action="store_true")
    arguments = parser.parse_args()
    swept(*detections(1000, torch.Generator().manual_seed(0)))
    print("detections     kept  way     seconds  us each     open  +MiB")
    for count in arguments.counts:
        boxes, scores, labels = detections(count, torch.Generator().manual_seed(count))
        before, start = peak_mib(), time.perf_counter()
        kept, most = swept(boxes, scores, labels)
        seconds = time.perf_counter() - start
        line = f"{len(boxes):10} {len(kept):8}  {{:6}} {{:8.2f}} {{:8.1f}} {{:8}} {{:5.0f}}"
        each = seconds / len(boxes) * 1e6
        print(line.format("sweep", seconds, each, most, peak_mib() - before))
        if arguments.whole:
            before, start = peak_mib(), time.perf_counter()
            whole = rotated_nms(boxes, scores, IOU, labels)
            seconds = time.perf_counter() - start
            each = seconds / len(boxes) * 1e6
            print(line.format("whole", seconds, each, len(boxes), peak_mib() - before))
            assert torch.equal(whole.sort().values, kept.sort().values)


if __name__ == "__main__":
    main()
