"""A prediction: a model, scenes of any size, and what is written of them."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from geomtp.checkpoints import sha256_of
from geomtp.inference.block_results import BlockResult
from geomtp.inference.block_work import Job, look_at_blocks
from geomtp.inference.blocks import Grid
from geomtp.inference.predict_config import Predict
from geomtp.inference.scene_inputs import SceneInput, scene_inputs
from geomtp.inference.scene_result import SceneResult, summary_path, write_scene
from geomtp.inference.training_settings import settings_of_training, trained_size_px
from geomtp.inference.window_model import WindowModel, open_model
from geomtp.inference.work_folder import WorkFolder
from geomtp.parallel import launched_as, share_of_rank
from geomtp.rasters import Georeference, Scene, open_scene
from geomtp.rasters.ground_sizes import metres_per_pixel

Say = Callable[[str], None]

_SAID_EVERY_S = 5.0

_SUMS_BYTES = 256 * 2**20
"""Most memory for the probabilities of a block."""

_NOT_SETTINGS = ("checkpoint", "images", "out", "device", "windows_at_once", "vectors", "preview",
                 "compile", "rotated_nms_iou", "box_nms_iou")  # fmt: skip
"""Fields of ``Predict`` that blocks do not depend on, or that are told otherwise."""


def predict_scenes(config: Predict, say: Say = print) -> list[SceneResult]:
    """Write maps and objects of ``config.images`` to ``config.out``; see ``Predict``.

    Called again after an interruption, with the same settings, it goes on where it was. Under a
    launcher (RANK and WORLD_SIZE, or SLURM_PROCID and SLURM_NTASKS) each process does its share of
    the blocks; the one that finds all of a scene done writes its files. Gives back the scenes whose
    files this process wrote.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    rank, world = launched_as()
    model = open_model(config, rank)
    facts = {"sha256": sha256_of(config.checkpoint), "source": model.source}
    inputs = scene_inputs(config.images, model.dates)
    config.out.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for number, scene_input in enumerate(inputs):
            if len(inputs) > 1:
                say(f"{scene_input.name} ({number + 1} of {len(inputs)})")
            process = ((rank - number) % world, world)  # small scenes are for one process each
            result = _predict_scene(config, model, facts, scene_input, process, say)
            if result is not None:
                results.append(result)
    except KeyboardInterrupt:
        say("stopped; the same command goes on where this one was")
        raise
    return results


def _predict_scene(
    config: Predict,
    model: WindowModel,
    facts: dict[str, str],
    scene_input: SceneInput,
    process: tuple[int, int],
    say: Say,
) -> SceneResult | None:
    """One scene; None where it was finished before, or another process finishes it."""
    name = scene_input.name
    scenes = open_dates(scene_input, config, model)
    try:
        grid = grid_of(config, model, scenes[0])
        settings = _settings(config, facts, scene_input, grid)
        if _finished(config.out, name, settings):
            say(f"{summary_path(config.out, name)} is there already: nothing to do")
            return None
        own = share_of_rank(len(grid), *process)
        if not own:
            return None
        work = WorkFolder.open(config.out, name, settings, len(grid))
        job = Job(
            scenes=scenes,
            grid=grid,
            model=model,
            flips=(None, *config.flips),
            least_score=config.score,
            windows_at_once=config.windows_at_once,
        )
        _do_blocks(job, work, list(own), say)
        if len(work.done) < len(grid):
            say(f"{name}: {len(grid) - len(work.done)} blocks are with other processes")
            return None
        with work.merging() as taken:
            if taken is None:
                return None
            result = write_scene(name, taken, scenes[0], grid, model, config, settings)
        say(f"wrote {summary_path(config.out, name)} and beside it {_written(result)}")
        return result
    finally:
        for scene in scenes:
            scene.close()


