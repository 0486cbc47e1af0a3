"""The images of a masked autoencoding run: indexed once in its folder, then only looked up."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from geomtp.checkpoints import replacing
from geomtp.data.image_index import ImageIndex, build_index, roots_of
from geomtp.data.unlabelled import RandomView, UnlabelledDataset, measure_statistics
from geomtp.training.mae_config import PretrainMAE
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import LONGEST_WAIT_S, Say, wait_for_file

_TRAINING, _HELD_OUT, _READY = "training", "held_out", "statistics.json"


def prepare_images(config: PretrainMAE, folder: RunFolder, say: Say) -> None:
    """Index the images and measure their mean and deviation, unless that was done before.

    Raises FileNotFoundError or ValueError in one sentence for data that cannot be used.
    """
    place = folder.images
    if (place / _READY).is_file():
        return
    for name, sources in ((_TRAINING, config.data), (_HELD_OUT, config.validation_data)):
        if sources:
            index = build_index(sources, place / name)
            say(f"{len(index)} images {name.replace('_', ' ')}: {_named(sources)}")
    mean, std = config.mean, config.std
    if mean is None or std is None:
        mean, std = measure_statistics(
            ImageIndex(place / _TRAINING), config.in_channels, skip_bad=config.skip_bad
        )
        say(f"measured: mean {_numbers(mean)}, standard deviation {_numbers(std)}")
    with replacing(place / _READY) as part:
        part.write_text(json.dumps({"mean": mean, "std": std}) + "\n", encoding="utf-8")


def wait_for_images(folder: RunFolder) -> None:
    """Return when the first process, perhaps on another machine, has prepared the images.

    Raises FileNotFoundError when they are still missing after an hour.
    """
    end = time.monotonic() + LONGEST_WAIT_S
    missing = f"the first process did not prepare {folder.images}"
    wait_for_file(folder.images / _READY, end, missing)


def open_images(
    config: PretrainMAE, folder: RunFolder
) -> tuple[UnlabelledDataset, UnlabelledDataset | None]:
    """The images to train on and those held out, of a run whose images are prepared.

    The data may have moved since: paths are looked up where ``config`` says that it lies now.
    """
    statistics = json.loads((folder.images / _READY).read_text("utf-8"))
    view = RandomView(config.image_size, config.crop_area, config.crop_side_px)

    def dataset(name: str, sources: Sequence[Path]) -> UnlabelledDataset:
        return UnlabelledDataset(
            ImageIndex(folder.images / name, roots_of(sources)),
            view,
            mean=tuple(statistics["mean"]),
            std=tuple(statistics["std"]),
            seed=config.seed,
            skip_bad=config.skip_bad,
        )

    held_out = dataset(_HELD_OUT, config.validation_data) if config.validation_data else None
    return dataset(_TRAINING, config.data), held_out


def _named(sources: Sequence[Path]) -> str:
    shown = ", ".join(str(source) for source in sources[:3])
    return shown + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)
