"""How long rotated boxes take: overlap, suppression and pooling, beside other ways.

    python -m benchmarks.rotated_ops [--threads N] [--quick]

Boxes have sides of 20 to 100 pixels, any angle, and uniformly random centres. "Sparse" spreads
them so far that a box overlaps 0.8 others on average: objects of a large scene, as a good
detector reports them. "Dense" puts 20 000 boxes into 1000 x 1000 pixels, 2 000 or twice 1000 (for
the matrix) into 300 x 300, so that a box overlaps some 300 of 20 000, or every seventh: the raw
output of a detector, of which suppression leaves one in thirty.

The twins are shapely 2 (STRtree and ``intersection`` on whole arrays; its suppression is tried with
several block lengths and the fastest counts), torchvision's compiled ``box_iou`` (not exact), and,
for RoIAlign, ``grid_sample``. mmcv's compiled operators are quoted from a run on the same kind of
machine (two cores of an AMD EPYC). Every figure is the median of repeated runs; the results of
exact twins must agree.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import shapely
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor
from torchvision.ops import box_iou

from geomtp.geometry import quads_from_rboxes, rotated_iou, rotated_nms, rotated_roi_align
from geomtp.geometry.rotated_boxes import to_torchvision

THRESHOLD = 0.1

MMCV_CPU_SECONDS = {
    "IoU 1000 x 1000, dense": 1.5,
    "IoU 1000 x 1000, sparse": 1.5,
    "NMS 2000, sparse": 1.75,
    "NMS 2000, dense": 0.21,
    "NMS 20000, sparse": 193.0,
    "NMS 20000, dense": 20.0,
}


@dataclass(frozen=True)
class Timing:
    """Median processor seconds and wall seconds of one call."""

    cpu: float
    wall: float


def timed(call: Callable[[], Any], seconds: float = 2.0, least: int = 3) -> Timing:
    """Run ``call`` for about ``seconds``, at least ``least`` times after one warm-up."""
    call()
    cpu, wall = [], []
    while len(wall) < least or (sum(wall) < seconds and len(wall) < 200):
        start_cpu, start = time.process_time(), time.perf_counter()
        call()
        cpu.append(time.process_time() - start_cpu)
        wall.append(time.perf_counter() - start)
    return Timing(statistics.median(cpu), statistics.median(wall))


def random_rboxes(count: int, scene_px: float, generator: torch.Generator) -> Tensor:
    unit = torch.rand(count, 5, generator=generator)
    low = torch.tensor([0.0, 0.0, 20.0, 20.0, -math.pi / 2])
    high = torch.tensor([scene_px, scene_px, 100.0, 100.0, math.pi / 2])
    return low + unit * (high - low)


def shapely_iou(a: Tensor, b: Tensor) -> np.ndarray:
    polygons_a = shapely.polygons(quads_from_rboxes(a.double()).numpy())
    polygons_b = shapely.polygons(quads_from_rboxes(b.double()).numpy())
    overlaps = np.zeros((len(a), len(b)), dtype=np.float32)
    i, j = shapely.STRtree(polygons_b).query(polygons_a)
    overlaps[i, j] = _iou_of_pairs(polygons_a, i, polygons_b, j)
    return overlaps


def _iou_of_pairs(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    intersection = shapely.area(shapely.intersection(a[i], b[j]))
    return intersection / (shapely.area(a)[i] + shapely.area(b)[j] - intersection)


def shapely_nms(boxes: Tensor, scores: Tensor, block_length: int) -> np.ndarray:
    order = torch.argsort(scores, descending=True, stable=True).numpy()
    polygons = shapely.polygons(quads_from_rboxes(boxes.double()).numpy()[order])
    waiting, kept = np.arange(len(boxes)), []
    while len(waiting):
        block, rest = waiting[:block_length], waiting[block_length:]
        i, j = shapely.STRtree(polygons[block]).query(polygons[block])
        i, j = i[i < j], j[i < j]
        over = _iou_of_pairs(polygons[block], i, polygons[block], j) > THRESHOLD
        alive = np.ones(len(block), dtype=bool)
        by_rank = np.argsort(i[over], kind="stable")
        for higher, lower in zip(i[over][by_rank].tolist(), j[over][by_rank].tolist(), strict=True):
            if alive[higher]:
                alive[lower] = False
        block = block[alive]
        kept.append(block)
        untouched = np.ones(len(rest), dtype=bool)
        if len(rest):
            i, j = shapely.STRtree(polygons[block]).query(polygons[rest])
            over = _iou_of_pairs(polygons[rest], i, polygons[block], j) > THRESHOLD
            untouched[i[over]] = False
        waiting = rest[untouched]
    return order[np.concatenate(kept)]


def roi_align_by_grid_sample(features: Tensor, rois: Tensor, scale: float) -> Tensor:
    """7 × 7 bins of 2 × 2 samples of one image, by the operator that comes to mind first."""
    height, width = features.shape[2:]
    steps = (torch.arange(14) + 0.5) / 14 - 0.5
    along, down = rois[:, 3, None, None] * steps, rois[:, 4, None, None] * steps[:, None]
    cos, sin = rois[:, 5, None, None].cos(), rois[:, 5, None, None].sin()
    x = (rois[:, 1, None, None] + along * cos - down * sin) * scale
    y = (rois[:, 2, None, None] + along * sin + down * cos) * scale
    inside = (x >= -0.5) & (x <= width + 0.5) & (y >= -0.5) & (y <= height + 0.5)
    grid = torch.stack([x / width * 2 - 1, y / height * 2 - 1], dim=-1).flatten(0, 1)
    values = F.grid_sample(features, grid[None], padding_mode="border", align_corners=False)[0]
    values = values.unflatten(1, (len(rois), 14)).transpose(0, 1) * inside[:, None]
    return F.avg_pool2d(values, 2)


def iou_rows(generator: torch.Generator) -> None:
    for name, scene in (("dense", 300.0), ("sparse", 4500.0)):
        a, b = random_rboxes(1000, scene, generator), random_rboxes(1000, scene, generator)
        assert np.abs(rotated_iou(a, b).numpy() - shapely_iou(a, b)).max() < 1e-6
        title = f"IoU 1000 x 1000, {name}"
        ours = timed(partial(rotated_iou, a, b))
        report(title, "shapely", ours, timed(partial(shapely_iou, a, b)))
        other = (to_torchvision(a), to_torchvision(b))
        report(title, "torchvision", ours, timed(partial(box_iou, *other, fmt="cxcywhr")))
        report_mmcv(title, ours)


def nms_rows(generator: torch.Generator, counts: tuple[int, ...]) -> None:
    scenes = {
        (2000, "sparse"): 6300.0,
        (2000, "dense"): 300.0,
        (20000, "sparse"): 20000.0,
        (20000, "dense"): 1000.0,
    }
    for (count, name), scene in scenes.items():
        if count not in counts:
            continue
        boxes, scores = random_rboxes(count, scene, generator), torch.rand(count)
        kept = rotated_nms(boxes, scores, THRESHOLD).numpy()
        ours = timed(partial(rotated_nms, boxes, scores, THRESHOLD))
        twins = []
        for length in (count,) if name == "sparse" else (50, 200, 1000):
            assert np.array_equal(shapely_nms(boxes, scores, length), kept)
            twins.append(timed(partial(shapely_nms, boxes, scores, length)))
        title = f"NMS {count}, {name}"
        report(title, "shapely", ours, min(twins, key=lambda timing: timing.cpu))
        report_mmcv(title, ours)


def roi_align_rows(generator: torch.Generator) -> None:
    for side in (128, 64):
        features = torch.randn(1, 256, side, side, generator=generator, requires_grad=True)
        boxes = random_rboxes(512, side * 4.0, generator)
        image = torch.zeros(512, 1)
        rois = torch.cat([image, boxes], dim=1)
        half = boxes[:, 2:4] / 2
        upright = torch.cat([image, boxes[:, :2] - half, boxes[:, :2] + half], dim=1)
        ways: dict[str, Callable[[Tensor], Tensor]] = {
            "ours": lambda maps, rois=rois: rotated_roi_align(maps, rois, 7, 0.25, 2),
            "grid_sample": lambda maps, rois=rois: roi_align_by_grid_sample(maps, rois, 0.25),
            "torchvision (not rotated)": lambda maps, rois=upright: torchvision.ops.roi_align(
                maps, rois, 7, 0.25, 2, aligned=True
            ),
        }
        assert (ways["ours"](features) - ways["grid_sample"](features)).abs().max() < 1e-3
        timings = {name: timed(partial(trained, way, features)) for name, way in ways.items()}
        title = f"RoIAlign 512 x 256 x 7 x 7 on {side} x {side}, forward + backward"
        for name in list(ways)[1:]:
            report(title, name, timings["ours"], timings[name])


def trained(way: Callable[[Tensor], Tensor], features: Tensor) -> None:
    """One pass forward and back."""
    features.grad = None
    pooled = way(features)
    pooled.backward(torch.ones_like(pooled))


def report(title: str, twin: str, ours: Timing, theirs: Timing) -> None:
    print(
        f"{title:66} {ours.cpu * 1e3:9.2f} {ours.wall * 1e3:9.2f}   {twin:24} "
        f"{theirs.cpu * 1e3:10.2f} {theirs.wall * 1e3:10.2f}   "
        f"{theirs.cpu / ours.cpu:8.1f} {theirs.wall / ours.wall:8.1f}"
    )


def report_mmcv(title: str, ours: Timing) -> None:
    theirs = MMCV_CPU_SECONDS[title]
    print(
        f"{title:66} {ours.cpu * 1e3:9.2f} {ours.wall * 1e3:9.2f}   {'mmcv 2.0 (quoted)':24} "
        f"{theirs * 1e3:10.2f} {'':10}   {theirs / ours.cpu:8.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--quick", action="store_true", help="only 2000 boxes")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.threads} threads, milliseconds")
    print(
        f"{'':66} {'cpu':>9} {'wall':>9}   {'beside':24} {'cpu':>10} {'wall':>10}   "
        f"{'x cpu':>8} {'x wall':>8}"
    )
    iou_rows(generator)
    nms_rows(generator, (2000,) if arguments.quick else (2000, 20000))
    roi_align_rows(generator)


if __name__ == "__main__":
    main()
