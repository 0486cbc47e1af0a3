"""A label store in the layout of SAMRS, which the reference code of MTP reads."""

from __future__ import annotations

import json
import os
import shutil
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from geomtp.labels.exports.dota import dota_text
from geomtp.labels.masks.run_lengths import rle_area, rle_box
from geomtp.labels.readers.samrs import SamrsLayout
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore
from geomtp.labels.store.semantic_maps import semantic_map
from geomtp.rasters import read_window
from geomtp.types import IGNORE, ClassMap

_SPLITS = {"train": "train", "val": "valid", "test": "test"}


def samrs_layout(source: str) -> SamrsLayout:
    """Where ``export_samrs`` puts the parts of a set called ``source``: as SOTA and FAST do."""
    return SamrsLayout(
        images="trainval/images",
        grey="trainval/rhbox_segs_init/gray",
        rotated="trainval/rbbtxts",
        rotated_suffix=".txt",
        instances={
            split: f"trainval/{source}_{theirs}_ins_segmentation.json"
            for split, theirs in _SPLITS.items()
        },
    )


def export_samrs(store: LabelStore, out: Path) -> None:
    """Write images (PNG), grey maps, rotated boxes, and a COCO json and name list of each split.

    Images that are PNG already are hard-linked (copied where that is impossible), others of 8 bits
    become PNG. Folders in an image's path become part of its name (a/b.tif: a_b.png), and spaces in
    class names hyphens. Grey maps hold the class id, 255 for background; overlaps are painted as
    ``semantic_map`` says. Not written: SAMRS's pickles, which the reference code does not read.

    Raises ValueError for a row without masks or rotated boxes, for more than 255 classes, two
    images of one name, or images that are not of 8 bits; OSError for images that cannot be read.
    """
    classes = ClassMap(tuple("-".join(name.split()) for name in store.classes.names))
    if len(classes) > IGNORE:
        raise ValueError(f"grey maps hold 255 classes at most, {store.source} has {len(classes)}")
    layout = samrs_layout(store.source)
    for folder in (layout.images, layout.grey, layout.rotated):
        (out / folder).mkdir(parents=True, exist_ok=True)
    entries: dict[str, dict[str, list[Any]]] = defaultdict(
        lambda: {"images": [], "annotations": []}
    )
    for labels in store:
        stem = PurePosixPath(labels.image).with_suffix("").as_posix().replace("/", "_")
        if (out / layout.images / f"{stem}.png").exists():
            raise ValueError(f"two images would be called {stem}.png: rename one of them")
        _add_entries(entries[labels.split], labels, f"{stem}.png")
        _write_image(store.image_root / labels.image, out / layout.images / f"{stem}.png")
        semantic = semantic_map(labels, store.image_root, values=store.info.semantic_values)
        semantic[semantic == IGNORE] = 0  # there is no way to say it
        Image.fromarray(semantic - np.uint8(1)).save(out / layout.grey / f"{stem}.png")
        text = dota_text(labels, classes)
        (out / layout.rotated / f"{stem}.txt").write_text(text, "utf-8")
    categories = [{"id": i, "name": name} for i, name in enumerate(classes.names)]
    for split, listed in entries.items():
        content = json.dumps({**listed, "categories": categories}, ensure_ascii=False)
        (out / layout.instances[split]).write_text(content, "utf-8")
        names = "".join(f"{Path(entry['file_name']).stem}\n" for entry in listed["images"])
        (out / "trainval" / f"{_SPLITS[split]}.txt").write_text(names, "utf-8")


def _add_entries(entries: dict[str, list[Any]], labels: ImageLabels, file_name: str) -> None:
    """Add one image and its instances to the lists of a COCO json; all ids count from 0."""
    if labels.rles is None or labels.box_labels is None:
        raise ValueError(f"{labels.image} has no masks: label it with a segmenter first")
    height, width = labels.size_hw
    image_id = len(entries["images"])
    entries["images"].append(
        {"id": image_id, "file_name": file_name, "height": height, "width": width}
    )
    for rle, label in zip(labels.rles, labels.box_labels.tolist(), strict=True):
        x1, y1, x2, y2 = rle_box(rle, labels.size_hw) or (0, 0, 0, 0)
        entries["annotations"].append(
            {
                "id": len(entries["annotations"]),
                "image_id": image_id,
                "category_id": label,
                "segmentation": {"size": [height, width], "counts": rle.decode("ascii")},
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": rle_area(rle),
                "iscrowd": 0,
            }
        )


def _write_image(image: Path, path: Path) -> None:
    if image.suffix.lower() == ".png":
        try:
            os.link(image.resolve(), path)
        except OSError:
            shutil.copyfile(image, path)
        return
    pixels = read_window(image)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{image} holds {pixels.dtype}, PNG of the layout 8 bits: rescale it first"
        )
    if pixels.shape[2] not in (1, 3):
        pixels = pixels[:, :, :3] if pixels.shape[2] > 3 else pixels[:, :, :1]
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(path)
