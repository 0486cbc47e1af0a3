"""How close masks made from rotated boxes come to outlines drawn by hand.

    python -m benchmarks.label_segmenters DATA [--weights FOLDER] [--objects N]

DATA is the folder of the source ``oam_buildings``: buildings of an orthophoto with polygons of
OpenStreetMap. Each segmenter is shown the smallest rotated box around a polygon and nothing else;
its mask is held against the filled polygon, before and after quality control. "sam" takes part
when the folder of its weights is given. ``--objects`` takes about so many, evenly spread over the
images.

Size classes are by the short side of the box. The boxes are perfect, unlike those of people, which
favours "box"; the images show the same ground at three zooms, so the objects are not independent.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geomtp.geometry import decode_rle_crop
from geomtp.labels import AnnotatedObject, Annotations, ObjectMask, PolygonSegmenter, ReadNotes
from geomtp.labels.masks.box_masks import inner_window
from geomtp.labels.masks.quality import check_masks
from geomtp.labels.masks.run_lengths import rle_area, rle_box
from geomtp.labels.readers.geojson import read_geojson
from geomtp.labels.segmenters.by_name import create_segmenter
from geomtp.labels.segmenters.segmenter import Segmenter
from geomtp.labels.shapes import rotated_boxes

FOLDERS = ("uganda_z19_20", "uganda_z21")
SIZES_PX = (0, 16, 32, 64, math.inf)


@dataclass(frozen=True)
class Labelled:
    """An image, its objects as rotated boxes only, those boxes (N, 5), and the true masks."""

    path: Path
    boxes_only: Annotations
    rboxes: np.ndarray
    truth: list[ObjectMask]


def labelled_images(root: Path) -> Iterator[Labelled]:
    for folder in FOLDERS:
        for item in read_geojson(root / folder, root, ReadNotes(), class_name="building"):
            if not item.objects:
                continue
            path = root / folder / item.image
            rboxes = rotated_boxes(item.objects, item.size_hw)
            objects = tuple(
                AnnotatedObject(o.name, o.where, rbox_cxcywha=tuple(row))
                for o, row in zip(item.objects, rboxes.tolist(), strict=True)
            )
            truth = PolygonSegmenter().segment(path, item)
            yield Labelled(path, dataclasses.replace(item, objects=objects), rboxes, truth)


def spread(images: list[Labelled], wanted: int) -> list[Labelled]:
    """Every so many images, until there are about ``wanted`` objects."""
    total = sum(len(image.truth) for image in images)
    step = max(1, round(total / wanted))
    return images[::step]


def overlap(found: bytes, truth: bytes, size_hw: tuple[int, int]) -> float:
    """Intersection over union of two masks; only the window of the true one is decoded."""
    box = rle_box(truth, size_hw)
    if box is None:
        return float(rle_area(found) == 0)
    a, b = decode_rle_crop([found, truth], size_hw, inner_window(box, size_hw))
    both = int((a & b).sum())
    return both / (rle_area(found) + rle_area(truth) - both)


def measure(segmenter: Segmenter, images: list[Labelled]) -> tuple[np.ndarray, np.ndarray, float]:
    """The overlaps before and after quality control, and seconds per object."""
    raw, checked, seconds = [], [], 0.0
    for image in images:
        start = time.perf_counter()
        masks = segmenter.segment(image.path, image.boxes_only)
        seconds += time.perf_counter() - start
        size_hw = image.boxes_only.size_hw
        mended = check_masks(masks, image.rboxes, size_hw)
        for a, b, truth in zip(masks, mended, image.truth, strict=True):
            raw.append(overlap(a.rle, truth.rle, size_hw))
            checked.append(overlap(b.rle, truth.rle, size_hw))
    return np.array(raw), np.array(checked), seconds / len(raw)


def row(name: str, overlaps: np.ndarray) -> str:
    return (
        f"| {name} | {overlaps.mean():.3f} | {np.median(overlaps):.3f} | "
        f"{np.percentile(overlaps, 10):.3f} | {len(overlaps)} |"
    )


def report(name: str, segmenter: Segmenter, images: list[Labelled], box: np.ndarray | None):
    raw, checked, seconds = measure(segmenter, images)
    short = np.concatenate([image.rboxes[:, 2:4].min(axis=1) for image in images])
    print(row(f"{name}, all", raw))
    print(row(f"{name}, all, checked", checked))
    for low, high in itertools.pairwise(SIZES_PX):
        inside = (short >= low) & (short < high)
        if inside.any():
            sizes = f"{low:g} px and more" if high == math.inf else f"{low:g}…{high:g} px"
            print(row(f"{name}, {sizes}", raw[inside]))
            print(row(f"{name}, {sizes}, checked", checked[inside]))
    if box is not None:
        better, worse = (raw > box + 0.01).sum(), (raw < box - 0.01).sum()
        print(f"\n{name} against box: {better} better, {worse} worse by more than 0.01")
    print(f"{name}: {seconds * 1e3:.1f} ms per object\n")
    return raw


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--weights", type=Path, help="folder of the weights of SAM")
    parser.add_argument("--objects", type=int, default=1000)
    arguments = parser.parse_args()
    if not all((arguments.data / folder).is_dir() for folder in FOLDERS):
        print(f"skipped: {arguments.data} does not hold the folders {' and '.join(FOLDERS)}")
        return
    images = spread(list(labelled_images(arguments.data)), arguments.objects)
    print("| masks | mean IoU | median | 10th percentile | n |\n|---|---|---|---|---|")
    box = report("box", create_segmenter("box"), images, None)
    report("grabcut", create_segmenter("grabcut"), images, box)
    if arguments.weights is None:
        print("sam: left out, no --weights")
    else:
        for prompt in ("rh", "h", "r"):
            sam = create_segmenter("sam", weights=arguments.weights, prompt=prompt)
            report(f"sam {prompt}", sam, images, box)


if __name__ == "__main__":
    main()
