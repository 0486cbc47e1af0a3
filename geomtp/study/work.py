"""Doing the runs of a study, whoever else works on it at the same time."""

from __future__ import annotations

import json
import os
import shutil
import time
import traceback
from dataclasses import replace
from pathlib import Path

import yaml

from geomtp.checkpoints import sha256_of
from geomtp.study.cells import Cell, Result, key_content
from geomtp.study.claims import Claim
from geomtp.study.ledger import Ledger
from geomtp.study.plan import Run, StageRun, TransferRun
from geomtp.training.configs import FineTune, PretrainMTP
from geomtp.training.conflicts import CONFLICTS_NAME
from geomtp.training.finetune import finetune
from geomtp.training.mae import pretrain_mae
from geomtp.training.mae_config import PretrainMAE
from geomtp.training.mtp import pretrain_mtp
from geomtp.training.run_folder import RunFolder
from geomtp.training.stores import Say

MOST_CRASHES = 3
"""A run whose process ended so often without a word is given up: it would end the next one too."""

_WAIT_S = 3.0


class StudyStoppedError(Exception):
    """The user asked to stop; what was done is kept."""


class Worker:
    """One process that does runs of a study until none is left."""

    def __init__(self, ledger: Ledger, *, keep_models: bool, say: Say) -> None:
        self.ledger, self.keep_models, self.say = ledger, keep_models, say
        self._times: list[float] = []
        self._total = 0

    def work(self) -> None:
        """Do every run that no other process does; return when all are done or failed.

        A run that fails is written down, and the others go on. Raises StudyStoppedError when the
        user stops the run in hand.
        """
        left = list(self.ledger.plan.runs)
        self._total = len(left)
        left = [run for run in left if self._is_open(run)]
        self.say(f"{self._total} runs, {self._total - len(left)} of them were done before")
        while left:
            before = len(left)
            for run in list(left):
                outcome = self.ledger.outcome(run)
                if outcome.status == "open" and outcome.cell is not None:
                    self._try(run, outcome.cell, len(left))
                    outcome = self.ledger.outcome(run)
                if outcome.status in ("done", "failed"):
                    left.remove(run)
            if len(left) == before:
                time.sleep(_WAIT_S)

    def _is_open(self, run: Run) -> bool:
        return self.ledger.outcome(run).status in ("open", "waiting")

    def _try(self, run: Run, cell: Cell, left: int) -> None:
        """Do ``run`` unless another process is at it; ``left``: how many are, this one included."""
        claim = Claim.take(cell.path)
        if claim is None:
            return
        with claim.held():
            if cell.result() is not None or cell.failure() is not None:
                return
            began = time.monotonic()
            try:
                if claim.crashes >= MOST_CRASHES:
                    raise ValueError(f"begun {claim.crashes} times, it never came to an end")
                text = self._story(run, self._do(run, cell))
            except (StudyStoppedError, KeyboardInterrupt):
                raise
            except Exception as error:
                (cell.path / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
                cell.fail(f"{type(error).__name__}: {' '.join(str(error).split())}")
                text = f"FAILED, {cell.failure()}"
            self._times.append(time.monotonic() - began)
            minutes = (left - 1) * sum(self._times) / len(self._times) / 60
            number = self._total - left + 1
            self.say(f"[{number}/{self._total}] {run.title}: {text}; {minutes:.0f} min left")

    def _story(self, run: Run, result: Result) -> str:
        """What came of ``run``, in a few words."""
        if isinstance(run, TransferRun):
            figure = f"{run.figure} {result.figures[run.figure]:.3f}"
        else:
            figure = f"{result.steps} steps"
        return f"{figure} in {result.seconds:.0f} s"

    def _do(self, run: Run, cell: Cell) -> Result:
        """Run, and write the result into the cell. Raises as the run, or StudyStoppedError."""
        weights = self.ledger.start(run.before).weights
        before = cell.spent()
        clock, processor = time.monotonic(), _cpu_seconds()
        with (cell.path / "said.txt").open("a", encoding="utf-8", buffering=1) as file:

            def say(text: str) -> None:
                file.write(f"{text}\n")

            result, stopped = self._train(run, cell, weights, say)
        spent = before[0] + time.monotonic() - clock, before[1] + _cpu_seconds() - processor
        if stopped:
            cell.note_spent(*spent)
            raise StudyStoppedError
        result = replace(result, seconds=spent[0], cpu_seconds=spent[1])
        assert run.config is not None
        start = self.ledger.start(run.before)
        about = key_content(run.config, self.ledger.fingerprints(run), start.sha256)
        cell.finish(result, {"title": run.title, **about})
        _tidy(cell, keep=self.keep_models or isinstance(run, StageRun))
        return result

    def _train(self, run: Run, cell: Cell, weights: str | None, say: Say) -> tuple[Result, bool]:
        """The result, but for its times, and whether the user stopped it."""
        resume = _resumes(cell.run, weights)
        data = self.ledger.data
        if isinstance(run, TransferRun):
            tuning = replace(run.config, out=cell.run, weights=weights, resume=resume)
            return self._finetune(run, replace(tuning, data=data.place(run.data)), say)
        if isinstance(run.config, PretrainMAE):
            masked = replace(run.config, out=cell.run, weights=weights, resume=resume)
            sources, held_out = (tuple(data.image_sources(n)) for n in (run.images, run.held_out))
            return _pretrain_mae(replace(masked, data=sources, validation_data=held_out), say)
        assert isinstance(run.config, PretrainMTP)
        several = replace(run.config, out=cell.run, weights=weights, resume=resume)
        return _pretrain_mtp(replace(several, data=data.stores), say)

    def _finetune(self, run: TransferRun, config: FineTune, say: Say) -> tuple[Result, bool]:
        done = finetune(config, say)
        figures = {} if done.stopped else done.figures
        if not done.stopped and run.figure not in figures:
            raise ValueError(f"there is no figure {run.figure!r}; known: {', '.join(figures)}")
        images = {"train": done.training_images, "test": done.held_out_images}
        return Result(figures=figures, steps=done.steps, images=images), done.stopped


def _pretrain_mae(config: PretrainMAE, say: Say) -> tuple[Result, bool]:
    done = pretrain_mae(config, say)
    return _stage_result(done.folder, done.steps, done.stopped), done.stopped


def _pretrain_mtp(config: PretrainMTP, say: Say) -> tuple[Result, bool]:
    done = pretrain_mtp(config, say)
    result = _stage_result(done.folder, done.steps, done.stopped)
    figures = {
        f"{source}/{name}": value
        for source, own in done.scores.items()
        for name, value in own.items()
    }
    path = done.folder.path / CONFLICTS_NAME
    conflicts = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return replace(result, figures=figures, conflicts=conflicts), done.stopped


def _stage_result(folder: RunFolder, steps: int, stopped: bool) -> Result:
    return Result(steps=steps, weights_sha256=None if stopped else sha256_of(folder.encoder))


def _resumes(run: Path, weights: str | None) -> bool:
    """Whether a run was stopped here that can go on; if not, its folder is emptied."""
    folder = RunFolder(run)
    if folder.last.is_file():
        settings = yaml.safe_load(folder.config.read_text("utf-8"))
        if settings.get("weights") == weights:
            return True
    shutil.rmtree(run, ignore_errors=True)
    return False


def _tidy(cell: Cell, *, keep: bool) -> None:
    """Remove what nobody needs after a run: checkpoints, and models that are not to be kept."""
    shutil.rmtree(RunFolder(cell.run).last.parent, ignore_errors=True)
    if not keep:
        for path in cell.run.glob("*.safetensors"):
            path.unlink(missing_ok=True)
            path.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(cell.run / "tensorboard", ignore_errors=True)


def _cpu_seconds() -> float:
    """Seconds of the processor that this process and its finished children took so far."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
