"""``geomtp finetune``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from geomtp.commands.status import INTERRUPTED


def finetune(words: Sequence[str]) -> int:
    """One task on a data set: scene, semantic, instance, horizontal, rotated or change."""
    tasks = ("scene", "semantic", "instance", "horizontal", "rotated", "change")
    parser = argparse.ArgumentParser(
        prog="geomtp finetune",
        description=finetune.__doc__,
        epilog="example: geomtp finetune scene --data my_photos --encoder tf_efficientnet_lite0 "
        "--weights imagenet --steps 500 --out runs/my_photos",
    )
    from geomtp.recipes.filling import fill, finetune_recipes, parser_of

    recipes = finetune_recipes()
    parser.add_argument("task", metavar="TASK|RECIPE", choices=(*tasks, *recipes))
    if not words or words[0] not in (*tasks, *recipes, "-h", "--help"):
        parser.parse_args(list(words))
    from geomtp.training.configs import FineTune

    if {"-h", "--help"} & set(words):
        parser_of(FineTune, "geomtp finetune TASK|RECIPE").print_help()
        print(f"\n{parser.epilog}\nrecipes: {', '.join(recipes)}")
        return 0
    program = f"geomtp finetune {words[0]}"
    first = "config" if words[0] in recipes else "task"
    if first == "config" and any(word.partition("=")[0] == "--config" for word in words):
        raise ValueError(
            f"{words[0]} is a recipe, and so is what --config names: give the task in its place, "
            f"`geomtp finetune TASK --config FILE`"
        )
    config = fill(FineTune, [*words[1:], f"--{first}={words[0]}"], program)
    from geomtp.training.finetune import finetune as run
    from geomtp.training.run import story_of

    result = run(config)
    print(story_of(result, f"geomtp finetune {config.task}"))
    return INTERRUPTED if result.stopped else 0
