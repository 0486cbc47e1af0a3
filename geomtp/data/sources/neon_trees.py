"""Tree crowns in airborne imagery of NEON."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from geomtp.data.sources.held_out import held_out
from geomtp.data.sources.source import Source
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.xml_files import read_voc
from geomtp.labels.store.building import build_store
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap


class NeonTrees(Source):
    """Tree crowns at four sites of the National Ecological Observatory Network (NEON).

    - sensor: airborne camera, red, green, blue, 8 bits
    - metres per pixel: 0.1
    - classes: Tree
    - counts: 23 images of 400 × 400 (HARV 6, OSBS 3, SJER 4, TEAK 10)
    - labels: horizontal boxes, also given as rotated boxes; no masks. In dense canopy not every
      crown is labelled
    - licence: open data of NEON; annotations with DeepForest (MIT)
    - layout: ``SITE_NUMBER.tif`` with ``SITE_NUMBER.xml`` (Pascal VOC) beside it
    - split: a fifth of the images by the hash of their name is "val"
    - mean and std: measured on the training images
    """

    name = "neon_trees"
    classes = ClassMap(("Tree",), ((60, 160, 70),))
    mean = (140.66, 145.24, 123.28)
    std = (54.53, 45.46, 32.42)
    gsd_m = 0.1
    licence = "imagery NEON open data, annotations MIT (DeepForest)"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        annotations = [_mended(item) for item in read_voc(root, root, notes)]
        validation = held_out((item.image for item in annotations), share=0.2)
        return build_store(
            annotations,
            None,
            self.info(root),
            out,
            notes,
            split_of=lambda image: "val" if image in validation else "train",
        )


def _mended(annotations: Annotations) -> Annotations:
    """Some files spell the class with a trailing backslash."""
    objects = (replace(item, name=item.name.rstrip("\\")) for item in annotations.objects)
    return replace(annotations, objects=tuple(objects))
