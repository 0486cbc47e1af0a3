"""``geomtp study``: a verb for each study."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from geomtp.commands.status import INTERRUPTED
from geomtp.commands.verbs import Verb, call_verb


def study(words: Sequence[str]) -> int:
    """Studies of many runs: `stages`, does staged pretraining pay?"""
    example = "example: geomtp study stages --config study_small --data DATA --out studies/small"
    return call_verb(words, "geomtp study", STUDY_VERBS, study.__doc__, example)


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
    print(stages.story_of(result, f"{program} {shlex.join(words)}"))
    return INTERRUPTED if result.stopped else int(result.failed > 0)


STUDY_VERBS: dict[str, Verb] = {"stages": study_stages}
