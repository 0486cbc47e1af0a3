"""Labelling the images of one shard, the same whoever does it and whenever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from geomtp.labels.annotations import Annotations
from geomtp.labels.engine.generate_config import GenerateLabels
from geomtp.labels.engine.plan import Plan, shard_file, split_of, work_of_shard
from geomtp.labels.engine.shards import write_shard
from geomtp.labels.read_notes import ReadNotes
from geomtp.labels.segmenters.by_name import create_segmenter
from geomtp.labels.segmenters.segmenter import Segmenter
from geomtp.labels.store.building import Making, labels_of
from geomtp.labels.store.image_labels import ImageLabels
from geomtp.labels.tiles.tiling import Tiling, cut
from geomtp.rasters import raster_info, read_window

_HELD_BYTES = 256 * 2**20
_AS_ANNOTATED = ("box", "polygon")
"""Segmenters that look at no pixel, and whose masks leave nothing to check."""


class ShardLabeller:
    """Labels shards of a planned run: ``labeller.label(number, on_image)``."""

    def __init__(self, config: GenerateLabels, plan: Plan, process: int) -> None:
        """Load the segmenter; the GPUs are taken in turn by the number of the ``process``."""
        self._config, self._plan = config, plan
        self._info = plan.info(config)
        self._validation = frozenset(plan.validation)
        self._segmenter = _segmenter(config, process)
        looks = config.segmenter not in _AS_ANNOTATED
        self._making = Making(check=config.check and looks, keep_raw=config.keep_raw)
        self._tiling = _tiling(config)

    def label(self, number: int, on_image: Callable[[int], None]) -> None:
        """Write the labels of a shard; ``on_image`` is told the instances of each image.

        An image that cannot be read is left out, and noted in the shard. Raises OSError when the
        shard cannot be written, ValueError for objects that the segmenter cannot use.
        """
        rows: list[ImageLabels] = []
        bad: list[tuple[str, str]] = []
        notes = ReadNotes(self._config.strict)
        for work in work_of_shard(self._config.out, number):
            image = self._config.images / work.image
            try:
                made = self._rows(work, image, notes)
            except OSError as error:
                if damage_of(image) is None:
                    raise  # something else is the matter: a full disk, say
                bad.append((work.image, " ".join(str(error).split())))
                made = []
            rows += made
            on_image(sum(len(row.box_labels) for row in made if row.box_labels is not None))
        write_shard(shard_file(self._config.out, number), rows, len(self._plan.classes), notes, bad)

    def _rows(self, annotations: Annotations, image: Path, notes: ReadNotes) -> list[ImageLabels]:
        """The rows of an image, or of its tiles."""
        split = split_of(annotations.image, self._config, self._validation)
        pieces = [annotations]
        if self._tiling is not None:
            pieces = cut(annotations, image, self._tiling, self._info.image_root, notes)
        elif self._config.segmenter in _AS_ANNOTATED or not annotations.objects:
            damage = damage_of(image)  # nobody else would notice
            if damage is not None:
                raise OSError(damage)
        return [
            labels_of(piece, self._segmenter, self._info, split, notes, self._making)
            for piece in pieces
        ]


def damage_of(image: Path) -> str | None:
    """Why an image cannot be read to its end; None for a good one.

    Large images are read in strips of full rows.
    """
    try:
        info = raster_info(image)
        height, width = info.size_hw
        row_bytes = width * info.bands * np.dtype(info.dtype).itemsize
        step = max(1, _HELD_BYTES // row_bytes)
        for y in range(0, height, step):
            read_window(image, (0, y, width, min(y + step, height)))
    except OSError as error:
        return str(error)
    return None


def check_settings(config: GenerateLabels) -> None:
    """Raise ValueError or FileNotFoundError for tiles or a segmenter that cannot be had.

    Says it at once, before annotations are read; the weights of "sam" are not loaded.
    """
    _tiling(config)
    if config.segmenter != "sam" or config.weights is None:
        _segmenter(config, process=0)
    elif not (config.online or config.weights.is_dir()):
        raise FileNotFoundError(f"{config.weights} is no folder: expected the weights of sam")


def _tiling(config: GenerateLabels) -> Tiling | None:
    if config.tile_px is None:
        return None
    return Tiling(config.tile_px, config.tile_gap_px, config.tile_rates, config.minimum_kept)


def _segmenter(config: GenerateLabels, process: int) -> Segmenter:
    return create_segmenter(
        config.segmenter,
        weights=config.weights,
        prompt=config.prompt,
        device=config.device,
        process=process,
        boxes_per_batch=config.boxes_per_batch,
        zoom_below_px=config.zoom_below_px,
        online=config.online,
    )
