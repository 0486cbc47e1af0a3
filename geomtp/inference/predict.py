"""A prediction: a model, scenes of any size, and what is written of them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from geomtp.checkpoints import sha256_of
from geomtp.inference.predict_config import Predict
from geomtp.inference.scene_inputs import SceneInput, scene_inputs
from geomtp.inference.scene_result import SceneResult, summary_path, write_scene
from geomtp.inference.training_settings import settings_of_training, trained_size_px
from geomtp.inference.windows.blocks import Grid
from geomtp.inference.windows.scene_grid import scene_grid
from geomtp.inference.windows.value_ranges import doubt, range_of
from geomtp.inference.windows.window_model import WindowModel, open_model
from geomtp.inference.work.block_results import BlockResult
from geomtp.inference.work.block_work import Job, look_at_blocks, tile_cache
from geomtp.inference.work.work_folder import WorkFolder
from geomtp.parallel import launched_as, share_of_rank
from geomtp.progress import Progress
from geomtp.rasters import Scene, open_scene

Say = Callable[[str], None]

OnWindows = Callable[[int, int], None]
"""Told how many windows of a scene are done, and of how many; what it raises stops the work."""

_NOT_SETTINGS = ("checkpoint", "images", "out", "device", "windows_at_once", "compile")
"""Fields of ``Predict`` that results do not depend on, or that are told otherwise."""

_OF_FILES = ("vectors", "polygons", "simplify", "preview", "rotated_nms_iou", "box_nms_iou")
"""Fields that blocks do not depend on, but the files made of them."""


def predict_scenes(
    config: Predict,
    say: Say = print,
    *,
    model: WindowModel | None = None,
    on_windows: OnWindows | None = None,
    plain_only: bool = False,
) -> list[SceneResult]:
    """Write maps and objects of ``config.images`` to ``config.out``; see ``Predict``.

    Called again after an interruption, with the same settings, it goes on where it was. Under a
    launcher (RANK and WORLD_SIZE, or SLURM_PROCID and SLURM_NTASKS) each process does its share of
    the blocks; the one that finds all of a scene done writes its files.

    Args:
        config: the settings.
        say: takes lines on what happens.
        model: that of ``config.checkpoint``, where it is open already.
        on_windows: told of progress, in this thread, after each batch.
        plain_only: open only files that hold their own pixels, for images from strangers.

    Returns:
        The scenes whose files this call wrote; not those that were finished before.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    if config.out.is_file():
        raise ValueError(f"--out names a folder for the results, {config.out} is a file")
    rank, world = launched_as()
    model = model or open_model(config, rank)
    inputs = scene_inputs(config.images, model.dates)
    run = _Run(config, model, _model_facts(config, model), say, on_windows, plain_only)
    config.out.mkdir(parents=True, exist_ok=True)
    results = []
    try:
        for number, scene_input in enumerate(inputs):
            if len(inputs) > 1:
                say(f"{scene_input.name} ({number + 1} of {len(inputs)})")
            process = ((rank - number) % world, world)  # small scenes: for one process each
            results.append(run.scene(scene_input, process))
    except KeyboardInterrupt:
        say("stopped; the same command goes on where this one was")
        raise
    return [result for result in results if result is not None]


