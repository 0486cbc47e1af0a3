"""HIT-UAV: people and vehicles in thermal infrared from a drone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.source import Source
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.coco import read_coco
from geomtp.labels.segmenters.segmenter import BoxSegmenter
from geomtp.labels.store.building import build_store
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap


class HitUav(Source):
    """People and vehicles in thermal infrared from a drone (HIT-UAV, Suo et al. 2023).

    - sensor: DJI thermal camera, one band of 8 bits, 640 × 512 JPEG, oblique (30…90°); grey values
      are read as equal red, green and blue
    - metres per pixel: not stated; flown at 60…130 m, so it differs from image to image
    - classes: Person, Car, Bicycle, OtherVehicle; DontCare is ignored
    - counts: 2,898 images in the full set; the splits are folders. They are cut from video, so
      neighbouring frames lie in different splits
    - labels: rotated boxes; masks are the filled boxes
    - licence: CC BY 4.0
    - layout: ``{train,val,test}/*.jpg`` and ``annotations/{train,val,test}.json`` (COCO with
      bbox = xc yc w h angle)
    - mean and std: measured on 120 training images
    """

    name = "hit_uav"
    classes = ClassMap(("Person", "Car", "Bicycle", "OtherVehicle"))
    mean = (128.59, 128.59, 128.59)
    std = (43.15, 43.15, 43.15)
    licence = "CC BY 4.0"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        return build_store(
            self._annotations(root, notes),
            BoxSegmenter(),
            self.info(root),
            out,
            notes,
            split_of=lambda image: image.split("/")[0],
        )

    def _annotations(self, root: Path, notes: ReadNotes) -> Iterator[Annotations]:
        for split in ("train", "val", "test"):
            for item in read_coco(root / split, root / "annotations" / f"{split}.json", notes):
                objects = (
                    dataclasses.replace(o, ignore=o.ignore or o.name == "DontCare")
                    for o in item.objects
                )
                yield dataclasses.replace(
                    item, image=f"{split}/{item.image}", objects=tuple(objects)
                )
