"""Pairs whose dates differ in light: how far, measured before training."""

from __future__ import annotations

import dataclasses

from geomtp.data.folders import source_name
from geomtp.decoders.light import Light
from geomtp.labels import LabelStore
from geomtp.labels.channel_statistics import measure_mean_std
from geomtp.labels.hash_order import hash_order
from geomtp.model import ModelConfig
from geomtp.training.configs import FineTune
from geomtp.training.finetune_data import labelled_parts
from geomtp.training.stores import Say

_MOST_PAIRS = 100


def matches_light(config: FineTune) -> bool:
    """Whether the second date is brought to the light of the first."""
    if config.match_light is None:
        return config.task == "change" and not config.exchange_dates
    return config.match_light


def in_one_light(
    model: ModelConfig, config: FineTune, store: LabelStore, say: Say = print
) -> ModelConfig:
    """``model`` with the light between the dates of the training pairs of ``store``; told too."""
    pairs = labelled_parts(store, config.train_splits, config.task)
    after = {row.image: row.image_after for row in pairs if row.image_after is not None}
    first = hash_order(after)[:_MOST_PAIRS]  # the same places of both dates
    light = Light.between(
        measure_mean_std(store.image_root, first, model.in_channels),
        measure_mean_std(store.image_root, [after[name] for name in first], model.in_channels),
    )
    say(f"second date in the light of the first (--match-light false: as it is): {light}")
    name = source_name(store.source)
    about = dataclasses.replace(model.sources[name], light=light)
    return dataclasses.replace(model, sources={**model.sources, name: about})
