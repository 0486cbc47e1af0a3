"""COCO json, also with rotated boxes of five numbers."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.labels.annotations import AnnotatedObject, Annotations, Polygon, relative_path, ring_of
from geomtp.labels.masks.run_lengths import check_rle, rle_from_counts
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.image_files import ImageFolder
from geomtp.types import SizeHW


def read_coco(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """One ``Annotations`` per entry of "images", in that order; ``annotations`` is the json file.

    A bbox of four numbers is x y w h, one of five is the rotated box xc yc w h angle (radians,
    clockwise). A segmentation is a list of polygons or a run-length, compressed or not. Crowds
    (iscrowd) and entries with "ignore" or "ignored" are marked to be ignored. File names under
    "file_name" or "filename". An image of another size than the json says is noted as malformed:
    its coordinates are those of another picture. Raises FileNotFoundError or ValueError for a file
    that is missing or is no COCO json.
    """
    content = read_json_object(annotations)
    folder = ImageFolder(images, notes)
    try:
        class_names = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        entries, listed = content["images"], content["annotations"]
        if not isinstance(entries, list) or not isinstance(listed, list):
            raise TypeError("no lists")
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{annotations} is no COCO json: it needs the lists images, annotations and categories"
        ) from error
    by_image: dict[Any, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for i, entry in enumerate(listed):
        if isinstance(entry, dict) and isinstance(entry.get("image_id"), int | str):
            by_image[entry["image_id"]].append((i, entry))
        else:
            notes.malformed(f"{annotations.name} annotation {i}", "it names no image_id")
    seen: set[int | str] = set()
    for i, entry in enumerate(entries):
        where = f"{annotations.name} image {i}"
        try:
            image_id = _known_once(entry["id"], seen)
            listing = by_image.pop(image_id, [])
            name = relative_path(entry.get("file_name", entry.get("filename")))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            notes.malformed(where, f"it has no id of its own or no usable file name ({error})")
            continue
        size_hw = folder.size_hw(name)
        if size_hw is None:
            continue
        if other := _other_size(entry, size_hw):
            notes.malformed(
                where, f"{name} is {size_hw[1]} × {size_hw[0]} px, the json says {other}"
            )
            continue
        objects = (
            _object(f"{annotations.name} annotation {j}", item, class_names, size_hw, notes)
            for j, item in listing
        )
        yield Annotations(name, size_hw, tuple(o for o in objects if o is not None))
    for orphans in by_image.values():
        for j, _ in orphans:
            notes.malformed(f"{annotations.name} annotation {j}", "its image_id is of no image")


def _other_size(entry: dict[str, Any], size_hw: SizeHW) -> str:
    """The size that the json gives an image, where it is another one; "" where it gives none."""
    width, height = entry.get("width"), entry.get("height")
    if not width or not height or (height, width) == size_hw:
        return ""
    return f"{width} × {height}"


def _known_once(image_id: Any, seen: set[int | str]) -> int | str:
    """``image_id``, entered into ``seen``. Raises ValueError for a repeated or unusable one."""
    if not isinstance(image_id, int | str) or image_id in seen:
        raise ValueError(f"the id {image_id!r} is repeated or neither number nor text")
    seen.add(image_id)
    return image_id


def _object(
    where: str,
    entry: dict[str, Any],
    class_names: dict[Any, str],
    size_hw: SizeHW,
    notes: ReadNotes,
) -> AnnotatedObject | None:
    """One entry of "annotations"; None (noted) when it cannot be understood."""
    try:
        box = [float(number) for number in entry.get("bbox") or ()]
        if len(box) not in (0, 4, 5):
            raise ValueError(f"a bbox has four or five numbers, found {len(box)}")
        polygons, rle = _segmentation(entry.get("segmentation"), size_hw)
        if not box and polygons is None and rle is None:
            raise ValueError("it has neither bbox nor segmentation")
        corners = None
        if len(box) == 4:
            x, y, width, height = box
            corners = (x, y, x + width, y + height)
        if entry["category_id"] not in class_names:
            raise ValueError(f"its category_id {entry['category_id']!r} is of no category")
        return AnnotatedObject(
            name=class_names[entry["category_id"]],
            where=where,
            box_xyxy=corners,
            rbox_cxcywha=(box[0], box[1], box[2], box[3], box[4]) if len(box) == 5 else None,
            polygons=polygons,
            rle=rle,
            difficulty=int(entry.get("difficult") or 0),
            ignore=bool(entry.get("iscrowd") or entry.get("ignore") or entry.get("ignored")),
        )
    except (TypeError, ValueError, OverflowError) as error:
        notes.malformed(where, str(error))
    except KeyError as error:
        notes.malformed(where, f"it has no {error}")
    return None


def _segmentation(value: Any, size_hw: SizeHW) -> tuple[tuple[Polygon, ...] | None, bytes | None]:
    """The polygons or the compressed run-length of a "segmentation"; Nones when there is none."""
    if not value:
        return None, None
    if isinstance(value, list):
        return tuple((ring_of(part),) for part in value), None
    if not isinstance(value, dict):
        raise ValueError(f"a segmentation is a list or a run-length, found {type(value).__name__}")
    if [int(side) for side in value["size"]] != list(size_hw):
        raise ValueError(f"its mask has size {value['size']}, the image {list(size_hw)}")
    counts = value["counts"]
    rle = counts.encode("ascii") if isinstance(counts, str) else rle_from_counts(np.array(counts))
    check_rle(rle, size_hw)
    return None, rle


def read_json_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises FileNotFoundError, or ValueError when it holds none."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist: expected a json file of annotations")
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a JSON object")
    return content
