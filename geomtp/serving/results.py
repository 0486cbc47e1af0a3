"""What a finished job gives: layers for the page, and files to download."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import shapely

from geomtp.inference.predict_config import SUMMARY_SUFFIX
from geomtp.rasters import Georeference
from geomtp.serving.refusals import Refused
from geomtp.serving.served_models import ServedModel
from geomtp.serving.views import View
from geomtp.types import MAP_TASKS, OBJECT_TASKS, Rgb

MOST_OBJECTS = 20_000
"""Objects of a layer that the page draws, the surest; files hold all."""


@dataclass(frozen=True)
class ResultLayer:
    """A layer that the page lays over the image.

    - task; kind: a map of classes, whose value v is class v − 1, or objects
    - classes, palette: names and colours
    """

    task: str
    kind: Literal["map", "objects"]
    classes: tuple[str, ...]
    palette: tuple[Rgb, ...]


@dataclass(frozen=True)
class ResultFile:
    """A file to download: its name, what it is, and its size."""

    name: str
    what: str
    bytes: int


@dataclass(frozen=True)
class Results:
    """The files that a job left in ``out``, called after ``title``."""

    out: Path
    title: str
    model: ServedModel

    @property
    def _stem(self) -> str:
        """What the files are called within the folder: as their summary."""
        summaries = list(self.out.glob(f"*{SUMMARY_SUFFIX}"))
        if not summaries:
            raise Refused(404, "the files of this job are gone: run it again")
        return summaries[0].name.removesuffix(SUMMARY_SUFFIX)

    def summary(self) -> dict[str, Any]:
        """The figures of the scene, without the settings, which name files of the server.

        The probabilities of a classifier of whole images are ``scene_scores``.
        """
        text = (self.out / f"{self._stem}{SUMMARY_SUFFIX}").read_text(encoding="utf-8")
        summary: dict[str, Any] = json.loads(text)
        del summary["settings"]
        if "scene" in self.model.tasks:
            summary["scene_scores"] = summary["scene"]
        return summary | {"scene": self.title}

    def layers(self) -> list[ResultLayer]:
        """Those for the page."""
        layers = []
        for task in self.model.tasks:
            own = self.model.classes, self.model.palette
            if task == "change":
                own = ("changed",), ((255, 64, 64),)
            if task in MAP_TASKS:
                layers.append(ResultLayer(task, "map", *own))
            elif task in OBJECT_TASKS:
                layers.append(ResultLayer(task, "objects", *own))
        return layers

    def layer(self, task: str, kind: str) -> ResultLayer:
        """That of a task. Raises ``Refused`` where there is none."""
        found = [layer for layer in self.layers() if (layer.task, layer.kind) == (task, kind)]
        if not found:
            raise Refused(404, f"this job has no layer {task!r} of that kind")
        return found[0]

    def map_file(self, task: str) -> Path:
        """The GeoTIFF of a map."""
        return self.out / f"{self._stem}_{task}.tif"

    def files(self) -> list[ResultFile]:
        """What may be downloaded."""
        return [
            ResultFile(name, _what(path), path.stat().st_size)
            for name, path in self._named().items()
        ]

    def file(self, name: str) -> Path:
        """The file that is downloaded as ``name``. Raises ``Refused`` where there is none."""
        path = self._named().get(name)
        if path is None:
            raise Refused(404, f"this job has no file {name[:200]!r}")
        return path

    def _named(self) -> dict[str, Path]:
        stem = self._stem
        return {
            f"{self.title}{path.name.removeprefix(stem)}": path
            for path in sorted(self.out.iterdir())
            if path.is_file() and path.name.startswith(stem) and path.suffix != ".xml"
        }

    def objects(self, task: str, view: View, place: Georeference | None) -> dict[str, Any]:
        """The surest objects as GeoJSON, and how many there are in all (``total``).

        In longitude and latitude where the view is a map, else in pixels of the image, y down.
        """
        import pyogrio

        self.layer(task, "objects")
        file = self.out / f"{self._stem}_{task}.gpkg"
        frame = pyogrio.read_dataframe(file, max_features=MOST_OBJECTS)
        if view.kind == "map":
            frame = frame.to_crs(4326)
        elif place is not None:
            frame.geometry = shapely.transform(frame.geometry.to_numpy(), place.to_pixels)
            frame = frame.set_crs(None, allow_override=True)
        features: dict[str, Any] = json.loads(frame.to_json(drop_id=True))
        return {
            "type": "FeatureCollection",
            "total": pyogrio.read_info(file)["features"],
            "features": features["features"],
        }


def _what(path: Path) -> str:
    kinds = {
        ".tif": "map of classes, GeoTIFF",
        ".gpkg": "objects, GeoPackage",
        ".geojson": "objects, GeoJSON",
        ".png": "picture",
        ".json": "figures",
        ".qml": "style for QGIS",
    }
    return kinds.get(path.suffix, "file")
