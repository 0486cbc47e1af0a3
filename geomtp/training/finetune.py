"""Fine-tuning: one encoder, one decoder, one data set."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from geomtp.data.dataset import StoreDataset
from geomtp.data.folders import source_name
from geomtp.data.train_transform import TrainTransform
from geomtp.data.transforms import EvalTransform, Transform
from geomtp.data.turning import Turning
from geomtp.encoders.presets import has_raw_levels
from geomtp.labels import LabelStore
from geomtp.model import ModelConfig, MultiTaskModel, build_model
from geomtp.training.adapters import add_adapters
from geomtp.training.configs import FineTune
from geomtp.training.decoder_reuse import TrainedDecoder
from geomtp.training.finetune_data import (
    build_fine_tune_store,
    check_masks,
    labelled_part,
    labelled_parts,
    open_fine_tune_store,
    train_share,
    with_objects,
)
from geomtp.training.light import in_one_light, matches_light
from geomtp.training.module import MultiTaskTraining
from geomtp.training.probe import probe
from geomtp.training.run import (
    MAY_DIFFER,
    RunData,
    RunResult,
    load_start_weights,
    silence_known_warnings,
    train,
)
from geomtp.training.run_data import model_config_of, training_view
from geomtp.training.run_folder import RunFolder, is_first_process
from geomtp.training.stores import Say

RAW_LEVELS = ("scene", "change")
"""Tasks whose decoders take the maps of a plain transformer as they are, all of one stride."""


def finetune(config: FineTune, say: Say = print) -> RunResult:
    """Train (or probe), validate and write the run folder ``config.out``.

    ``figures`` of what comes back are the scores.

    Raises ValueError, FileNotFoundError or OSError in one sentence for what the user can mend.
    """
    silence_known_warnings()
    folder = RunFolder(config.out)
    with folder.opened(config, resume=config.resume, may_differ=MAY_DIFFER):
        if is_first_process():
            build_fine_tune_store(config, folder, say)
        store = open_fine_tune_store(config, folder)
        data = _data(config, store, say)
        model = _model(config, store, say)
    if config.probe:
        return probe(config, folder, model, data, say)
    return train(MultiTaskTraining(model, config, folder.path), folder, data, say)


def _data(config: FineTune, store: LabelStore, say: Say) -> RunData:
    labelled = labelled_parts(store, config.train_splits, config.task)
    if config.task == "instance":
        check_masks(labelled)
    training = train_share(
        with_objects(labelled, config.task) if config.objects_only else labelled,
        fraction=config.train_fraction,
        limit=config.train_limit,
        seed=config.seed,
    )
    held_out = labelled_part(store, config.validation_split, config.task)
    say(f"trained on {len(training)} images, scored on {len(held_out)}")
    name = source_name(store.source)
    return RunData(
        training={name: _dataset(config, training, _view(config))},
        held_out={name: _dataset(config, held_out, EvalTransform(_held_out_px(config)))},
        shares={name: config.batch_size},
    )


def _model(config: FineTune, store: LabelStore, say: Say) -> MultiTaskModel:
    """The model to train, with the weights that it starts from."""
    torch.manual_seed(config.seed)
    model_config = fine_tune_model_config(config, store)
    if matches_light(config):
        model_config = in_one_light(model_config, config, store, say)
    decoder = None
    if config.reuse_decoder and config.weights is not None:
        decoder = TrainedDecoder.read(config.weights, config.task)
        model_config = decoder.widths_into(model_config)
    model = build_model(model_config)
    if not config.resume:  # the checkpoint brings all weights
        load_start_weights(model, config, say)
        if decoder is not None:
            say(str(decoder.load_into(model)))
    if config.lora_rank:
        count = add_adapters(model.encoder, config.lora_rank)
        say(f"low-rank adapters: {count:,} numbers of the encoder are trained")
    return model


def fine_tune_model_config(config: FineTune, store: LabelStore) -> ModelConfig:
    """What to build for a run on ``store``, of which classes, mean and std are asked."""
    name = source_name(store.source)
    own = model_config_of(config, {name: store}, {name: (config.task,)})
    options: dict[str, Any] = dict(own.encoder_options)
    if config.task in RAW_LEVELS and has_raw_levels(config.encoder):
        options["pyramid"] = False
    if not config.global_rel_pos and has_raw_levels(config.encoder):
        options["global_rel_pos"] = False
    return dataclasses.replace(own, encoder_options=options, detector=config.detector)


def _view(config: FineTune) -> TrainTransform:
    """How images are seen in training."""
    turning = Turning(config.turn_share, config.turn_degrees, config.square_classes)
    return dataclasses.replace(
        training_view(config),
        area_range=config.view_area,
        largest_class=config.largest_class,
        turning=turning if config.turn_share else None,
        cut_rboxes=config.cut_rboxes,
        rand_augment=config.rand_augment,
        erase_share=config.erase_share,
        exchange_dates=config.exchange_dates,
    )


def _held_out_px(config: FineTune) -> int | None:
    """The side that images are fitted into for validation; as in training by default."""
    if config.evaluation_size is not None or config.resize_relative_to == "image":
        return config.evaluation_size
    return config.image_size


def _dataset(config: FineTune, store: LabelStore, view: Transform) -> StoreDataset:
    return StoreDataset(
        store,
        view,
        (config.task,),
        seed=config.seed,
        skip_bad=config.skip_bad,
        mean=config.mean,
        std=config.std,
    )
