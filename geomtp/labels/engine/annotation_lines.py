"""Annotations as lines of JSON: how planned work waits on disk, without pickles."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from geomtp.labels.annotations import AnnotatedObject, Annotations


def line_of(annotations: Annotations) -> str:
    """``annotations`` in one line; every number comes back exactly."""
    instances = annotations.instances
    return json.dumps(
        {
            "image": annotations.image,
            "size_hw": list(annotations.size_hw),
            "objects": [_entry(item) for item in annotations.objects],
            "instances": None if instances is None else [_entry(item) for item in instances],
            "semantic": annotations.semantic,
        },
        ensure_ascii=False,
    )


def annotations_of(line: str) -> Annotations:
    """The inverse of ``line_of``. Raises ValueError, KeyError or TypeError for another line."""
    content = json.loads(line)
    height, width = content["size_hw"]
    listed = content["instances"]
    return Annotations(
        image=content["image"],
        size_hw=(height, width),
        objects=tuple(_object(entry) for entry in content["objects"]),
        instances=None if listed is None else tuple(_object(entry) for entry in listed),
        semantic=content["semantic"],
    )


def _entry(item: AnnotatedObject) -> dict[str, Any]:
    """The fields of an object that say something."""
    entry: dict[str, Any] = {"name": item.name, "where": item.where}
    if item.box_xyxy is not None:
        entry["box"] = [float(number) for number in item.box_xyxy]
    if item.rbox_cxcywha is not None:
        entry["rbox"] = [float(number) for number in item.rbox_cxcywha]
    if item.polygons is not None:
        entry["polygons"] = [[ring.tolist() for ring in rings] for rings in item.polygons]
    if item.rle is not None:
        entry["rle"] = item.rle.decode("ascii")
    if item.difficulty:
        entry["difficulty"] = item.difficulty
    if item.ignore:
        entry["ignore"] = True
    return entry


def _object(entry: dict[str, Any]) -> AnnotatedObject:
    polygons = entry.get("polygons")
    return AnnotatedObject(
        name=entry["name"],
        where=entry["where"],
        box_xyxy=tuple(entry["box"]) if "box" in entry else None,
        rbox_cxcywha=tuple(entry["rbox"]) if "rbox" in entry else None,
        polygons=None
        if polygons is None
        else tuple(tuple(np.array(ring, np.float64) for ring in rings) for rings in polygons),
        rle=entry["rle"].encode("ascii") if "rle" in entry else None,
        difficulty=entry.get("difficulty", 0),
        ignore=entry.get("ignore", False),
    )
