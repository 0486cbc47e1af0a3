"""Multi-task pretraining: from a configuration to a folder with a trained encoder."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping

import torch

from geomtp.data.dataset import StoreDataset
from geomtp.data.mixing import batch_shares
from geomtp.labels import DoubtRule, LabelStore
from geomtp.model import ModelConfig, build_model
from geomtp.training.balance import UncertaintyBalance
from geomtp.training.configs import PretrainMTP
from geomtp.training.conflicts import ConflictLog
from geomtp.training.finetune_data import is_labelled
from geomtp.training.module import MultiTaskTraining
from geomtp.training.run import (
    MAY_DIFFER,
    RunData,
    RunResult,
    load_start_weights,
    silence_known_warnings,
    train,
)
from geomtp.training.run_data import (
    further_steps,
    held_out_view,
    model_config_of,
    training_view,
)
from geomtp.training.run_folder import RunFolder, is_first_process
from geomtp.training.stores import Say, build_stores, open_stores, wait_for_stores


def pretrain_mtp(config: PretrainMTP, say: Say = print) -> RunResult:
    """Train, validate and write the run folder ``config.out``.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    silence_known_warnings()
    folder = RunFolder(config.out)
    names = list(config.sources)
    with folder.opened(config, resume=config.resume, may_differ=MAY_DIFFER):
        if is_first_process():
            build_stores(names, config.data, folder.stores, strict=config.strict, say=say)
        else:
            wait_for_stores(names, config.data, folder.stores)
        stores = open_stores(names, config.data, folder.stores)
        torch.manual_seed(config.seed)
        model = build_model(_model_config(config, stores))
        if not config.resume:
            load_start_weights(model, config, say)
        data = _data(config, stores)
    if not data.held_out and is_first_process():
        say(f"no source has images in its {config.validation_split!r} split: nothing is validated")
    balance = UncertaintyBalance.of(model) if config.balance == "uncertainty" else None
    also = [_conflict_log(config, data, folder)] if config.conflicts_every else []
    return train(MultiTaskTraining(model, config, folder.path, balance), folder, data, say, also)


def _conflict_log(config: PretrainMTP, data: RunData, folder: RunFolder) -> ConflictLog:
    """Measures conflicts on views that are drawn apart from those of the training."""
    steps = further_steps(config, data.training, data.shares, config.conflict_batches)
    return ConflictLog(steps, folder, config.conflicts_every, config.seed)


def _data(config: PretrainMTP, stores: Mapping[str, LabelStore]) -> RunData:
    training = datasets(config, stores, "train", training=True)
    _check_tasks(config, training)
    sizes = {name: len(dataset) for name, dataset in training.items()}
    weights = {name: source.weight for name, source in config.sources.items()}
    mixing = config.mixing
    return RunData(
        training=training,
        held_out=datasets(config, stores, config.validation_split, training=False),
        shares=batch_shares(
            sizes, config.batch_size, mixing, weights if mixing == "weights" else None
        ),
        reference_label_padding=config.reference_label_padding,
    )


def _check_tasks(config: PretrainMTP, training: Mapping[str, StoreDataset]) -> None:
    """Raise ValueError for a task that no image of any source is labelled for."""
    for task in config.tasks:
        sources = [name for name in training if task in config.tasks_of(name)]
        rows = (row for name in sources for row in training[name].store)
        if sources and not any(is_labelled(row, task) for row in rows):
            raise ValueError(
                f"no training image of {', '.join(sources)} is labelled for {task!r}: leave it out "
                f"of tasks"
            )


def _model_config(config: PretrainMTP, stores: Mapping[str, LabelStore]) -> ModelConfig:
    tasks = {name: config.tasks_of(name) for name in stores}
    return dataclasses.replace(
        model_config_of(config, stores, tasks),
        reference_box_targets=config.reference_box_targets,
        reference_statistics=config.reference_statistics,
        reference_initialisation=config.reference_initialisation,
    )


def datasets(
    config: PretrainMTP, stores: Mapping[str, LabelStore], split: str, *, training: bool
) -> dict[str, StoreDataset]:
    """The images of one split of each source, as training views or whole; empty sources left out.

    Raises ValueError when a source that is to be trained has no image.
    """
    view = dataclasses.replace(
        training_view(config),
        reference_filtering=config.reference_filtering,
        reference_photometric=config.reference_photometric,
    )
    found = {}
    for name, store in stores.items():
        source, part = config.sources[name], store.subset(split)
        if len(part) == 0:
            if training:
                raise ValueError(
                    f"{name} has no images in its {split!r} split: nothing to train on"
                )
            continue
        found[name] = StoreDataset(
            part,
            dataclasses.replace(view, cut_rboxes=source.cut_rboxes)
            if training
            else held_out_view(config),
            config.tasks_of(name),
            seed=config.seed + zlib.crc32(name.encode()),
            skip_bad=config.skip_bad,
            mean=config.mean,
            std=config.std,
            doubt=DoubtRule(source.least_score, source.without_flags) if training else DoubtRule(),
        )
    return found
