"""Blocks that are done made into the files of a scene."""

from __future__ import annotations

import glob
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomtp.checkpoints import replacing
from geomtp.inference.objects.found_instances import FoundInstances, instances_of_scene
from geomtp.inference.objects.found_objects import BOX_COLUMNS, FoundObjects
from geomtp.inference.objects.scene_boxes import boxes_of_scene
from geomtp.inference.objects.scene_objects import SceneObjects
from geomtp.inference.outputs.class_maps import write_class_map
from geomtp.inference.outputs.preview import write_preview
from geomtp.inference.predict_config import SUMMARY_SUFFIX, Predict
from geomtp.inference.windows.blocks import Grid, RectXYXY
from geomtp.inference.windows.window_model import WindowModel
from geomtp.inference.work.blending import whole_map
from geomtp.inference.work.work_folder import WorkFolder
from geomtp.rasters import Georeference, Scene
from geomtp.rasters.ground_sizes import pixel_area_m2
from geomtp.types import IGNORE, MAP_TASKS, OBJECT_TASKS, ClassMap, Rgb

_AREA_TILE_PX = 512
"""Pixels of a square of this side count as equally large on the ground."""

_CHANGED: Rgb = (255, 40, 40)


@dataclass(frozen=True)
class SceneResult:
    """The files of one scene.

    - name: of the scene
    - summary_file, summary: its JSON and what is in it, see ``docs/maps.md``
    - maps, vectors: by task; preview: None where none was asked for
    """

    name: str
    summary_file: Path
    summary: dict[str, Any]
    maps: dict[str, Path]
    vectors: dict[str, Path]
    preview: Path | None

    @property
    def files(self) -> list[Path]:
        """All that were written, but for styles; the summary first."""
        preview = [] if self.preview is None else [self.preview]
        out = [*self.maps.values(), *self.vectors.values()]
        return [self.summary_file, *out, *preview]


@dataclass
class MapTiles:
    """The finished blocks of a map, counted as they pass: iterate once.

    - pixels, area_m2: by value, after that
    """

    work: WorkFolder
    grid: Grid
    task: str
    place: Georeference | None
    pixels: Counter[int] = field(default_factory=Counter)
    area_m2: Counter[int] = field(default_factory=Counter)

    def __iter__(self) -> Iterator[tuple[RectXYXY, NDArray[np.uint8]]]:
        for number in range(len(self.grid)):
            rect, values = self.grid.block_xyxy(number), self.block(number)
            self._count(rect, values)
            yield rect, values

    def block(self, number: int) -> NDArray[np.uint8]:
        """The values of a block, (h, w): 255 where the scene has none."""
        frames = [
            part
            for near in _around(self.grid, number)
            for part in self.work.block(near).frame(self.task)
        ]
        stored = self.work.block(number)
        values = whole_map(self.grid, number, stored.core(self.task), frames)
        values[~stored.valid()] = IGNORE
        return values

    def _count(self, rect: RectXYXY, values: NDArray[np.uint8]) -> None:
        height, width = values.shape
        for y in range(0, height, _AREA_TILE_PX):
            for x in range(0, width, _AREA_TILE_PX):
                tile = values[y : y + _AREA_TILE_PX, x : x + _AREA_TILE_PX]
                counts = np.bincount(tile.ravel(), minlength=256)
                middle = (rect[0] + x + tile.shape[1] / 2, rect[1] + y + tile.shape[0] / 2)
                area = 0.0 if self.place is None else pixel_area_m2(self.place, middle)
                for value in np.flatnonzero(counts).tolist():
                    self.pixels[value] += int(counts[value])
                    self.area_m2[value] += float(counts[value]) * area  # type: ignore[assignment]


def _around(grid: Grid, number: int) -> list[int]:
    """A block and its neighbours."""
    rows, columns = grid.shape
    row, column = divmod(number, columns)
    return [
        i * columns + j
        for i in range(max(0, row - 1), min(rows, row + 2))
        for j in range(max(0, column - 1), min(columns, column + 2))
    ]


def map_classes(task: str, classes: ClassMap) -> ClassMap:
    """What the values of a map from 1 on stand for."""
    return ClassMap(("changed",), ((255, 255, 255),)) if task == "change" else classes


def map_legend(task: str, classes: ClassMap) -> tuple[tuple[str, ...], tuple[Rgb, ...]]:
    """The names and colours of all values of a map."""
    own = map_classes(task, classes)
    first = "unchanged" if task == "change" else "background"
    return (first, *own.names), ((0, 0, 0), *own.palette)


def _preview_colours(task: str, classes: ClassMap) -> tuple[Rgb, ...]:
    """The colours of a map over its scene: white, as maps of change have it, would not be seen."""
    return ((0, 0, 0), _CHANGED) if task == "change" else map_legend(task, classes)[1]


