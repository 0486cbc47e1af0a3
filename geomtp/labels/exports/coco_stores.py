"""A label store as one COCO json, and back."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.checkpoints import replacing
from geomtp.labels.annotations import relative_path
from geomtp.labels.masks.run_lengths import check_rle, rle_area
from geomtp.labels.readers.coco import read_json_object
from geomtp.labels.store.format import StoreInfo
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.store.label_store import LabelStore, write_store
from geomtp.types import ClassMap

_PER_MASK = {
    "scores": "score",
    "flags": "flags",
    "prompts": "prompt",
    "coverage": "coverage",
    "raw_rles": "raw_counts",
}
"""The columns on how a mask came about, and the keys of an annotation that hold them."""


def export_coco(store: LabelStore, path: str | Path) -> None:
    """Write ``store`` (or a subset) as a COCO json that any COCO tool reads; whole or not at all.

    Category ids are 0…K−1 in class order, image ids count from 0, annotation ids from 1 (COCO's
    evaluation takes 0 for "no match"). What COCO has no place for stands beside it:
    "rotated_annotations" (bbox = xc yc w h angle, radians, clockwise), "split", "semantic",
    "scene_class" and "labelled" of each image, "score", "flags", "prompt", "coverage" and
    "raw_counts" of each annotation whose mask a segmenter made, and "store" for the whole.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    rotated: list[dict[str, Any]] = []
    for image_id, labels in enumerate(store):
        images.append(_image_entry(image_id, labels))
        for annotation in _instances(image_id, labels):
            annotations.append({"id": len(annotations) + 1, **annotation})
        for annotation in _rotated(image_id, labels):
            rotated.append({"id": len(rotated) + 1, **annotation})
    content = {
        "info": {"description": store.source},
        "licenses": [{"id": 0, "name": store.licence}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(store.classes.names)],
        "images": images,
        "annotations": annotations,
        "rotated_annotations": rotated,
        "store": {
            "source": store.source,
            "palette": store.classes.palette,
            "mean": store.mean,
            "std": store.std,
            "gsd_m": store.gsd_m,
            "licence": store.licence,
        },
    }
    with replacing(Path(path)) as part:
        part.write_text(json.dumps(content, ensure_ascii=False), "utf-8")


def store_from_coco(path: str | Path, image_root: str | Path, out: str | Path) -> LabelStore:
    """The inverse of ``export_coco``: write the store ``out`` for the images below ``image_root``.

    For COCO files from elsewhere use the reader "coco" with ``build_store``. Raises
    FileNotFoundError, or ValueError for a file that ``export_coco`` did not write.
    """
    path = Path(path)
    content = read_json_object(path)
    try:
        about = content["store"]
        names = tuple(entry["name"] for entry in content["categories"])
        info = StoreInfo(
            source=about["source"],
            classes=ClassMap(names, tuple((r, g, b) for r, g, b in about["palette"])),
            image_root=Path(image_root),
            mean=tuple(about["mean"]),
            std=tuple(about["std"]),
            gsd_m=about["gsd_m"],
            licence=about["licence"],
        )
        return write_store(out, _rows(content), info)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} was not written by export_coco ({error!r}): for other COCO files use the "
            f"reader 'coco' with build_store"
        ) from error


def _image_entry(image_id: int, labels: ImageLabels) -> dict[str, Any]:
    labelled = {
        "boxes": labels.boxes,
        "masks": labels.rles,
        "rboxes": labels.rboxes,
        **{name: getattr(labels, name) for name in _PER_MASK},
    }
    return {
        "id": image_id,
        "file_name": labels.image,
        "height": labels.size_hw[0],
        "width": labels.size_hw[1],
        "split": labels.split,
        "semantic": labels.semantic,
        "scene_class": labels.scene_class,
        "labelled": [name for name, value in labelled.items() if value is not None],
    }


