"""The runs that a study consists of, with their settings, checked before the first one begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from geomtp.recipes.filling import fill_values
from geomtp.study.settings import StudyStages
from geomtp.study.stores import DataSet, StudyData, is_known
from geomtp.training.configs import FineTune, PretrainMTP
from geomtp.training.finetune_data import folder_store_of
from geomtp.training.mae_config import PretrainMAE

Settings = TypeVar("Settings", PretrainMAE, PretrainMTP, FineTune)

SET_BY_STUDY = ("out", "encoder", "weights", "seed", "train_fraction", "resume", "task", "source")
"""Fields that each run of a study gets from its place in the study."""

_ONE = ("devices", "nodes")

DEFAULTS: dict[str, Any] = {"pictures": 0}
"""What runs of a study have where nothing is said: nobody looks at hundreds of pictures."""

FIGURES = {
    "scene": "scene/accuracy",
    "semantic": "semantic/miou",
    "instance": "mask/ap50",
    "rotated": "rotated/ap50",
    "horizontal": "box/ap50",
    "change": "change/f1",
}
"""The score of each task that is compared."""


@dataclass(frozen=True)
class StageRun:
    """One stage of pretraining of one encoder with one seed.

    - ladder, stage: their names in the study; steps_before: names of the stages that come before
    - config: settings but for ``out`` and ``weights``; None for weights from elsewhere (``file``)
    - before: the stage that it starts from
    - data: the label stores that it reads; images: names of images without labels
    """

    ladder: str
    stage: str
    seed: int
    config: PretrainMAE | PretrainMTP | None
    file: str | None
    before: StageRun | None
    data: tuple[DataSet, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def held_out(self) -> tuple[str, ...]:
        """Names of images without labels that are not trained on."""
        if not isinstance(self.config, PretrainMAE):
            return ()
        return tuple(str(path) for path in self.config.validation_data)

    @property
    def chain(self) -> list[StageRun]:
        """The stages up to this one, in order."""
        return [*(self.before.chain if self.before else []), self]

    @property
    def name(self) -> tuple[object, ...]:
        """Its place in the study."""
        return (self.ladder, *(run.stage for run in self.chain), self.seed)

    @property
    def title(self) -> str:
        """What it is called on paper."""
        names = " then ".join(run.stage for run in self.chain)
        return f"{self.ladder}: {names}, pretraining seed {self.seed}"


@dataclass(frozen=True)
class TransferRun:
    """One fine-tuning: its place in the study, its settings, and the stage that it starts from."""

    ladder: str
    rung: str
    transfer: str
    fraction: float
    seed: int
    config: FineTune
    figure: str
    data: DataSet
    before: StageRun | None

    @property
    def name(self) -> tuple[object, ...]:
        """Its place in the study."""
        return (self.ladder, self.rung, self.transfer, self.fraction, self.seed)

    @property
    def title(self) -> str:
        """What it is called on paper."""
        return (
            f"{self.ladder}: {self.rung}, {self.transfer} with {self.fraction:g} of the labels, "
            f"seed {self.seed}"
        )


Run = StageRun | TransferRun


@dataclass(frozen=True)
class Plan:
    """All fine-tunings of a study, seed after seed, so that an unfinished one can be compared."""

    transfers: tuple[TransferRun, ...]

    @property
    def runs(self) -> list[Run]:
        """All that is to be run, each stage before the first fine-tuning that needs it."""
        found: dict[tuple[object, ...], Run] = {}
        for transfer in self.transfers:
            for stage in transfer.before.chain if transfer.before else []:
                if stage.config is not None:
                    found.setdefault(stage.name, stage)
            found[transfer.name] = transfer
        return list(found.values())

    @property
    def stages(self) -> list[StageRun]:
        """The runs of pretraining."""
        return [run for run in self.runs if isinstance(run, StageRun)]

    @property
    def data(self) -> list[DataSet]:
        """The data sets of which label stores are needed, each once."""
        own = [transfer.data for transfer in self.transfers]
        for stage in self.stages:
            own += stage.data
            own += [DataSet.named(n) for n in (*stage.images, *stage.held_out) if is_known(n)]
        return list(dict.fromkeys(own))


def plan_study(study: StudyStages, data: StudyData) -> Plan:
    """The runs of ``study``. Raises ValueError or FileNotFoundError for settings that are wrong."""
    planner = _Planner(study, data)
    transfers = []
    for seed in study.seeds:
        for ladder, rungs in study.chosen_ladders().items():
            for rung, stages in rungs.items():
                before = planner.stages(ladder, stages, study.pretraining_seed(seed))
                for transfer in study.chosen_transfers():
                    run = planner.transfer(ladder, rung, transfer, before)
                    for fraction in study.fractions:
                        config = dataclasses.replace(run.config, seed=seed, train_fraction=fraction)
                        own = dataclasses.replace(run, fraction=fraction, seed=seed, config=config)
                        transfers.append(own)
    return Plan(tuple(transfers))


class _Planner:
    """Fills settings once for each stage and transfer of a ladder."""

    def __init__(self, study: StudyStages, data: StudyData) -> None:
        self.study, self.data = study, data
        self._stages: dict[tuple[str, str], PretrainMAE | PretrainMTP] = {}
        self._transfers: dict[tuple[str, str], FineTune] = {}

    def stages(self, ladder: str, names: tuple[str, ...], seed: int) -> StageRun | None:
        """The last of the stages ``names``, which knows those before it; None for none."""
        last: StageRun | None = None
        for name in names:
            stage = self.study.stages[name]
            if stage.kind == "weights":
                last = StageRun(ladder, name, seed, None, self._file(stage.file), last)
                continue
            config = dataclasses.replace(self._stage(ladder, name), seed=seed)
            if isinstance(config, PretrainMAE):
                images = tuple(str(path) for path in config.data)
                last = StageRun(ladder, name, seed, config, None, last, images=images)
            else:
                sources = tuple(DataSet.named(source) for source in config.sources)
                last = StageRun(ladder, name, seed, config, None, last, data=sources)
        return last

    def transfer(self, ladder: str, rung: str, name: str, before: StageRun | None) -> TransferRun:
        """The fine-tuning of a rung on a transfer, with the first fraction and seed."""
        key = (ladder, name)
        own = self.study.transfers[name]
        if key not in self._transfers:
            place = f"transfer {name!r} of ladder {ladder!r}"
            encoder = self.study.ladders[ladder].encoder
            self._transfers[key] = fill_values(
                FineTune,
                {
                    **self._merged(
                        FineTune, ladder, self.study.transfer_settings(ladder, name), place
                    ),
                    "task": own.task,
                    "encoder": encoder,
                },
                None,
                place,
            )
        return TransferRun(
            ladder=ladder,
            rung=rung,
            transfer=name,
            fraction=self.study.fractions[0],
            seed=self.study.seeds[0],
            config=self._transfers[key],
            figure=own.figure or FIGURES[own.task],
            data=DataSet.named(own.data or name, own.source, folder_store_of(self._transfers[key])),
            before=before,
        )

    def _stage(self, ladder: str, name: str) -> PretrainMAE | PretrainMTP:
        key = (ladder, name)
        if key not in self._stages:
            if self.study.stages[name].kind == "mae":
                self._stages[key] = self._filled_stage(PretrainMAE, ladder, name)
            else:
                self._stages[key] = self._filled_stage(PretrainMTP, ladder, name)
        return self._stages[key]

    def _filled_stage(self, kind: type[Settings], ladder: str, name: str) -> Settings:
        place = f"stage {name!r} of ladder {ladder!r}"
        special = self.study.stage_settings(ladder, name)
        values = self._merged(kind, ladder, special, place)
        values["encoder"] = self.study.ladders[ladder].encoder
        return fill_values(kind, values, self.study.recipe_of(name), place)

    def _merged(
        self, kind: type, ladder: str, special: Mapping[str, Any], place: str
    ) -> dict[str, Any]:
        """What is said of all runs, as far as ``kind`` has such fields, then ``special``."""
        fields = {field.name for field in dataclasses.fields(kind)}
        everywhere = {
            field.name
            for each in (PretrainMAE, PretrainMTP, FineTune)
            for field in dataclasses.fields(each)
        }
        general = self.study.general_settings(ladder)
        for name in (*general, *special):
            if name in SET_BY_STUDY or (name == "data" and kind is not PretrainMAE):
                raise ValueError(f"{place}: {name} is set by the study itself, leave it out")
        if any(each.get(name, 1) != 1 for each in (general, special) for name in _ONE):
            raise ValueError(
                f"{place}: each run of a study uses one device; start several processes instead"
            )
        if unknown := [name for name in general if name not in everywhere]:
            raise ValueError(f"every_run: no run has a field {unknown[0]!r}")
        shared = {name: value for name, value in general.items() if name in fields}
        return {**DEFAULTS, **shared, **special}

    def _file(self, file: str) -> str:
        if file == "imagenet":
            return file
        places = [Path(file)] if self.data.brought is None else [self.data.brought / file]
        if not places[0].exists():
            raise FileNotFoundError(f"weights {file!r}: there is no {places[0]}")
        return str(places[0])
