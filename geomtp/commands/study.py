"""``geomtp study``: a verb for each study."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence

from geomtp.commands.status import INTERRUPTED


def study(words: Sequence[str]) -> int:
    """Studies of many runs: `stages`, does staged pretraining pay?"""
    parser = argparse.ArgumentParser(
        prog="geomtp study",
        description=study.__doc__,
        epilog="example: geomtp study stages --config study_small --data DATA --out studies/small",
    )
    parser.add_argument("study", choices=STUDY_VERBS)
    if not words or words[0] not in STUDY_VERBS:
        parser.parse_args(list(words))
    return STUDY_VERBS[words[0]](words[1:])


def study_stages(words: Sequence[str]) -> int:
    """Encoders prepared in stages, fine-tuned on shares of the labels, compared."""
    from geomtp.recipes.filling import fill_or_help
    from geomtp.study.settings import StudyStages

    program = "geomtp study stages"
    example = f"example: {program} --config study_small --data DATA --out studies/small"
    config = fill_or_help(StudyStages, words, program, example)
    if config is None:
        return 0
    from geomtp.study.alone import leave_launcher

    leave_launcher()  # before Lightning is imported, which counts processes
    from geomtp.study import stages

    result = stages.study_stages(config)
    print(stages.story_of(result, f"{program} {' '.join(words)}"))
    return INTERRUPTED if result.stopped else 0


STUDY_VERBS: dict[str, Callable[[Sequence[str]], int]] = {"stages": study_stages}
