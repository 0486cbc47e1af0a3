"""The three SAMRS sets of multi-task pretraining: SOTA, SIOR and FAST."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.source import Source
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.samrs import SamrsLayout, read_samrs
from geomtp.labels.store.building import build_store
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import IMAGENET_MEAN, IMAGENET_STD, ClassMap, Rgb

_PALETTE_TEXT = """
    0,127,255 0,63,0 0,127,63 0,63,255 0,0,127 0,127,127 0,0,63 0,63,127 0,63,191 0,191,127
    0,127,191 0,63,63 0,100,155 0,0,255 0,0,191 64,191,127 64,0,191 128,63,63 128,0,63 191,63,0
    255,127,0 63,0,0 127,63,0 63,255,0 0,127,0 127,127,0 63,0,63 63,127,0 63,191,0 191,127,0
    127,191,0 63,63,0 100,155,0 0,255,0 0,191,0 191,127,64 0,191,64
"""


def _classes(names: str) -> ClassMap:
    """The comma-separated ``names`` with the first colours of the palette shared by the sets."""
    split = tuple(name.strip() for name in names.split(","))
    return ClassMap(split, _palette()[: len(split)])


def _palette() -> tuple[Rgb, ...]:
    triples = (colour.split(",") for colour in _PALETTE_TEXT.split())
    return tuple((int(red), int(green), int(blue)) for red, green, blue in triples)


class _Samrs(Source):
    """What the three sets share: their layout's form, the splits, ImageNet's mean and std."""

    mean = IMAGENET_MEAN
    std = IMAGENET_STD
    layout: SamrsLayout

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        splits: dict[str, str] = {}

        def annotations() -> Iterator[Annotations]:
            for split in self.layout.instances:
                for item in read_samrs(root, self.layout, split, notes):
                    if splits.setdefault(item.image, split) == split:
                        yield item
                    else:
                        notes.malformed(item.image, "it is listed in both splits; kept in train")

        return build_store(
            annotations(), None, self.info(root), out, notes, split_of=splits.__getitem__
        )


class Sota(_Samrs):
    """SOTA-RBB: DOTA-2.0 with masks made by SAM from rotated boxes (SAMRS, Wang et al. 2023).

    - sensor: aerial and satellite images of many kinds, red, green, blue, 8 bits
    - metres per pixel: mixed, DOTA gathers several sensors
    - classes: the 18 of DOTA-2.0, in the order of SAMRS
    - counts: 17,480 tiles of 1024 × 1024 PNG
    - labels: grey class maps, instances (COCO run-lengths), rotated boxes (DOTA text)
    - licence: research only (SAMRS; the images keep the terms of DOTA)
    - layout: under ``trainval/``: ``images``, ``rhbox_segs_init/gray``, ``rbbtxts`` and
      ``sota_rbb_{train,valid}_ins_segmentation.json``
    - mean and std: ImageNet's
    """

    name = "sota"
    classes = _classes(
        "large-vehicle, swimming-pool, helicopter, bridge, plane, ship, soccer-ball-field, "
        "basketball-court, ground-track-field, small-vehicle, baseball-diamond, tennis-court, "
        "roundabout, storage-tank, harbor, container-crane, airport, helipad"
    )
    licence = "research only (SAMRS); images under the terms of DOTA"
    layout = SamrsLayout(
        images="trainval/images",
        grey="trainval/rhbox_segs_init/gray",
        rotated="trainval/rbbtxts",
        rotated_suffix=".txt",
        instances={
            "train": "trainval/sota_rbb_train_ins_segmentation.json",
            "val": "trainval/sota_rbb_valid_ins_segmentation.json",
        },
    )


class Sior(_Samrs):
    """SIOR: DIOR with masks made by SAM (SAMRS, Wang et al. 2023), the trainval part.

    - sensor: Google Earth images, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.5…30
    - classes: the 20 of DIOR, lower case
    - counts: 11,725 images of 800 × 800 JPEG
    - labels: grey class maps, instances (COCO run-lengths), rotated boxes (DIOR xml)
    - licence: research only (SAMRS; the images keep the terms of DIOR)
    - layout: ``JPEGImages-trainval``, ``hbox_segs_trainvaltest_init/gray``,
      ``Annotations/Oriented Bounding Boxes``, ``sior_{train,valid}_ins_segmentation.json``
    - mean and std: ImageNet's
    """

    name = "sior"
    classes = _classes(
        "airplane, airport, baseballfield, basketballcourt, bridge, chimney, "
        "expressway-service-area, expressway-toll-station, dam, golffield, groundtrackfield, "
        "harbor, overpass, ship, stadium, storagetank, tenniscourt, trainstation, vehicle, windmill"
    )
    licence = "research only (SAMRS); images under the terms of DIOR"
    layout = SamrsLayout(
        images="JPEGImages-trainval",
        grey="hbox_segs_trainvaltest_init/gray",
        rotated="Annotations/Oriented Bounding Boxes",
        rotated_suffix=".xml",
        instances={
            "train": "sior_train_ins_segmentation.json",
            "val": "sior_valid_ins_segmentation.json",
        },
    )


class Fast(_Samrs):
    """FAST: FAIR1M-2.0 with masks made by SAM (SAMRS, Wang et al. 2023).

    - sensor: Gaofen satellites and Google Earth, red, green, blue, 8 bits
    - metres per pixel: mixed, 0.3…0.8
    - classes: the 37 fine-grained ones of FAIR1M
    - counts: 64,147 tiles of 1024 × 1024 PNG
    - labels: grey class maps, instances (COCO run-lengths), rotated boxes (DOTA text)
    - licence: research only (SAMRS; the images keep the terms of FAIR1M)
    - layout: as SOTA, with ``fast_{train,valid}_ins_segmentation.json``
    - mean and std: ImageNet's
    """

    name = "fast"
    classes = _classes(
        "A220, A321, A330, A350, ARJ21, Baseball-Field, Basketball-Court, Boeing737, Boeing747, "
        "Boeing777, Boeing787, Bridge, Bus, C919, Cargo-Truck, Dry-Cargo-Ship, Dump-Truck, "
        "Engineering-Ship, Excavator, Fishing-Boat, Football-Field, Intersection, "
        "Liquid-Cargo-Ship, Motorboat, other-airplane, other-ship, other-vehicle, Passenger-Ship, "
        "Roundabout, Small-Car, Tennis-Court, Tractor, Trailer, Truck-Tractor, Tugboat, Van, "
        "Warship"
    )
    licence = "research only (SAMRS); images under the terms of FAIR1M"
    layout = SamrsLayout(
        images="trainval/images",
        grey="trainval/rhbox_segs_init/gray",
        rotated="trainval/rbbtxts",
        rotated_suffix=".txt",
        instances={
            "train": "trainval/fast_train_ins_segmentation.json",
            "val": "trainval/fast_valid_ins_segmentation.json",
        },
    )