def _do_blocks(job: Job, work: WorkFolder, own: list[int], say: Say) -> None:
    missing = [number for number in own if not work.block(number).exists()]
    if len(missing) < len(own):
        say(f"going on: {len(own) - len(missing)} of {len(own)} blocks are done already")
    began = said = time.monotonic()
    done = windows = 0

    def keep(number: int, result: BlockResult) -> None:
        nonlocal done, windows, said
        result.save(work.block(number).path)
        done, windows = done + 1, windows + result.windows
        now = time.monotonic()
        if now - said >= _SAID_EVERY_S or done == len(missing):
            said = now
            left = (now - began) / done * (len(missing) - done)
            say(
                f"maps  {done} of {len(missing)} blocks, "
                f"{windows / max(now - began, 1e-9):.1f} windows/s, {left:.0f} s left"
            )

    look_at_blocks(job, missing, keep)


def open_dates(scene_input: SceneInput, config: Predict, model: WindowModel) -> tuple[Scene, ...]:
    """The scenes of an input, on one grid."""
    bands = None if config.bands is None else [str(band) for band in config.bands]
    scenes: list[Scene] = []
    try:
        for path in scene_input.paths:
            scene = open_scene(path, channels=len(model.mean), bands=bands)
            scenes.append(scene if not scenes else scene.on_grid_of(scenes[0]))
    except Exception:
        for scene in scenes:
            scene.close()
        raise
    return tuple(scenes)


def grid_of(config: Predict, model: WindowModel, scene: Scene) -> Grid:
    """Blocks and windows of a scene."""
    window = config.window or _trained_window(config, model)
    overlap = 2 * round(window * config.overlap / 2)
    stride = max(window - overlap, -(-window // 2))
    maps = max((len(model.classes) + 1 if task == "semantic" else 2 for task in model.tasks
                if task in ("semantic", "change")), default=1)  # fmt: skip
    factor = _gsd_factor(config.gsd, scene)
    most_px = np.sqrt(_SUMS_BYTES / 4 / maps) * factor
    cells = int(np.clip(most_px // stride - 1, 2, 8))
    factors = tuple(factor * scale for scale in config.scales)
    return Grid(scene.size_hw, window, stride, factors, cells)


def _trained_window(config: Predict, model: WindowModel) -> int:
    trained = trained_size_px(settings_of_training(Path(config.checkpoint)))
    assert model.model.config is not None
    return trained or model.model.config.image_size


def _gsd_factor(gsd_m: float | None, scene: Scene) -> float:
    if gsd_m is None:
        return 1.0
    place = scene.place
    if place is None:
        raise ValueError(
            f"{scene.path} has no place on Earth: --gsd needs one; use --scales instead"
        )
    own = ground_sampling_m(place, scene.size_hw)
    return own / gsd_m


def ground_sampling_m(place: Georeference, size_hw: tuple[int, int]) -> float:
    """The side of the pixel in the middle of a raster, in metres on the ground."""
    middle = (size_hw[1] / 2, size_hw[0] / 2)
    return float(np.sqrt(abs(np.linalg.det(metres_per_pixel(place, middle)))))


def _settings(
    config: Predict, facts: dict[str, str], scene_input: SceneInput, grid: Grid
) -> dict[str, Any]:
    """All that blocks depend on, as JSON holds it."""
    chosen = {
        name: value
        for name, value in dataclasses.asdict(config).items()
        if name not in _NOT_SETTINGS
    }
    chosen |= {
        "window": grid.window,
        "stride": grid.stride,
        "cells_per_block": grid.cells_per_block,
        "model": facts,
        "images": [_file_facts(path) for path in scene_input.paths],
    }
    plain: dict[str, Any] = json.loads(json.dumps(chosen))
    return plain


def _file_facts(path: str) -> dict[str, Any]:
    """By which a changed file is known."""
    file = Path(path)
    if not file.is_file():
        return {"path": path}
    return {"path": path, "bytes": file.stat().st_size, "changed": int(file.stat().st_mtime)}


def _finished(out: Path, name: str, settings: dict[str, Any]) -> bool:
    path = summary_path(out, name)
    if not path.is_file():
        return False
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")).get("settings") == settings)
    except (ValueError, AttributeError):
        return False


def _written(result: SceneResult) -> str:
    files = [*result.maps.values(), *result.vectors.values()]
    files += [] if result.preview is None else [result.preview]
    return ", ".join(path.name for path in files)
