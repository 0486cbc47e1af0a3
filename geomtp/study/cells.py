"""Cells: the results of runs in a folder each, found again by all that decides them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geomtp import __version__
from geomtp.checkpoints import write_json
from geomtp.study.claims import forget_claims
from geomtp.study.fingerprints import settings_hash
from geomtp.training.configs import FineTune, PretrainMTP
from geomtp.training.mae import MAY_DIFFER as MAE_MAY_DIFFER
from geomtp.training.mae_config import PretrainMAE
from geomtp.training.run import MAY_DIFFER
from geomtp.training.run_folder import plain

NO_RESULT_CHANGES = {*MAY_DIFFER, *MAE_MAY_DIFFER, "validation_data", "weights"}
"""Settings that are not part of a key: where things lie, and what only shows a run. The content of
data and weights is."""


@dataclass(frozen=True)
class Result:
    """What came of a run.

    - figures: scores by name, of a fine-tuning
    - steps; seconds of the clock and of the processor, over all attempts
    - images: how many were trained on ("train") and scored on ("test")
    - weights_sha256: of the encoder that a stage of pretraining left
    - conflicts: of multi-task pretraining, as ``conflicts.json`` has them
    """

    figures: dict[str, float] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    images: dict[str, int] = field(default_factory=dict)
    weights_sha256: str | None = None
    conflicts: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Cell:
    """The folder of a run in a study. ``key``: the hash of all that decides the result."""

    cells: Path
    key: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.cells / self.key

    @property
    def run(self) -> Path:
        """The run folder in it."""
        return self.path / "run"

    def result(self) -> Result | None:
        """What came of it; None where it is not finished."""
        content = _read(self.path / "result.json")
        return None if content is None else Result(**content["result"])

    def failure(self) -> str | None:
        """Why it failed; None where it did not."""
        content = _read(self.path / "failed.json")
        return None if content is None else str(content["reason"])

    def finish(self, result: Result, about: Mapping[str, Any]) -> None:
        """Write the result, and what it is of. Raises OSError when it can't be written."""
        (self.path / "failed.json").unlink(missing_ok=True)
        write_json(
            self.path / "result.json", plain({**about, "result": dataclasses.asdict(result)})
        )

    def fail(self, reason: str) -> None:
        """Write down that the run failed."""
        write_json(self.path / "failed.json", {"reason": reason})

    def forget_failure(self) -> None:
        """Let it be tried again, from the beginning."""
        (self.path / "failed.json").unlink(missing_ok=True)
        shutil.rmtree(self.run, ignore_errors=True)
        forget_claims(self.path)

    def spent(self) -> tuple[float, float]:
        """Seconds of clock and processor of attempts that were stopped."""
        content = _read(self.path / "spent.json") or {}
        return float(content.get("seconds", 0.0)), float(content.get("cpu_seconds", 0.0))

    def note_spent(self, seconds: float, cpu_seconds: float) -> None:
        """Write down what stopped attempts took, in all."""
        write_json(self.path / "spent.json", {"seconds": seconds, "cpu_seconds": cpu_seconds})


def cell_of(
    cells: Path,
    config: PretrainMAE | PretrainMTP | FineTune,
    data: Mapping[str, str],
    weights_sha256: str | None,
) -> Cell:
    """The cell of a run with these settings on data and weights with these fingerprints.

    The version of geomtp is part of the key; where data, weights and results lie is not.
    """
    about = key_content(config, data, weights_sha256)
    return Cell(cells, settings_hash(about)[:24])


def key_content(
    config: PretrainMAE | PretrainMTP | FineTune,
    data: Mapping[str, str],
    weights_sha256: str | None,
) -> dict[str, Any]:
    """All that decides a result; written beside it."""
    settings = {
        entry.name: getattr(config, entry.name)
        for entry in dataclasses.fields(config)
        if entry.name not in NO_RESULT_CHANGES
    }
    return {
        "kind": type(config).__name__,
        "settings": settings,
        "data": dict(data),
        "weights": weights_sha256,
        "geomtp": __version__,
    }


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return None
