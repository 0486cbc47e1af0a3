"""What a study of stages is made of, as typed dataclasses. Recipes and flags fill them.

Nothing heavy is imported here: the command line reads these classes to answer ``--help``.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from geomtp.training.configs import Task


@dataclass(frozen=True)
class Stage:
    """Something that happens to an encoder before it is fine-tuned.

    Args:
        kind: masked autoencoding (mae) or multi-task pretraining (mtp) by this study, or weights
            from elsewhere.
        settings: of `geomtp pretrain mae` or `geomtp pretrain mtp`; folders of images are named
            relative to the study's data.
        recipe: a recipe that these settings change.
        like: another stage whose settings these change.
        file: of weights from elsewhere: "imagenet", or a file.
    """

    kind: Literal["mae", "mtp", "weights"]
    settings: dict[str, Any] = field(default_factory=dict)
    recipe: str | None = None
    like: str | None = None
    file: str = "imagenet"


@dataclass(frozen=True)
class Transfer:
    """A task to fine-tune on, on images that pretraining does not see.

    Args:
        task: what is learned.
        data: folder below the study's data, or the name of embedded scenes; by default the name of
            this entry.
        source: name of a known data set, whose layout the folder has; by default the folder's name
            if there is one of that name, else the layout is recognised.
        figure: the score that is compared; by default the task's own.
        settings: of `geomtp finetune`.
    """

    task: Task
    data: str | None = None
    source: str | None = None
    figure: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ladder:
    """An encoder, and the ways in which it is prepared that are compared.

    Args:
        encoder: its name.
        rungs: by name, the stages that come one after the other; none for random weights.
        every_run: settings of all runs of this ladder.
        runs: settings of single stages and transfers in this ladder, by their names.
    """

    encoder: str
    rungs: dict[str, tuple[str, ...]]
    every_run: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StudyStages:
    """Does staged pretraining pay? Encoders prepared in stages, fine-tuned on shares of the labels.

    Args:
        ladders: the encoders by name, each with the rungs that are compared.
        stages: the stages of pretraining, by name.
        transfers: the tasks to fine-tune on, by name.
        data: folder with a folder per data set; embedded scenes need none.
        out: folder of the study. Several processes may work on one study at once.
        fractions: shares of the training labels that fine-tuning gets.
        seeds: of fine-tuning: its share of the labels, new layers, order and views.
        pretraining_seeds: of pretraining; fine-tuning with seed s starts from the s-th of these,
            and from the first one again after the last.
        every_run: settings of all runs that have them.
        use_ladders: only these ladders.
        use_rungs: only these rungs.
        use_transfers: only these transfers.
        keep_models: keep the fine-tuned models too, not just their scores.
        retry_failed: try runs again that failed before.
        report_only: run nothing; write table and report of what is there.
    """

    ladders: dict[str, Ladder]
    stages: dict[str, Stage]
    transfers: dict[str, Transfer]
    data: Path | None = None
    out: Path = Path("runs/study")
    fractions: tuple[float, ...] = (0.1, 0.5, 1.0)
    seeds: tuple[int, ...] = (1, 2, 3)
    pretraining_seeds: tuple[int, ...] = (1,)
    every_run: dict[str, Any] = field(default_factory=dict)
    use_ladders: tuple[str, ...] | None = None
    use_rungs: tuple[str, ...] | None = None
    use_transfers: tuple[str, ...] | None = None
    keep_models: bool = False
    retry_failed: bool = False
    report_only: bool = False

    def __post_init__(self) -> None:
        for name in ("fractions", "seeds", "pretraining_seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name}: at least one, each once, found {list(values)}")
        if wrong := [f for f in self.fractions if not (math.isfinite(f) and 0 < f <= 1)]:
            raise ValueError(f"fractions lie above 0 and up to 1, found {wrong[0]}")
        for name in ("ladders", "stages", "transfers"):
            wrong_names = [n for n in getattr(self, name) if not n.replace("_", "a").isalnum()]
            if wrong_names:
                raise ValueError(
                    f"{name}: names of letters, digits and _, found {wrong_names[0]!r}"
                )
        rungs = [rung for ladder in self.ladders.values() for rung in ladder.rungs]
        _known(self.use_ladders or (), self.ladders, "ladder")
        _known(self.use_rungs or (), rungs, "rung")
        _known(self.use_transfers or (), self.transfers, "transfer")
        for ladder in self.ladders.values():
            _known((s for rung in ladder.rungs.values() for s in rung), self.stages, "stage")
            _known(ladder.runs, [*self.stages, *self.transfers], "stage or transfer")
        _known((s.like for s in self.stages.values() if s.like), self.stages, "stage")
        self._check_stages()
        if not self.chosen_ladders() or not self.chosen_transfers():
            raise ValueError("a study needs at least one ladder with a rung, and one transfer")

    def _check_stages(self) -> None:
        """Raise ValueError where something that is said of a stage could not count."""
        for name, stage in self.stages.items():
            if stage.kind == "weights" and (stage.settings or stage.recipe or stage.like):
                raise ValueError(f"stage {name!r} is weights from elsewhere: say their file alone")
            if stage.like and self.stages[stage.like].kind != stage.kind:
                raise ValueError(
                    f"stage {name!r} is {stage.kind}: it cannot be like {stage.like!r}, which is "
                    f"{self.stages[stage.like].kind}"
                )
        for ladder, rungs in self.chosen_ladders().items():
            for rung, stages in rungs.items():
                if late := [s for s in stages[1:] if self.stages[s].kind == "weights"]:
                    raise ValueError(
                        f"rung {rung!r} of ladder {ladder!r}: weights from elsewhere ({late[0]}) "
                        f"take the place of all stages before them, let them come first"
                    )

    def chosen_ladders(self) -> dict[str, dict[str, tuple[str, ...]]]:
        """The ladders to run, each with its rungs."""
        found = {}
        for name, ladder in self.ladders.items():
            if self.use_ladders is None or name in self.use_ladders:
                found[name] = {
                    rung: stages
                    for rung, stages in ladder.rungs.items()
                    if self.use_rungs is None or rung in self.use_rungs
                }
        return {name: rungs for name, rungs in found.items() if rungs}

    def chosen_transfers(self) -> list[str]:
        """The transfers to run."""
        return [n for n in self.transfers if self.use_transfers is None or n in self.use_transfers]

    def pretraining_seed(self, seed: int) -> int:
        """The seed of the pretraining that the fine-tuning with ``seed`` starts from."""
        return self.pretraining_seeds[(seed - 1) % len(self.pretraining_seeds)]

    def general_settings(self, ladder: str) -> dict[str, Any]:
        """What is said of all runs of a ladder; each run takes what it has a field for."""
        return {**self.every_run, **self.ladders[ladder].every_run}

    def stage_settings(self, ladder: str, stage: str) -> dict[str, Any]:
        """What is said of a stage in a ladder, the most special last."""
        return {**self._stage_settings(stage, ()), **self.ladders[ladder].runs.get(stage, {})}

    def transfer_settings(self, ladder: str, transfer: str) -> dict[str, Any]:
        """What is said of a transfer in a ladder, the most special last."""
        return {
            **self.transfers[transfer].settings,
            **self.ladders[ladder].runs.get(transfer, {}),
        }

    def recipe_of(self, stage: str) -> str | None:
        """The recipe that a stage changes: its own, or that of the stage that it is like."""
        own = self.stages[stage]
        if own.recipe is None and own.like is not None:
            return self.recipe_of(own.like)
        return own.recipe

    def _stage_settings(self, stage: str, above: tuple[str, ...]) -> dict[str, Any]:
        own = self.stages[stage]
        if stage in above:
            raise ValueError(f"stages are like each other in a circle: {', '.join(above)}")
        base = self._stage_settings(own.like, (*above, stage)) if own.like else {}
        return {**base, **own.settings}


def _known(names: Iterable[str], known: Iterable[str] | Mapping[str, object], what: str) -> None:
    """Raise ValueError for a name that is not there, with the nearest one."""
    there = list(dict.fromkeys(known))
    for name in names:
        if name not in there:
            near = difflib.get_close_matches(name, there, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(there)}"
            raise ValueError(f"unknown {what} {name!r}; {hint}")
