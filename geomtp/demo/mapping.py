"""The last stage: a scene in UTM becomes a map, and the page in the browser."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch

from geomtp.data.scenes import Scene, large_scene
from geomtp.data.scenes.embedded import place_on_map
from geomtp.data.scenes.scene import GSD_M
from geomtp.demo.chapters import Cell, Chapter
from geomtp.demo.finetuning import CLASSES, KIND, fine_tuned
from geomtp.demo.stages import Demo
from geomtp.inference.predict import predict_scenes
from geomtp.inference.predict_config import Predict
from geomtp.inference.scene_result import summary_path
from geomtp.metrics.semantic import SemanticResult, confusion_of_maps
from geomtp.rasters import Georeference, write_raster
from geomtp.training.run_folder import RunFolder

PAGE = "http://127.0.0.1:8000/"
"""Where the page is, unless another port is asked for."""

OBJECTS_OF = "embedded_town"
"""The source of pretraining that knows such scenes."""

_SEED = 8
_NAME = "scene"


def mapping(demo: Demo) -> Chapter:
    """Draw a large scene as a GeoTIFF; map it with the fine-tuned model, find objects by MTP's."""
    folder = demo.folder("map")
    scene = large_scene(KIND, demo.size.scene_hw, _SEED, classes=CLASSES.names)
    file, place = folder / f"{_NAME}.tif", place_on_map(0, max(demo.size.scene_hw))
    if not file.is_file():  # once: a map belongs to a file as it was at that time
        folder.mkdir(parents=True, exist_ok=True)
        write_raster(file, scene.image, place)
    config = Predict(
        checkpoint=fine_tuned(demo),
        images=(str(file),),
        out=folder,
        polygons=True,
        preview=max(demo.size.scene_hw),
    )
    mapped = _predicted(demo, config)
    finding = dataclasses.replace(
        config,
        checkpoint=RunFolder(demo.folder("mtp")).model,
        out=folder / "objects",
        classes_of=OBJECTS_OF,
        polygons=False,
    )
    objects = _predicted(demo, finding)
    areas = {name: figures["area_m2"] for name, figures in mapped["semantic"]["classes"].items()}
    return Chapter(
        text=_text(demo, place, mapped, objects),
        command="geomtp predict runs/mine/best.safetensors scene.tif --polygons true --out maps",
        heads=("class", "area, m²", "IoU with the truth"),
        rows=_rows(map_scores(folder / f"{_NAME}_semantic.tif", scene), areas),
        pictures={
            f"map/{_NAME}_preview.png": "The scene with the map over it",
            f"map/objects/{_NAME}_preview.png": "Objects and classes of the model of stage 3",
        },
    )


def _text(
    demo: Demo, place: Georeference, mapped: dict[str, Any], objects: dict[str, Any]
) -> tuple[str, ...]:
    """What was done, from the summaries of the two predictions."""
    height, width = demo.size.scene_hw
    counts = objects["rotated"]["by class"].items()
    return (
        f"A scene of {width} × {height} px, {width * GSD_M:.0f} × {height * GSD_M:.0f} m, was "
        f"written as a GeoTIFF ({place.crs}) and mapped by the fine-tuned model in "
        f"{mapped['windows']} windows that overlap and blend, {mapped['seconds']:.0f} seconds. "
        f"{_NAME}_semantic.tif is the map (classes, palette), {_NAME}_semantic.gpkg its polygons, "
        f"both with styles for QGIS. Scored against what was drawn.",
        f"The model of stage 3, before fine-tuning, finds objects: the rotated boxes in "
        f"objects/{_NAME}_rotated.gpkg, with length, width and heading "
        f"({', '.join(f'{name} {count}' for name, count in counts)}).",
        f"In a browser: {PAGE} is where images become maps, once this runs: "
        f"{page_command(demo.out)} (pip install geomtp[serve] brings what it needs).",
    )


def _predicted(demo: Demo, config: Predict) -> dict[str, Any]:
    """The summary of a prediction, which is done unless it was before."""
    predict_scenes(config, demo.say)
    summary: dict[str, Any] = json.loads(summary_path(config.out, _NAME).read_text("utf-8"))
    return summary


def page_words(out: Path) -> list[str]:
    """The words of ``geomtp serve`` that offer models and scene of the demo in ``out``."""
    models = (RunFolder(out / run).model for run in ("finetune/from_mtp", "mtp"))
    return [*map(str, models), "--images", str(out / "map")]


def page_command(out: Path) -> str:
    """The same as it is typed."""
    return shlex.join(["geomtp", "serve", *page_words(out)])


def map_scores(file: Path, scene: Scene) -> SemanticResult:
    """The scores of a map of classes against the scene that it is of."""
    with rasterio.open(file) as raster:
        values = torch.from_numpy(raster.read(1).astype(np.int64))
    truth = torch.from_numpy(scene.semantic.astype(np.int64))
    confusion = confusion_of_maps(values, truth, len(scene.classes) + 1)
    return SemanticResult.of_confusion(confusion)


def _rows(found: SemanticResult, areas_m2: dict[str, float]) -> tuple[tuple[Cell, ...], ...]:
    areas = list(areas_m2.items())
    rows = [(name, round(area), iou) for (name, area), iou in zip(areas, found.iou, strict=True)]
    return (*rows, ("all", round(sum(areas_m2.values())), found.mean_iou))