def objects_of(work: WorkFolder, task: str, config: Predict) -> SceneObjects:
    """The objects of ``task`` in all blocks, each once."""
    blocks = [work.block(number) for number in range(work.blocks)]
    if task == "instance":
        joined = FoundInstances.joined([block.instances() for block in blocks])
        return instances_of_scene(joined, config.box_nms_iou)
    parts = [block.boxes(task) for block in blocks]
    found = FoundObjects.joined(parts, BOX_COLUMNS[task])
    iou = config.rotated_nms_iou if task == "rotated" else config.box_nms_iou
    return boxes_of_scene(found, iou)


def write_scene(
    name: str,
    work: WorkFolder,
    scenes: tuple[Scene, ...],
    grid: Grid,
    model: WindowModel,
    config: Predict,
    settings: dict[str, Any],
) -> SceneResult:
    """Write the files of a scene all of whose blocks are done; the summary last.

    One process at a time does: drafts that one which was killed left behind are removed first.
    Of two dates the first gives the grid, and the preview shows the second.
    """
    from geomtp.inference.outputs.map_polygons import write_polygons_of_map
    from geomtp.inference.outputs.map_styles import raster_style
    from geomtp.inference.outputs.vector_files import write_objects, write_style

    scene = scenes[0]
    out, place, classes = config.out, scene.place, model.classes
    _remove_drafts(out, name, (*model.tasks, "preview", "summary"))
    summary: dict[str, Any] = {"scene": name, "size_hw": scene.size_hw, "settings": settings}
    maps, vectors, found = {}, {}, {}
    for task in model.tasks:
        if task in MAP_TASKS:
            names, colours = map_legend(task, classes)
            maps[task] = out / f"{name}_{task}.tif"
            tiles = MapTiles(work, grid, task, place)
            write_class_map(
                maps[task], tiles, grid.size_hw, place, names, colours, scratch=work.path
            )
            write_style(maps[task], raster_style(map_classes(task, classes)))
            summary[task] = _map_figures(tiles, names)
            if config.polygons:
                vectors[task] = out / f"{name}_{task}.{config.vectors}"
                write_polygons_of_map(
                    vectors[task], maps[task], map_classes(task, classes), place, task=task,
                    simplify_m=config.simplify,
                )  # fmt: skip
        elif task in OBJECT_TASKS:
            found[task] = objects_of(work, task, config)
            vectors[task] = out / f"{name}_{task}.{config.vectors}"
            write_objects(vectors[task], found[task], classes, place, task=task)
            counts = np.bincount(found[task].labels, minlength=len(classes)).tolist()
            summary[task] = {
                "objects": len(found[task]),
                "by class": dict(zip(classes.names, counts, strict=True)),
            }
        elif task == "scene":
            summary[task] = scene_scores(work, classes)
    figures = [work.block(number).figures() for number in range(work.blocks)]
    summary["windows"] = sum(windows for _, windows, _, _ in figures)
    summary["windows_without_data"] = sum(skipped for _, _, skipped, _ in figures)
    summary["seconds"] = round(sum(seconds for *_, seconds in figures), 2)
    preview = out / f"{name}_preview.png" if config.preview else None
    if preview is not None:
        legends = {path: _preview_colours(task, classes) for task, path in maps.items()}
        write_preview(preview, scenes[-1], legends, found, classes, config.preview)
    result = SceneResult(name, summary_path(out, name), summary, maps, vectors, preview)
    summary["files"] = [path.name for path in result.files[1:]]
    with replacing(result.summary_file) as beside:
        beside.write_text(
            json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    return result


def _remove_drafts(out: Path, name: str, kinds: Iterable[str]) -> None:
    """Remove the hidden files and folders from which files of a scene were to be made."""
    for kind in kinds:
        for draft in out.glob(glob.escape(f".{name}_{kind}.") + "*"):
            if draft.is_dir():
                shutil.rmtree(draft, ignore_errors=True)
            else:
                draft.unlink(missing_ok=True)


def summary_path(out: Path, name: str) -> Path:
    """Where the figures of a scene are; no image or STAC item beside it has such a name."""
    return out / f"{name}{SUMMARY_SUFFIX}"


def _map_figures(tiles: MapTiles, names: tuple[str, ...]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for value, class_name in enumerate(names):
        figures[class_name] = {"pixels": tiles.pixels[value]}
        if tiles.place is not None:
            figures[class_name]["area_m2"] = round(float(tiles.area_m2[value]), 2)
    return {"classes": figures, "pixels without data": tiles.pixels[IGNORE]}


def scene_scores(work: WorkFolder, classes: ClassMap) -> dict[str, float]:
    """The mean probability of each class over the windows."""
    sums = [work.block(number).figures()[0] for number in range(work.blocks)]
    total = np.sum([part for part in sums if len(part)] or [np.zeros(len(classes))], axis=0)
    shares = total / max(total.sum(), 1e-12)
    return {name: round(float(share), 6) for name, share in zip(classes.names, shares, strict=True)}
