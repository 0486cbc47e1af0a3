"""The folder of a run: its settings, its log, its checkpoints and the models to use."""

from __future__ import annotations

import csv
import dataclasses
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from geomtp.checkpoints import replacing


def is_first_process() -> bool:
    """Whether this process is the one that prepares the folder; told by the launcher."""
    return getattr(rank_zero_only, "rank", 0) == 0


@dataclass(frozen=True)
class RunFolder:
    """Where the files of a run lie."""

    path: Path

    @property
    def config(self) -> Path:
        """The settings, enough to repeat the run."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """The log: step, name, value."""
        return self.path / "metrics.csv"

    @property
    def last(self) -> Path:
        """The checkpoint to resume from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def model(self) -> Path:
        """The model to use."""
        return self.path / "model.safetensors"

    @property
    def best(self) -> Path:
        """The model that validated best."""
        return self.path / "best.safetensors"

    @property
    def encoder(self) -> Path:
        """The encoder alone."""
        return self.path / "encoder.safetensors"

    @property
    def scores(self) -> Path:
        """The scores of the last validation, of single classes too, as JSON."""
        return self.path / "scores.json"

    @property
    def stores(self) -> Path:
        """Label stores that were made for this run."""
        return self.path / "stores"

    @property
    def images(self) -> Path:
        """The index of unlabelled images."""
        return self.path / "images"

    @property
    def pictures(self) -> Path:
        """Predictions beside the truth."""
        return self.path / "pictures"

    @contextmanager
    def opened(self, settings: Any, *, resume: bool, may_differ: set[str]) -> Iterator[None]:
        """``open`` by the first process; undone where the block, which prepares the run, raises."""
        if is_first_process():
            self.open(settings, resume=resume, may_differ=may_differ)
        try:
            yield
        except BaseException:
            if is_first_process() and not resume:
                self.config.unlink(missing_ok=True)
            raise

    def open(self, settings: Any, *, resume: bool, may_differ: set[str]) -> None:
        """Make the folder and write ``settings``, or check them against those of the run resumed.

        ``settings``: a dataclass.
        ``may_differ``: settings that a resumed run may change.

        Raises ValueError where a run lies here already and is not resumed, or was made with other
        settings; FileNotFoundError where there is nothing to resume.
        """
        if resume:
            if not self.last.is_file():
                raise FileNotFoundError(f"nothing to resume: {self.last} does not exist")
            before = yaml.safe_load(self.config.read_text(encoding="utf-8"))
            now = plain(settings)
            differ = [
                f"{name} (was {before.get(name)!r}, now {value!r})"
                for name, value in now.items()
                if name not in may_differ and before.get(name) != value
            ]
            if differ:
                raise ValueError(
                    f"{self.path} was made with other settings: {'; '.join(differ)}; "
                    f"resume with --config {self.config}, or start anew in another --out"
                )
        elif self.config.exists():
            begun = self.last.is_file()
            hint = "go on with it by --resume" if begun else "it has no checkpoint, remove it"
            raise ValueError(f"{self.path} holds a run already: {hint}, or choose another --out")
        self.path.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(plain(settings), sort_keys=False, allow_unicode=True)
        with replacing(self.config) as part:
            part.write_text(text, encoding="utf-8")


def plain(value: Any) -> Any:
    """Dataclasses, paths and tuples as what YAML holds."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, os.PathLike) else value


class MetricsCsv(Logger):
    """Appends rows "step,name,value" to a file; a resumed run drops the rows after its step."""

    def __init__(self, path: Path, start_step: int = 0) -> None:
        super().__init__()
        self._path = path
        if start_step and path.exists():
            self._drop_after(start_step)

    @rank_zero_only
    def _drop_after(self, step: int) -> None:
        with self._path.open(newline="", encoding="utf-8") as file:
            rows = [
                row for row in csv.DictReader(file) if row["value"] and int(row["step"]) <= step
            ]
        with replacing(self._path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ("step", "name", "value"))
            writer.writeheader()
            writer.writerows(rows)

    @property
    def name(self) -> str:
        """No sub-folder."""
        return ""

    @property
    def version(self) -> str:
        """No sub-folder."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        """Nothing: rows go straight to the file."""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The settings are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append one row per metric."""
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(("step", "name", "value"))
            for name, value in metrics.items():
                if name != "epoch":
                    writer.writerow((step, name, f"{float(value):.6g}"))


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints beside the old one first, so that a full disk leaves that one whole."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to ``path``. Raises OSError that says what is kept."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with replacing(path) as part:
                super().save_checkpoint(checkpoint, part)
        except (OSError, RuntimeError) as error:
            kept = "the previous one is kept" if path.exists() else "there is none before it"
            raise OSError(
                f"the checkpoint {path} could not be written ({error}); {kept}"
            ) from error


class SaveLast(Callback):
    """Writes the checkpoint to resume from: every so many steps, and when training ends."""

    def __init__(self, folder: RunFolder, every: int) -> None:
        self.folder, self.every = folder, every

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Save after every ``every`` steps, and after the step at which training stops."""
        due = self.every and trainer.global_step % self.every == 0
        if due or trainer.should_stop or trainer.global_step == trainer.max_steps:
            trainer.save_checkpoint(self.folder.last)


def last_step(folder: RunFolder) -> int:
    """The step of the checkpoint to resume from. Raises FileNotFoundError when there is none."""
    if not folder.last.is_file():
        raise FileNotFoundError(f"nothing to resume: {folder.last} does not exist")
    checkpoint = torch.load(folder.last, map_location="cpu", weights_only=True, mmap=True)
    return int(checkpoint["global_step"])
