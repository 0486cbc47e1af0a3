"""xView: one GeoJSON file with the horizontal boxes of all images, in pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from geomtp.labels.annotations import AnnotatedObject, Annotations, relative_path
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.readers.coco import read_json_object
from geomtp.labels.readers.image_files import ImageFolder

XVIEW_CLASSES = {
    11: "Fixed-wing Aircraft",
    12: "Small Aircraft",
    13: "Cargo Plane",
    15: "Helicopter",
    17: "Passenger Vehicle",
    18: "Small Car",
    19: "Bus",
    20: "Pickup Truck",
    21: "Utility Truck",
    23: "Truck",
    24: "Cargo Truck",
    25: "Truck w/Box",
    26: "Truck Tractor",
    27: "Trailer",
    28: "Truck w/Flatbed",
    29: "Truck w/Liquid",
    32: "Crane Truck",
    33: "Railway Vehicle",
    34: "Passenger Car",
    35: "Cargo Car",
    36: "Flat Car",
    37: "Tank car",
    38: "Locomotive",
    40: "Maritime Vessel",
    41: "Motorboat",
    42: "Sailboat",
    44: "Tugboat",
    45: "Barge",
    47: "Fishing Vessel",
    49: "Ferry",
    50: "Yacht",
    51: "Container Ship",
    52: "Oil Tanker",
    53: "Engineering Vehicle",
    54: "Tower crane",
    55: "Container Crane",
    56: "Reach Stacker",
    57: "Straddle Carrier",
    59: "Mobile Crane",
    60: "Dump Truck",
    61: "Haul Truck",
    62: "Scraper/Tractor",
    63: "Front loader/Bulldozer",
    64: "Excavator",
    65: "Cement Mixer",
    66: "Ground Grader",
    71: "Hut/Tent",
    72: "Shed",
    73: "Building",
    74: "Aircraft Hangar",
    76: "Damaged Building",
    77: "Facility",
    79: "Construction Site",
    83: "Vehicle Lot",
    84: "Helipad",
    86: "Storage Tank",
    89: "Shipping container lot",
    91: "Shipping Container",
    93: "Pylon",
    94: "Tower",
}
"""The names of the 60 classes by type_id, in the order of the data set."""


def read_xview(images: Path, annotations: Path, notes: ReadNotes) -> Iterator[Annotations]:
    """One ``Annotations`` per image that the features of the file ``annotations`` name, sorted.

    The box of a feature is its property "bounds_imcoords" ("xmin,ymin,xmax,ymax", pixels), its
    image "image_id", its class "type_id". Counted and left out: features of images that are not
    below ``images``, and of a type_id without a name (the published file has a few). Images that no
    feature names were not annotated. Raises FileNotFoundError or ValueError for a file that is
    missing or no feature collection.
    """
    folder = ImageFolder(images, notes)
    content = read_json_object(annotations)
    features = content.get("features")
    if not isinstance(features, list):
        raise ValueError(f"{annotations} is no xView file: it has no list of features")
    present = set(folder.names())
    by_image: dict[str, list[AnnotatedObject]] = defaultdict(list)
    for number, feature in enumerate(features):
        where = f"{annotations.name} feature {number}"
        try:
            about = feature["properties"]
            image = relative_path(about["image_id"])
            if image not in present:
                notes.left_out("no image", where, f"{image} is not in {images}")
                continue
            item = _object(about, where, notes)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            notes.malformed(where, f"expected image_id, type_id and bounds_imcoords ({error})")
            continue
        objects = by_image[image]
        if item is not None:
            objects.append(item)
    for image in sorted(by_image):
        size_hw = folder.size_hw(image)
        if size_hw is not None:
            yield Annotations(image, size_hw, tuple(by_image[image]))
    for image in sorted(present - by_image.keys()):
        notes.left_out("no annotation", image, f"no feature in {annotations.name} names it")


def _object(about: dict[str, Any], where: str, notes: ReadNotes) -> AnnotatedObject | None:
    """One feature's box; None (counted) for a type_id without a name."""
    type_id, bounds = about["type_id"], about["bounds_imcoords"]
    x1, y1, x2, y2 = (float(number) for number in bounds.split(","))
    if type_id not in XVIEW_CLASSES:
        notes.left_out("unknown type_id", where, f"type_id {str(type_id)[:20]} has no name")
        return None
    return AnnotatedObject(XVIEW_CLASSES[type_id], where, box_xyxy=(x1, y1, x2, y2))
