"""The objects of a scene as layers of a map: polygons with their class, score, size and heading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray

from geomtp.geometry import quads_from_rboxes
from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.rasters import Georeference
from geomtp.rasters.ground_sizes import GroundSizes, polygon_sizes, quad_sizes
from geomtp.types import OBJECT_TASKS, ClassMap

OBJECTS_AT_ONCE = 1 << 16
"""How many objects are turned into geometries together; bounds the memory of writing."""


@dataclass(frozen=True)
class MapShapes:
    """N polygons (shapely's, in coordinates of the map) and N values of each attribute."""

    polygons: NDArray[Any]
    attributes: Mapping[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.polygons)


@dataclass(frozen=True)
class VectorLayer:
    """A layer to be written or shown.

    - name: the layer's name in its file
    - crs: coordinate system as WKT or "EPSG:number"; None: pixels of the image, y down
    - class_map: classes and colours
    - columns: the type of each attribute (str, int or float), in order
    - parts: the shapes, in pieces that are made when they are asked for
    - several_parts: whether a shape may be a multi-polygon
    """

    name: str
    crs: str | None
    class_map: ClassMap
    columns: Mapping[str, type]
    parts: Iterable[MapShapes]
    several_parts: bool = False


def objects_layer(
    objects: SceneObjects, class_map: ClassMap, place: Georeference | None, *, task: str
) -> VectorLayer:
    """The layer, named after its task, of the objects of a scene.

    Each object is a polygon exactly as predicted: its corners through the georeference. Attributes:
    ``class``, ``class_id`` (0…K−1), ``score`` (0…1), ``length_m``, ``width_m``, ``heading_deg``
    (not of horizontal boxes, which point nowhere) and ``area_m2``, measured on the ground
    (``rasters/ground_sizes.py``). Without a place: ``length_px``, ``width_px``, ``angle_deg``
    (clockwise from the image's up) and ``area_px``. Sizes of instances are those of the smallest
    rectangle around them; their area is their own.

    Raises ValueError for a task without objects, another task's objects, or a class id that
    ``class_map`` lacks.
    """
    if task not in OBJECT_TASKS:
        raise ValueError(f"objects are of the tasks {', '.join(OBJECT_TASKS)}, got {task!r}")
    given = (objects.rboxes_cxcywha, objects.boxes_xyxy, objects.polygons)
    if given[OBJECT_TASKS.index(task)] is None:
        raise ValueError(f"these are no objects of the task {task!r}: they have another geometry")
    labels = np.asarray(objects.labels)
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(class_map):
        raise ValueError(
            f"class ids 0 to {len(class_map) - 1} were expected for {len(class_map)} classes, "
            f"found {labels.min()} to {labels.max()}"
        )
    sizes = _size_columns(task, placed=place is not None)
    return VectorLayer(
        name=task,
        crs=None if place is None else place.crs,
        class_map=class_map,
        columns={"class": str, "class_id": int, "score": float} | dict.fromkeys(sizes, float),
        parts=_Parts(objects, class_map, place, sizes),
        several_parts=task == "instance",
    )


def objects_frame(
    objects: SceneObjects, class_map: ClassMap, place: Georeference | None, *, task: str
) -> Any:
    """The objects as a ``geopandas.GeoDataFrame``, by falling score: columns as ``objects_layer``.

    Raises ValueError as there.
    """
    return layer_frame(objects_layer(objects, class_map, place, task=task))


def layer_frame(layer: VectorLayer) -> Any:
    """All of a layer as a ``geopandas.GeoDataFrame`` with the columns of its file."""
    from geopandas.geodataframe import GeoDataFrame

    parts = list(layer.parts)
    types = {str: object, int: np.int64, float: np.float64}
    columns = {
        name: np.concatenate([np.zeros(0, types[kind]), *(p.attributes[name] for p in parts)])
        for name, kind in layer.columns.items()
    }
    polygons = np.concatenate([np.zeros(0, object), *(part.polygons for part in parts)])
    return GeoDataFrame(columns, geometry=polygons, crs=layer.crs)


@dataclass(frozen=True)
class _Parts:
    """The shapes of objects, made piece by piece, each time anew."""

    objects: SceneObjects
    class_map: ClassMap
    place: Georeference | None
    sizes: Mapping[str, str]

    def __iter__(self) -> Iterator[MapShapes]:
        names = np.array(self.class_map.names, dtype=object)
        for start in range(0, len(self.objects), OBJECTS_AT_ONCE):
            rows = slice(start, start + OBJECTS_AT_ONCE)
            polygons, sizes = _polygons_and_sizes(self.objects, rows, self.place)
            labels = np.asarray(self.objects.labels[rows], dtype=np.int64)
            scores = np.asarray(self.objects.scores[rows], dtype=np.float64)
            measured = {name: getattr(sizes, field) for name, field in self.sizes.items()}
            yield MapShapes(
                polygons, {"class": names[labels], "class_id": labels, "score": scores} | measured
            )


def _size_columns(task: str, *, placed: bool) -> dict[str, str]:
    """Names of the columns of sizes and the fields of ``GroundSizes`` that they hold."""
    if placed:
        names = ("length_m", "width_m", "heading_deg", "area_m2")
    else:
        names = ("length_px", "width_px", "angle_deg", "area_px")
    columns = dict(zip(names, ("length", "width", "heading_deg", "area"), strict=True))
    if task == "horizontal":
        del columns[names[2]]
    return columns


def _polygons_and_sizes(
    objects: SceneObjects, rows: slice, place: Georeference | None
) -> tuple[NDArray[Any], GroundSizes]:
    """The polygons on the map and their sizes, of some of the objects."""
    if objects.polygons is not None:
        outlines = np.empty(len(objects.polygons[rows]), dtype=object)
        outlines[:] = objects.polygons[rows]
        return on_map(outlines, place), polygon_sizes(outlines, place)
    if objects.rboxes_cxcywha is not None:
        rboxes = torch.from_numpy(np.array(objects.rboxes_cxcywha[rows], dtype=np.float64))
        quads = quads_from_rboxes(rboxes).numpy()
    else:
        assert objects.boxes_xyxy is not None  # objects have exactly one geometry
        boxes_xyxy = np.asarray(objects.boxes_xyxy[rows], dtype=np.float64)
        quads = boxes_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    corners = quads if place is None else place.to_map(quads.reshape(-1, 2)).reshape(-1, 4, 2)
    return shapely.polygons(corners), quad_sizes(quads, place)


def on_map(polygons: NDArray[Any], place: Georeference | None) -> NDArray[Any]:
    """Shapely polygons (N,) in pixels, in the coordinates of the map; as they are without one."""
    return polygons if place is None else shapely.transform(polygons, place.to_map)