def _instances(image_id: int, labels: ImageLabels) -> Iterator[dict[str, Any]]:
    """Boxes and masks. A mask without a box gets none, and a box without a mask its own area."""
    for i, label in enumerate(() if labels.box_labels is None else labels.box_labels.tolist()):
        entry: dict[str, Any] = {"image_id": image_id, "category_id": label, "iscrowd": 0}
        if labels.boxes is not None:
            x1, y1, x2, y2 = labels.boxes[i].tolist()
            entry |= {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
        if labels.rles is not None:
            rle = labels.rles[i]
            entry["segmentation"] = {"size": list(labels.size_hw), "counts": rle.decode("ascii")}
            entry["area"] = rle_area(rle)
        for name, key in _PER_MASK.items():
            values = getattr(labels, name)
            if values is not None:
                entry[key] = _plain(values[i])
        yield entry


def _plain(value: Any) -> Any:
    """One entry of a column as JSON holds it."""
    if isinstance(value, np.floating):
        return value.item()
    return value.decode("ascii") if isinstance(value, bytes) else value


def _rotated(image_id: int, labels: ImageLabels) -> Iterator[dict[str, Any]]:
    if labels.rboxes is not None and labels.rbox_labels is not None:
        for rbox, label in zip(labels.rboxes.tolist(), labels.rbox_labels.tolist(), strict=True):
            yield {"image_id": image_id, "category_id": label, "bbox": rbox}


def _rows(content: dict[str, Any]) -> Iterator[ImageLabels]:
    instances, rotated = defaultdict(list), defaultdict(list)
    for entry in content["annotations"]:
        instances[entry["image_id"]].append(entry)
    for entry in content["rotated_annotations"]:
        rotated[entry["image_id"]].append(entry)
    for image in content["images"]:
        yield _row(image, instances[image["id"]], rotated[image["id"]])


def _row(
    image: dict[str, Any], instances: list[dict[str, Any]], rotated: list[dict[str, Any]]
) -> ImageLabels:
    labelled = image["labelled"]
    size_hw = (int(image["height"]), int(image["width"]))
    boxes = rles = rboxes = None
    if "boxes" in labelled:
        # Sums in float64: then the float32 corners come back exactly.
        xywh = np.array([entry["bbox"] for entry in instances], dtype=np.float64).reshape(-1, 4)
        corners = np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)
        boxes = corners.astype(np.float32)
    if "masks" in labelled:
        rles = tuple(entry["segmentation"]["counts"].encode("ascii") for entry in instances)
        for rle in rles:
            check_rle(rle, size_hw)
    if "rboxes" in labelled:
        values = [entry["bbox"] for entry in rotated]
        rboxes = np.array(values, dtype=np.float32).reshape(-1, 5)
    return ImageLabels(
        image=relative_path(image["file_name"]),
        size_hw=size_hw,
        split=image["split"],
        boxes=boxes,
        box_labels=_ids(instances) if {"boxes", "masks"} & set(labelled) else None,
        rles=rles,
        rboxes=rboxes,
        rbox_labels=_ids(rotated) if "rboxes" in labelled else None,
        semantic=image["semantic"],
        scene_class=image["scene_class"],
        **_per_mask(labelled, instances),
    )


def _per_mask(labelled: list[str], instances: list[dict[str, Any]]) -> dict[str, Any]:
    """The columns on how the masks came about, as ``ImageLabels`` takes them."""
    columns: dict[str, Any] = {}
    for name in set(labelled) & set(_PER_MASK):
        values = [entry[_PER_MASK[name]] for entry in instances]
        if name in ("scores", "coverage"):
            columns[name] = np.array(values, dtype=np.float32)
        elif name == "flags":
            columns[name] = tuple(tuple(words) for words in values)
        else:
            columns[name] = tuple(v.encode("ascii") if name == "raw_rles" else v for v in values)
    return columns


def _ids(entries: list[dict[str, Any]]) -> NDArray[np.int64]:
    return np.array([entry["category_id"] for entry in entries], dtype=np.int64)
