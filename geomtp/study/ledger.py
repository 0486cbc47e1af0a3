"""Which run of a study lies in which cell, and how it stands."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from geomtp.checkpoints import sha256_of
from geomtp.encoders.efficientnet_lite import imagenet_file
from geomtp.encoders.weights import ENCODER_NAME
from geomtp.study.cells import Cell, Result, cell_of
from geomtp.study.plan import Plan, Run, StageRun, TransferRun
from geomtp.study.stores import DataSet, StudyData
from geomtp.training.configs import PretrainMTP
from geomtp.training.finetune_data import labelled_part
from geomtp.training.mae_config import PretrainMAE

Status = Literal["done", "failed", "waiting", "open"]
"""``waiting``: for the stage that it starts from; ``open``: it can be run."""


@dataclass(frozen=True)
class Start:
    """What a run starts from: a file, or "imagenet", and the hash of its content; or nothing."""

    weights: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run stands. ``cell``: None as long as it waits; ``reason``: why it failed."""

    run: Run
    status: Status
    cell: Cell | None = None
    result: Result | None = None
    reason: str = ""


class Ledger:
    """Looks up runs of ``plan`` in the folder ``cells``; the stores of ``data`` are prepared."""

    def __init__(self, plan: Plan, data: StudyData, cells: Path) -> None:
        self.plan, self.data, self.cells = plan, data, cells
        self._stores: dict[DataSet, str] = {}
        self._images: dict[tuple[str, ...], str] = {}
        self._files: dict[tuple[str, str], Start] = {}

    def outcome(self, run: Run) -> Outcome:
        """How ``run`` stands at present."""
        if run.before is not None and run.before.config is not None:
            before = self.outcome(run.before)
            if before.status == "failed":
                return Outcome(run, "failed", None, None, f"{run.before.title}: {before.reason}")
            if before.status != "done":
                return Outcome(run, "waiting")
        cell = self.cell(run)
        result = cell.result()
        if result is not None:
            return Outcome(run, "done", cell, result)
        reason = cell.failure()
        if reason is not None:
            return Outcome(run, "failed", cell, None, reason)
        return Outcome(run, "open", cell)

    def cell(self, run: Run) -> Cell:
        """The cell of ``run``, whose stages before it are done."""
        assert run.config is not None
        return cell_of(
            self.cells, run.config, self.fingerprints(run), self.start(run.before).sha256
        )

    def start(self, stage: StageRun | None) -> Start:
        """What a run starts from that comes after ``stage``, which is done."""
        if stage is None:
            return Start()
        if stage.config is None:
            assert stage.file is not None
            return self._file(stage.file, self._encoder(stage))
        cell = self.cell(stage)
        result = cell.result()
        assert result is not None
        return Start(str(cell.run / ENCODER_NAME), result.weights_sha256)

    def fingerprints(self, run: Run) -> dict[str, str]:
        """Those of the data that ``run`` reads, by name."""
        if isinstance(run, TransferRun):
            return {"data": self._store(run.data)}
        found = {data.name: self._store(data) for data in run.data}
        if isinstance(run.config, PretrainMAE):
            if run.images not in self._images:
                held_out = self.held_out
                found_images = self.data.unlabelled_fingerprint(run.images, held_out)
                self._images[run.images] = found_images
            found["images"] = self._images[run.images]
        return found

    @cached_property
    def held_out(self) -> Collection[Path]:
        """The files of all images that fine-tunings are scored on."""
        found: set[Path] = set()
        parts = {
            (run.data, run.config.validation_split, run.config.task): run
            for run in self.plan.transfers
        }
        for data, split, task in parts:
            store = labelled_part(self.data.store(data), split, task)
            for row in store:
                names = [name for name in (row.image, row.image_after) if name is not None]
                found.update((store.image_root / name).resolve() for name in names)
        return found

    def check_held_out(self) -> None:
        """Raise ValueError if a stage of pretraining trains on an image that is scored on."""
        for stage in self.plan.stages:
            if isinstance(stage.config, PretrainMTP):
                for data in stage.data:
                    self._check_store(data)
            self.fingerprints(stage)  # looks at the images of masked autoencoding

    def _check_store(self, data: DataSet) -> None:
        store = self.data.store(data).subset("train")
        seen = [
            row.image for row in store if (store.image_root / row.image).resolve() in self.held_out
        ]
        if seen:
            raise ValueError(
                f"{data.name}: {seen[0]} is an image that fine-tuning is scored on, and {len(seen)}"
                f" of the images of multi-task pretraining are: score on another split"
            )

    def _store(self, data: DataSet) -> str:
        if data not in self._stores:
            self._stores[data] = self.data.fingerprint(data)
        return self._stores[data]

    def _encoder(self, stage: StageRun) -> str:
        """The name of the encoder of the ladder that ``stage`` belongs to."""
        return next(run.config.encoder for run in self.plan.transfers if run.ladder == stage.ladder)

    def _file(self, file: str, encoder: str) -> Start:
        key = (file, encoder)
        if key not in self._files:
            path = imagenet_file(encoder) if file == "imagenet" else _weights_file(Path(file))
            self._files[key] = Start(file, sha256_of(Path(path)))
        return self._files[key]


def _weights_file(path: Path) -> Path:
    """The file that ``--weights`` means: of the folder of a run its encoder."""
    return path / ENCODER_NAME if path.is_dir() else path
