"""Looking at the windows of blocks: reading ahead, the model, and what becomes of it behind."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import rasterio
import torch
from torch import Tensor

from geomtp.inference.objects.found_instances import FoundInstances, instances_in_window
from geomtp.inference.objects.found_objects import BOX_COLUMNS, FoundObjects, found_in_window
from geomtp.inference.predict_config import Flip
from geomtp.inference.windows.blocks import Grid, Window
from geomtp.inference.windows.mirroring import flipped_pixels, unflipped
from geomtp.inference.windows.threads import Behind, read_ahead
from geomtp.inference.windows.value_ranges import ValueRange
from geomtp.inference.windows.window_model import WindowModel
from geomtp.inference.work.blending import BlockSums
from geomtp.inference.work.block_results import BlockResult
from geomtp.rasters import Scene, ScenePixels
from geomtp.types import MAP_TASKS, Predictions

_BATCHES_WAITING = 2

_CACHE_BYTES = 64 * 2**20
_CACHE_BYTES_OF_ROWS = 256 * 2**20


def tile_cache(scenes: Sequence[Scene]) -> rasterio.Env:
    """How much GDAL keeps of what it read, for a ``with``; else it is a share of all memory.

    Neighbouring blocks share few tiles, but all rows of a file that is not tiled.
    """
    in_rows = any(scene.in_rows for scene in scenes)
    return rasterio.Env(  # type: ignore[no-untyped-call]
        GDAL_CACHEMAX=_CACHE_BYTES_OF_ROWS if in_rows else _CACHE_BYTES
    )


@dataclass(frozen=True)
class Job:
    """What is looked at, and how.

    - scenes: one, or the two dates of a change, on one grid
    - flips: mirrored views of each window, None for the plain one
    - ranges: of values that are stretched to 0…255, by scene; None: values as they are
    - least_score: of objects
    - windows_at_once: that go through the model together
    """

    scenes: tuple[Scene, ...]
    grid: Grid
    model: WindowModel
    flips: tuple[Flip | None, ...] = (None,)
    ranges: tuple[ValueRange, ...] | None = None
    least_score: float = 0.0
    windows_at_once: int = 4


@dataclass(frozen=True)
class _View:
    """One view of one window, normalised: (C, h, w) per date."""

    block: int
    window: Window
    flip: Flip | None
    images: tuple[Tensor, ...]


@dataclass(frozen=True)
class _Ready:
    """A block all of whose windows have been handed over."""

    block: int
    valid: np.ndarray
    windows: int
    skipped: int


@dataclass
class _Open:
    """A block whose windows are being seen."""

    block: int
    began: float
    maps: dict[str, BlockSums] = field(default_factory=dict)
    objects: dict[str, list[FoundObjects]] = field(default_factory=dict)
    instances: list[FoundInstances] = field(default_factory=list)
    scene_sum: list[np.ndarray] = field(default_factory=list)


def look_at_blocks(
    job: Job,
    blocks: Iterable[int],
    keep: Callable[[int, BlockResult], None],
    after_batch: Callable[[int, int], None],
) -> None:
    """Look at ``blocks``, in their order, and call ``keep`` with each that is done.

    ``keep`` is called in another thread; ``after_batch`` in this one, with the number of windows
    that were looked at since, and of those that were left out.

    Raises what reading, the model or ``keep`` raises; blocks that were kept by then are whole.
    """
    collector = _Collector(job, keep)
    batches = read_ahead(_batches(job, blocks), _BATCHES_WAITING)
    with Behind(collector.take, _BATCHES_WAITING) as behind:
        try:
            for batch in batches:
                if isinstance(batch, _Ready):
                    behind.put(batch)
                    after_batch(0, batch.skipped)
                else:
                    behind.put(_seen(job.model, batch))
                    after_batch(sum(view.flip is None for view in batch), 0)
        finally:
            batches.close()  # type: ignore[attr-defined]


def _batches(job: Job, blocks: Iterable[int]) -> Iterator[list[_View] | _Ready]:
    """The views of all blocks in batches of one size, and each block after its last view."""
    waiting: list[_View] = []
    for block in blocks:
        windows = skipped = 0
        for window in job.grid.windows(block):
            views = _views(job, block, window)
            if not views:
                skipped += 1
                continue
            windows += 1
            for view in views:
                if waiting and waiting[0].images[0].shape != view.images[0].shape:
                    yield waiting
                    waiting = []
                waiting.append(view)
                if len(waiting) == job.windows_at_once:
                    yield waiting
                    waiting = []
        # Windows of the next block may fill the last batch, but a finished block is worth more.
        if waiting:
            yield waiting
            waiting = []
        yield _Ready(block, _valid_pixels(job, block), windows, skipped)


def _views(job: Job, block: int, window: Window) -> list[_View]:
    """All views of a window; none where any of its dates has no value in all of it."""
    factor = job.grid.looks[window.look][0].factor
    parts = [scene.read(window.origin_xy, window.size_hw, factor) for scene in job.scenes]
    if not np.logical_and.reduce([part.valid for part in parts]).any():
        return []
    ranges = job.ranges or (None,) * len(parts)
    images = [_normalised(p, r, job.model) for p, r in zip(parts, ranges, strict=True)]
    return [
        _View(block, window, flip, tuple(flipped_pixels(image, flip) for image in images))
        for flip in job.flips
    ]


def _normalised(pixels: ScenePixels, stretch: ValueRange | None, model: WindowModel) -> Tensor:
    """(C, h, w) float32 as the model was trained; 0, the mean, where a band has no value."""
    mean, std = (np.array(part, np.float32)[:, None, None] for part in (model.mean, model.std))
    raw = pixels.values if stretch is None else stretch.stretched(pixels.values)
    values = (raw - mean) / std
    values[~pixels.known] = 0
    return torch.from_numpy(values)


def _valid_pixels(job: Job, block: int) -> np.ndarray:
    x1, y1, x2, y2 = job.grid.block_xyxy(block)
    parts = [scene.valid_pixels((x1, y1), (y2 - y1, x2 - x1)) for scene in job.scenes]
    return np.asarray(np.logical_and.reduce(parts))


def _seen(model: WindowModel, views: list[_View]) -> list[tuple[_View, Predictions]]:
    dates = [torch.stack(images) for images in zip(*(v.images for v in views), strict=True)]
    found = model(dates[0], dates[1] if len(dates) > 1 else None)
    return [
        (view, _as_probabilities(unflipped(part, view.flip, view.window.size_hw)))
        for view, part in zip(views, found, strict=True)
    ]


def _as_probabilities(found: Predictions) -> Predictions:
    """Maps of logits made maps of probabilities, everything on the CPU."""
    changes = {
        name: getattr(found, name).float().softmax(dim=0)
        for name in ("semantic_logits", "change_logits")
        if getattr(found, name) is not None
    }
    return dataclasses.replace(found, **changes).to("cpu")


class _Collector:
    """Adds up what is said of views, and gives away each block when it is done."""

    def __init__(self, job: Job, keep: Callable[[int, BlockResult], None]) -> None:
        self._job, self._keep = job, keep
        self._open: _Open | None = None

    def take(self, item: Sequence[tuple[_View, Predictions]] | _Ready) -> None:
        """The next views, or the end of a block."""
        if isinstance(item, _Ready):
            self._keep(item.block, self._result(item))
            self._open = None
            return
        for view, found in item:
            self._add(view, found)

    def _block(self, block: int) -> _Open:
        if self._open is None:
            self._open = _Open(block, time.monotonic())
        assert self._open.block == block
        return self._open

    def _add(self, view: _View, found: Predictions) -> None:
        job, current = self._job, self._block(view.block)
        share = 1 / (len(job.flips) * len(job.grid.looks))
        axis = job.grid.looks[view.window.look][0]
        for task in job.model.tasks:
            if task in MAP_TASKS:
                values = getattr(found, f"{task}_logits")
                sums = current.maps.setdefault(task, BlockSums(job.grid, view.block))
                sums.add(values, view.window, share)
            elif task == "instance":
                current.instances.append(
                    instances_in_window(found, view.window, axis.factor, axis.ramp, job.least_score)
                )
            elif task in BOX_COLUMNS:
                current.objects.setdefault(task, []).append(
                    found_in_window(
                        found, task, view.window, axis.factor, axis.ramp, job.least_score
                    )
                )
            elif task == "scene":
                current.scene_sum.append(found.scene_scores.double().numpy())

    def _result(self, ready: _Ready) -> BlockResult:
        job, current = self._job, self._block(ready.block)
        maps = {
            task: current.maps.get(task, BlockSums(job.grid, ready.block)).map()
            for task in job.model.tasks
            if task in MAP_TASKS
        }
        objects: dict[str, FoundObjects | FoundInstances] = {
            task: FoundObjects.joined(current.objects.get(task, []), BOX_COLUMNS[task])
            for task in job.model.tasks
            if task in BOX_COLUMNS
        }
        if "instance" in job.model.tasks:
            objects["instance"] = FoundInstances.joined(current.instances)
        return BlockResult(
            valid=ready.valid,
            maps=maps,
            objects=objects,
            scene_sum=np.sum(current.scene_sum, axis=0) if current.scene_sum else np.zeros(0),
            windows=ready.windows,
            skipped=ready.skipped,
            seconds=time.monotonic() - current.began,
        )
