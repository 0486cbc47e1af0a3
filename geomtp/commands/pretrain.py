"""``geomtp pretrain``: a verb for each stage."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from geomtp.commands.status import INTERRUPTED


def pretrain(words: Sequence[str]) -> int:
    """Pretraining: `mae`, masked autoencoding of images without labels; `mtp`, multi-task."""
    parser = argparse.ArgumentParser(
        prog="geomtp pretrain",
        description=pretrain.__doc__,
        epilog="example: geomtp pretrain mtp --config real_small --data DATA --out runs/first",
    )
    parser.add_argument("stage", choices=PRETRAIN_VERBS)
    if not words or words[0] not in PRETRAIN_VERBS:
        parser.parse_args(list(words))
    return PRETRAIN_VERBS[words[0]](words[1:])


def pretrain_mae(words: Sequence[str]) -> int:
    """Masked autoencoding of images without labels."""
    from geomtp.recipes.filling import fill_or_help
    from geomtp.training.mae_config import PretrainMAE

    example = "example: geomtp pretrain mae --config mae_small --data IMAGES --out runs/mae"
    config = fill_or_help(PretrainMAE, words, "geomtp pretrain mae", example)
    if config is None:
        return 0
    from geomtp.training import mae

    result = mae.pretrain_mae(config)
    print(mae.story_of(result))
    return INTERRUPTED if result.stopped else 0


def pretrain_mtp(words: Sequence[str]) -> int:
    """Multi-task pretraining on labelled sources."""
    from geomtp.recipes.filling import fill_or_help
    from geomtp.training.configs import PretrainMTP

    program = "geomtp pretrain mtp"
    example = f"example: {program} --config real_small --data DATA --out runs/first"
    config = fill_or_help(PretrainMTP, words, program, example)
    if config is None:
        return 0
    from geomtp.training import mtp
    from geomtp.training.run import story_of

    result = mtp.pretrain_mtp(config)
    print(story_of(result, program))
    return INTERRUPTED if result.stopped else 0


PRETRAIN_VERBS: dict[str, Callable[[Sequence[str]], int]] = {
    "mae": pretrain_mae,
    "mtp": pretrain_mtp,
}
