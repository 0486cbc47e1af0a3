"""The last stage: a scene in UTM becomes a map, and the page in the browser."""

from __future__ import annotations

import json
from pathlib import Path

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
from geomtp.rasters import write_raster

_SEED = 8
_NAME = "scene"


def mapping(demo: Demo) -> Chapter:
    """Draw a large scene, write it as a GeoTIFF and map it with the fine-tuned model."""
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
    predict_scenes(config, demo.say)
    summary = json.loads(summary_path(folder, _NAME).read_text("utf-8"))
    found = map_scores(folder / f"{_NAME}_semantic.tif", scene)
    classes = summary["semantic"]["classes"]
    height, width = demo.size.scene_hw
    return Chapter(
        text=(
            f"A scene of {width} × {height} px, {width * GSD_M:.0f} × {height * GSD_M:.0f} m, was "
            f"written as a GeoTIFF ({place.crs}) and mapped by the fine-tuned model in "
            f"{summary['windows']} windows that overlap and blend, {summary['seconds']:.0f} "
            f"seconds. {_NAME}_semantic.tif is the map (classes, palette), {_NAME}_semantic.gpkg "
            f"its polygons, both with styles for QGIS. Scored against what was drawn.",
            f"In the browser: {page_command(demo.out)} opens http://127.0.0.1:8000/ where images "
            f"become maps (pip install geomtp[serve]).",
        ),
        command="geomtp predict runs/mine/best.safetensors scene.tif --polygons true --out maps",
        heads=("class", "area, m²", "IoU with the truth"),
        rows=_rows(found, {name: figures["area_m2"] for name, figures in classes.items()}),
        pictures={f"map/{_NAME}_preview.png": "The scene with the map over it"},
    )


def page_command(out: Path) -> str:
    """What opens the page with the model and the scene of the demo in ``out``."""
    return f"geomtp serve {' '.join(page_words(out))}"


def page_words(out: Path) -> list[str]:
    """The same without the name of the command."""
    return [str(out / "finetune" / "mtp" / "model.safetensors"), "--images", str(out / "map")]


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