@dataclasses.dataclass(frozen=True)
class _Run:
    """What is the same for all scenes of a call."""

    config: Predict
    model: WindowModel
    facts: dict[str, Any]
    say: Say
    on_windows: OnWindows | None
    plain_only: bool

    def scene(self, scene_input: SceneInput, process: tuple[int, int]) -> SceneResult | None:
        """One scene; None where it was finished before, or another process finishes it."""
        scenes = open_dates(scene_input.paths, self.config, self.model, self.plain_only)
        try:
            with tile_cache(scenes):
                return self._opened(scene_input, scenes, process)
        finally:
            for scene in scenes:
                scene.close()

    def _opened(
        self, scene_input: SceneInput, scenes: tuple[Scene, ...], process: tuple[int, int]
    ) -> SceneResult | None:
        config, name, out = self.config, scene_input.name, self.config.out
        window = config.window or _trained_window(config, self.model)
        grid = scene_grid(config, self.model, window, scenes[0])
        settings = _settings(config, self.facts, scene_input, grid)
        of_blocks = {field: value for field, value in settings.items() if field not in _OF_FILES}
        finished = partial(_finished, out, name, settings)
        if finished():
            self.say(f"{summary_path(out, name)} is there already: nothing to do")
            WorkFolder.clear(out, name, of_blocks)
            return None
        own = share_of_rank(len(grid), *process)
        if not own:
            return None
        if (complaint := scenes[0].half_placed) is not None:
            self.say(complaint)
        job = job_of(config, self.model, scenes, grid, self.say)
        try:
            work = WorkFolder.open(out, name, of_blocks, len(grid))
            self._do(job, work, own)
        except FileNotFoundError:
            if not finished():
                raise
            return None  # another process did, and the folder is gone
        if (left := len(grid) - len(work.done)) > 0 and not finished():
            self.say(f"{name}: {left} blocks are with other processes")
            return None
        with work.merging() as alone:
            if not alone or finished():
                return None
            result = write_scene(name, work, scenes, grid, self.model, config, settings)
        self.say(f"wrote {', '.join(map(str, result.files))}")
        return result

    def _do(self, job: Job, work: WorkFolder, own: range) -> None:
        missing = [number for number in own if not work.block(number).exists()]
        if len(missing) < len(own):
            self.say(f"going on: {len(own) - len(missing)} of {len(own)} blocks are done already")
        total = sum(job.grid.window_count(number) for number in missing)
        progress = Progress(self.say, "maps", total, "windows")

        def keep(number: int, result: BlockResult) -> None:
            result.save(work.block(number).path)

        def after_batch(seen: int, skipped: int) -> None:
            progress.add(seen + skipped, skipped=skipped)
            if self.on_windows is not None:
                self.on_windows(progress.done, total)

        look_at_blocks(job, missing, keep, after_batch)
        progress.tell()


def job_of(
    config: Predict, model: WindowModel, scenes: tuple[Scene, ...], grid: Grid, say: Say
) -> Job:
    """What is to be done with a scene; says so where its values are none that the model knows."""
    ranges = tuple(range_of(scene) for scene in scenes) if config.stretch else None
    for scene in () if config.stretch else scenes:
        if (complaint := doubt(scene, model.mean, model.std)) is not None:
            say(complaint)
    return Job(
        scenes=scenes,
        grid=grid,
        model=model,
        flips=(None, *config.flips),
        ranges=ranges,
        least_score=config.score,
        windows_at_once=config.windows_at_once,
    )


def open_dates(
    paths: tuple[str, ...], config: Predict, model: WindowModel, plain_only: bool = False
) -> tuple[Scene, ...]:
    """The scene at ``paths``, or both dates of it on the grid of the first."""
    bands = None if config.bands is None else [str(band) for band in config.bands]
    return on_one_grid(
        open_scene(path, channels=len(model.mean), bands=bands, plain_only=plain_only)
        for path in paths
    )


def on_one_grid(opened: Iterable[Scene]) -> tuple[Scene, ...]:
    """``opened``, each on the grid of the first; where one raises, those before it are closed."""
    scenes: list[Scene] = []
    try:
        for scene in opened:
            scenes.append(scene)
            scenes[-1] = scene.on_grid_of(scenes[0])
    except (ValueError, OSError):
        for scene in scenes:
            scene.close()
        raise
    return tuple(scenes)


def _trained_window(config: Predict, model: WindowModel) -> int:
    """The side of images in training, as the settings beside the checkpoint or itself say."""
    trained = trained_size_px(settings_of_training(Path(config.checkpoint)))
    return trained or model.image_size


def _model_facts(config: Predict, model: WindowModel) -> dict[str, Any]:
    return {
        "file": Path(config.checkpoint).name,
        "sha256": sha256_of(config.checkpoint),
        "source": model.source,
    }


def _settings(
    config: Predict, facts: dict[str, Any], scene_input: SceneInput, grid: Grid
) -> dict[str, Any]:
    """All that results depend on, as JSON holds it."""
    values = dataclasses.asdict(config)
    chosen = {name: value for name, value in values.items() if name not in _NOT_SETTINGS} | {
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
        found = json.loads(path.read_text(encoding="utf-8"))
        files = [out / file for file in found["files"]]
        return bool(found["settings"] == settings) and all(file.is_file() for file in files)
    except (ValueError, KeyError, TypeError):
        return False
