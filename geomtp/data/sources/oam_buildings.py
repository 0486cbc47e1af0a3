"""Buildings of Kampala in OpenAerialMap imagery."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from geomtp.data.sources.held_out import held_out
from geomtp.data.sources.source import Source
from geomtp.labels.annotations import Annotations
from geomtp.labels.read_notes import ReadNotes, ReadReport
from geomtp.labels.readers.geojson import read_geojson
from geomtp.labels.segmenters.segmenter import PolygonSegmenter
from geomtp.labels.store.building import build_store
from geomtp.labels.store.label_store import LabelStore
from geomtp.types import ClassMap

_PARENT_ZOOM = 19


class OamBuildings(Source):
    """Buildings in an orthophoto of Kampala (OpenAerialMap tiles, OpenStreetMap polygons).

    - sensor: drone or aircraft orthophoto, red, green, blue, 8 bits
    - metres per pixel: 0.075 at zoom 21 (most tiles), 0.15 at 20, 0.30 at 19
    - classes: building
    - counts: 157 tiles of 256 × 256, 258 polygons, 2 of them listed twice. The tiles lie in nine
      tiles of zoom 19 and cover the same ground at three zooms
    - labels: polygons, clipped to the tile; semantic, masks, boxes and rotated boxes follow
    - licence: imagery CC BY 4.0 (OpenAerialMap), polygons ODbL (OpenStreetMap contributors)
    - layout: ``uganda_z21/`` and ``uganda_z19_20/``, each with ``OAM-x-y-z.png`` and
      ``labels.geojson`` (longitude and latitude)
    - split: two of the nine tiles of zoom 19, with all that lies in them, are "val"
    - mean and std: measured on the training tiles
    """

    name = "oam_buildings"
    classes = ClassMap(("building",), ((230, 80, 50),))
    mean = (158.09, 131.56, 100.20)
    std = (64.70, 52.67, 51.10)
    gsd_m = 0.075
    licence = "imagery CC BY 4.0 (OpenAerialMap), labels ODbL (OpenStreetMap contributors)"

    def _build(self, root: Path, out: Path, notes: ReadNotes) -> tuple[LabelStore, ReadReport]:
        annotations = list(self._annotations(root, notes))
        validation = held_out((parent_tile(item.image) for item in annotations), share=0.2)
        return build_store(
            annotations,
            PolygonSegmenter(),
            self.info(root),
            out,
            notes,
            split_of=lambda image: "val" if parent_tile(image) in validation else "train",
        )

    def _annotations(self, root: Path, notes: ReadNotes) -> Iterator[Annotations]:
        for folder in ("uganda_z19_20", "uganda_z21"):
            # The labels of both folders: a building at the border may be listed in the other one.
            for item in read_geojson(root / folder, root, notes, class_name="building"):
                yield dataclasses.replace(item, image=f"{folder}/{item.image}")


def parent_tile(image: str) -> str:
    """The tile of zoom 19, as "x-y", that the tile ``…-x-y-z.png`` (z ≥ 19) lies in."""
    x, y, zoom = (int(part) for part in image.rsplit(".", 1)[0].split("-")[-3:])
    return f"{x >> (zoom - _PARENT_ZOOM)}-{y >> (zoom - _PARENT_ZOOM)}"
