"""``geomtp pretrain``: a verb for each stage."""

from __future__ import annotations

from collections.abc import Sequence

from geomtp.commands.status import INTERRUPTED
from geomtp.commands.verbs import Verb, call_verb


def pretrain(words: Sequence[str]) -> int:
    """Pretraining: `mae`, masked autoencoding of images without labels; `mtp`, multi-task."""
    example = "example: geomtp pretrain mtp --config real_small --data DATA --out runs/first"
    return call_verb(words, "geomtp pretrain", PRETRAIN_VERBS, pretrain.__doc__, example)


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


PRETRAIN_VERBS: dict[str, Verb] = {
    "mae": pretrain_mae,
    "mtp": pretrain_mtp,
}
