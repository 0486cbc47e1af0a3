"""What people see while a run goes on: a bar with losses and remaining time, or lines in a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 20.0


class StepProgress(Callback):
    """A bar on a terminal; elsewhere a line now and then. Only the first process shows it."""

    def __init__(self, steps: int, say: Callable[[str], None]) -> None:
        self.steps, self.say = steps, say
        self._bar: Progress | None = None
        self._task = TaskID(0)
        self._began = self._spoke = time.monotonic()
        self._first = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self._began = self._spoke = time.monotonic()
        self._first = trainer.global_step
        if trainer.is_global_zero and sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
                transient=True,
            )
            self._task = self._bar.add_task("", total=self.steps, completed=self._first)
            self._bar.start()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Move the bar, or say where the run is."""
        step = trainer.global_step
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        rate = (step - self._first) / max(now - self._began, 1e-9)
        if self._bar is not None:
            text = f"{rate:.2f} steps/s  {_losses(trainer)}"
            self._bar.update(self._task, completed=step, description=text)
        elif now - self._spoke > SECONDS_BETWEEN_LINES or step == self.steps:
            self._spoke = now
            left = (self.steps - step) / max(rate, 1e-9)
            self.say(f"step {step}/{self.steps}  {_losses(trainer)}  {left / 60:.1f} min left")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Take the bar away, so that the message stands alone."""
        self.on_train_end(trainer, pl_module)


def _losses(trainer: Trainer) -> str:
    values = trainer.progress_bar_metrics
    return "  ".join(f"{name} {float(value):.3f}" for name, value in values.items())
