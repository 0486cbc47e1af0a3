"""``geomtp.predict``: a model and an image of any size, results in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from geomtp.inference.predict import job_of, on_one_grid, open_dates
from geomtp.inference.predict_config import Flip, Predict
from geomtp.inference.scene_result import MapTiles, objects_of, scene_scores
from geomtp.inference.windows.blocks import Grid
from geomtp.inference.windows.scene_grid import scene_grid
from geomtp.inference.windows.window_model import PredictsImages, WindowModel, source_of
from geomtp.inference.work.block_work import look_at_blocks, tile_cache
from geomtp.inference.work.work_folder import WorkFolder
from geomtp.rasters import Georeference, Scene, scene_of_array
from geomtp.types import MAP_TASKS, OBJECT_TASKS

ImageOrPath = str | Path | NDArray[Any]


@dataclass(frozen=True)
class Prediction:
    """What a model says of one image; None and empty for tasks that it has not learned.

    - semantic: (H, W) uint8, 0 background, k+1 for class k, 255 no data
    - change: (H, W) uint8, 0 unchanged, 1 changed, 255 no data
    - objects: by task ("rotated", "horizontal", "instance") a ``geopandas.GeoDataFrame``: outlines
      with class, score and size, by falling score; in the image's coordinate system, or in pixels
    - scene: the probability of each class of the whole image, by name
    - place: where the image lies on Earth, if anywhere
    """

    semantic: NDArray[np.uint8] | None
    change: NDArray[np.uint8] | None
    objects: Mapping[str, Any]
    scene: Mapping[str, float] | None
    place: Georeference | None


def predict(
    model: PredictsImages,
    image: ImageOrPath,
    image_after: ImageOrPath | None = None,
    *,
    source: str | None = None,
    bands: Sequence[int | str] | None = None,
    place: Georeference | None = None,
    gsd: float | None = None,
    window: int | None = None,
    overlap: float = 0.25,
    stretch: bool = False,
    scales: Sequence[float] = (1.0,),
    flips: Sequence[Flip] = (),
    score: float = 0.3,
    rotated_nms_iou: float = 0.1,
    box_nms_iou: float = 0.5,
    windows_at_once: int = 4,
) -> Prediction:
    """What ``model`` says of an image of any size, looked at by windows as ``geomtp predict`` does.

    Args:
        model: from ``geomtp.load``, not its file; its device is used.
        image: a path, or an array (H, W, C) or (H, W) in the units of the training images, bands
            in the model's order. For change the earlier date.
        image_after: the later date, for change.
        source: whose classes are meant, where the model has several.
        bands: which bands of the image, by number from 1 or, of a file, by name.
        place: where an array lies on Earth; a file says so itself.
        gsd: metres per pixel that the model looks at; by default those of the image.
        window: side of the windows in pixels; by default that of the images of training.
        overlap: share of a window that the next one sees again, 0 to 0.5.
        stretch: bring values from their 2nd…98th percentile to 0…255 first.
        scales: factors of the size at which the image is looked at.
        flips: mirrored views that are looked at besides.
        score: least score of an object.
        rotated_nms_iou: overlap from which rotated boxes of windows and views are one.
        box_nms_iou: the same of horizontal boxes, and of the masks of instances.
        windows_at_once: windows that go through the model together.

    Returns:
        Arrays and frames on the grid of ``image``.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the caller can mend.
    """
    looked_at = _window_model(model, source)
    config = Predict(
        checkpoint=Path(),
        images=("image",),
        bands=None if bands is None else tuple(bands),
        gsd=gsd,
        window=window,
        overlap=overlap,
        stretch=stretch,
        scales=tuple(scales),
        flips=tuple(flips),
        score=score,
        rotated_nms_iou=rotated_nms_iou,
        box_nms_iou=box_nms_iou,
        windows_at_once=windows_at_once,
    )
    images = [image] if image_after is None else [image, image_after]
    if place is not None and not any(isinstance(one, np.ndarray) for one in images):
        raise ValueError("place is for arrays: a file says itself where it lies")
    if len(images) != looked_at.dates:
        raise ValueError(
            f"the model compares {looked_at.dates} dates, {len(images)} images were given"
        )
    was_training = isinstance(model, nn.Module) and model.training
    if isinstance(model, nn.Module):
        model.eval()
    scenes = _opened(images, config, looked_at, place)
    try:
        grid = scene_grid(config, looked_at, window or looked_at.image_size, scenes[0])
        with TemporaryDirectory(prefix="geomtp-") as folder, tile_cache(scenes):
            work = WorkFolder(Path(folder), len(grid))
            look_at_blocks(
                job_of(config, looked_at, scenes, grid, _warn),
                range(len(grid)),
                lambda number, result: result.save(work.block(number).path),
                lambda seen, skipped: None,
            )
            return _merged(config, looked_at, work, grid, scenes[0].place)
    finally:
        for scene in scenes:
            scene.close()
        if isinstance(model, nn.Module):
            model.train(was_training)


def _warn(text: str) -> None:
    import warnings

    warnings.warn(text, stacklevel=4)


def _window_model(model: PredictsImages, source: str | None) -> WindowModel:
    if isinstance(model, str | Path):
        raise ValueError(f"a model is expected, not its file: geomtp.load({str(model)!r}) gives it")
    parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    device = torch.device("cpu") if parameter is None else parameter.device
    return WindowModel(model, source_of(model, source), device)


def _opened(
    images: Sequence[ImageOrPath],
    config: Predict,
    model: WindowModel,
    place: Georeference | None,
) -> tuple[Scene, ...]:
    def opened(image: ImageOrPath) -> Scene:
        if isinstance(image, np.ndarray):
            bands = None if config.bands is None else [str(band) for band in config.bands]
            return scene_of_array(image, channels=len(model.mean), bands=bands, place=place)
        if not isinstance(image, str | Path):
            raise ValueError(
                f"an image is a path or a numpy array (H, W, C), got {type(image).__name__}"
            )
        (scene,) = open_dates((str(image),), config, model)
        return scene

    return on_one_grid(map(opened, images))


def _merged(
    config: Predict,
    model: WindowModel,
    work: WorkFolder,
    grid: Grid,
    place: Georeference | None,
) -> Prediction:
    from geomtp.inference.outputs.vector_layers import objects_frame

    maps = {
        task: _whole(MapTiles(work, grid, task, None)) for task in model.tasks if task in MAP_TASKS
    }
    objects = {
        task: objects_frame(objects_of(work, task, config), model.classes, place, task=task)
        for task in model.tasks
        if task in OBJECT_TASKS
    }
    scene = scene_scores(work, model.classes) if "scene" in model.tasks else None
    return Prediction(maps.get("semantic"), maps.get("change"), objects, scene, place)


def _whole(tiles: MapTiles) -> NDArray[np.uint8]:
    values = np.zeros(tiles.grid.size_hw, dtype=np.uint8)
    for (x1, y1, x2, y2), part in tiles:
        values[y1:y2, x1:x2] = part
    return values
