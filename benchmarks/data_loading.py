"""How many training views a worker makes a second, beside the way that comes to mind first.

    python -m benchmarks.data_loading [--size 448] [--objects 50] [--quick]

Images of 1024 x 1024 pixels with rotated rectangles, as PNG and as JPEG, are made in a temporary
folder. Two processes' worth of work is compared in one process on one thread, which is what a
worker has: ``StoreDataset.get``, and a twin that decodes the whole image and the masks of all
objects, mirrors and resizes all of them, crops, and then looks what is left. Both make the same
views, and the twin's labels must come out equal. "Decoding alone" is reading the file: what no
way can be faster than.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from geomtp.data.dataset import StoreDataset
from geomtp.data.filtering import visible_rboxes
from geomtp.data.photometric import PhotometricParameters, distort
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import normalised
from geomtp.data.views import ViewParameters
from geomtp.geometry import decode_rle, encode_rle, mask_boxes, masks_from_rboxes, regularise
from geomtp.labels import ImageLabels, LabelStore, StoreInfo, semantic_map, write_store
from geomtp.rasters import read_window
from geomtp.types import TASKS, ClassMap, Targets

SIDE = 1024
CLASSES = ClassMap(tuple(f"class {i}" for i in range(18)))
AXES = {None: (), "horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}


def drawn_scene(objects: int, rng: np.random.Generator) -> tuple[np.ndarray, ImageLabels]:
    """Soft ground with grain, and rectangles of 12 to 120 pixels on it."""
    coarse = Image.fromarray(rng.integers(60, 190, (24, 24, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.float32)
    pixels += rng.normal(0, 4, (SIDE, SIDE, 1))
    low, high = (20, 20, 20, 12, -1.5), (SIDE - 20, SIDE - 20, 120, 50, 1.5)
    rboxes = regularise(torch.from_numpy(rng.uniform(low, high, (objects, 5)).astype(np.float32)))
    masks = masks_from_rboxes(rboxes, (SIDE, SIDE))
    for mask in masks.numpy():
        pixels[mask] = pixels[mask] * 0.3 + rng.integers(0, 180, 3)
    labels = rng.integers(0, len(CLASSES), objects)
    row = ImageLabels(
        image="",
        size_hw=(SIDE, SIDE),
        boxes=mask_boxes(masks).numpy(),
        box_labels=labels,
        rles=tuple(encode_rle(masks)),
        rboxes=rboxes.numpy(),
        rbox_labels=labels,
    )
    return np.clip(pixels, 0, 255).astype(np.uint8), row


def made_store(folder: Path, suffix: str, count: int, objects: int) -> LabelStore:
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = []
    for i in range(count):
        pixels, row = drawn_scene(objects, rng)
        Image.fromarray(pixels).save(folder / f"{i}{suffix}", quality=92)
        rows.append(ImageLabels(**(vars(row) | {"image": f"{i}{suffix}"})))
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    return write_store(folder / "store", rows, StoreInfo("made", CLASSES, folder, mean, std))


def dense_view(labels: ImageLabels, info: StoreInfo, view: ViewParameters, rng):
    """The image and its targets by transforming everything at full size."""
    pixels = torch.from_numpy(read_window(info.image_root / labels.image))
    image = pixels.permute(2, 0, 1).float()
    semantic = torch.from_numpy(semantic_map(labels, info.image_root))[None]
    masks = decode_rle(labels.rles, labels.size_hw)
    axes = AXES[view.flip]
    image, semantic, masks = (maps.flip(axes) for maps in (image, semantic, masks))
    image = F.interpolate(image[None], size=view.resized_hw, mode="bilinear")[0]
    semantic, masks = (_nearest(maps, view) for maps in (semantic, masks))
    x1, y1, x2, y2 = view.crop_xyxy
    image, semantic, masks = (maps[:, y1:y2, x1:x2] for maps in (image, semantic, masks))
    rboxes = view.rboxes(torch.from_numpy(labels.rboxes))
    boxes, ids = mask_boxes(masks), torch.from_numpy(labels.box_labels)
    kept = visible_rboxes(rboxes, view.size_hw, 0.3) & masks.any(dim=2).any(dim=1)
    if not bool(kept.any()):
        return None
    bright = distort(image.round().byte().numpy(), PhotometricParameters.draw(rng))
    targets = Targets(boxes[kept], ids[kept], masks[kept], rboxes[kept], ids[kept], semantic[0])
    return normalised(bright.astype(np.float32), info), targets


def _nearest(maps: Tensor, view: ViewParameters) -> Tensor:
    rows, columns = (
        torch.from_numpy(np.floor(np.arange(after) * (1 / (after / before))).astype(np.int64))
        for before, after in zip(view.image_hw, view.resized_hw, strict=True)
    )
    return maps[:, rows][:, :, columns]


def naive(store: LabelStore, transform: TrainTransform, epoch: int, index: int):
    rng = np.random.default_rng((0, epoch, index))
    labels = store[index]
    for _ in range(10):
        made = dense_view(labels, store.info, transform.draw(labels.size_hw, rng), rng)
        if made is not None:
            return made
    raise RuntimeError("ten views without objects: draw more objects")


def assert_same(store: LabelStore, dataset: StoreDataset, transform: TrainTransform) -> None:
    for index in range(len(store)):
        sample = dataset.get(0, index)
        image, targets = naive(store, transform, 0, index)
        for name in ("boxes", "box_labels", "masks", "rboxes", "rbox_labels", "semantic"):
            assert torch.equal(getattr(sample.targets, name), getattr(targets, name)), name
        # A rounding to the other grey level may turn the hue of a nearly grey pixel.
        assert (sample.image - image).abs().mean() < 0.01


def per_second(call: Callable[[int, int], object], images: int, seconds: float) -> float:
    """Images of a worker a second of processor time: the median of passes over all images."""
    for index in range(images):
        call(0, index)
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < 3 or time.perf_counter() - began < seconds:
        start = time.process_time()
        for index in range(images):
            call(len(rates) + 1, index)
        rates.append(images / (time.process_time() - start))
    return statistics.median(rates)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=448, help="side of the views in pixels")
    parser.add_argument("--objects", type=int, default=50, help="in each image")
    parser.add_argument("--quick", action="store_true", help="a few seconds in all")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, seconds = (4, 1.0) if arguments.quick else (8, 6.0)
    transform = TrainTransform(arguments.size)
    print(
        f"views of {arguments.size} px from {SIDE} px images with {arguments.objects} objects, "
        f"images per second of one worker"
    )
    print(f"{'':6} {'ours':>8} {'naive twin':>11} {'ratio':>7} {'decoding alone':>15}")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in (".png", ".jpg"):
            store = made_store(Path(folder) / suffix[1:], suffix, images, arguments.objects)
            dataset = StoreDataset(store, transform, TASKS)
            assert_same(store, dataset, transform)
            ours = per_second(dataset.get, images, seconds)
            twin = per_second(
                lambda epoch, index, store=store: naive(store, transform, epoch, index),
                images,
                seconds,
            )
            paths = [store.image_root / row.image for row in store]
            decoding = per_second(
                lambda epoch, index, paths=paths: read_window(paths[index]), images, seconds / 3
            )
            print(f"{suffix:6} {ours:8.1f} {twin:11.1f} {ours / twin:7.1f} {decoding:15.1f}")


if __name__ == "__main__":
    main()
