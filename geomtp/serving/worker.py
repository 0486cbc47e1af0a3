"""The process that does jobs: ``python -m geomtp.serving.worker``.

A process of its own, so that a job can be stopped at once, and what goes wrong in it (memory, a
damaged file) takes nothing else along. It is told of jobs by lines of JSON and answers by such
lines; when the server goes, even by force, its input ends and it goes, too.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

Told = dict[str, Any]

_SAID_EVERY_S = 0.3


def main() -> None:
    """Do the jobs that come in, one after the other, until the input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    jobs: SimpleQueue[Told] = SimpleQueue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()
    import_module("geomtp.inference.predict")  # takes seconds, and no job waits for it yet
    hand = Hand(lambda answer: print(json.dumps(answer), file=answers))
    while True:
        hand.do(jobs.get())


def _listen(jobs: SimpleQueue[Told]) -> None:
    for line in sys.stdin:
        jobs.put(json.loads(line))
    os._exit(0)  # in the middle of a job, too: another process may go on with it


class Hand:
    """Does one job after the other; the model of the last one stays open."""

    def __init__(self, answer: Callable[[Told], None]) -> None:
        self._answer = answer
        self._model: tuple[tuple[Any, ...], Any] | None = None
        self._said_s = 0.0

    def do(self, job: Told) -> None:
        """Do ``job`` and answer how it ended: its state, and a sentence where it failed."""
        try:
            self._predict(job)
        except (ValueError, OSError) as error:
            self._answer({"state": "failed", "error": str(error)})
        except MemoryError:
            self._answer({"state": "failed", "error": "the memory of the server did not suffice"})
        except Exception as error:  # of torch or of ours: the server's log has all of it
            traceback.print_exc()
            reason = (str(error).splitlines() or [""])[0]
            sentence = f"the model failed ({type(error).__name__}: {reason})"
            self._answer({"state": "failed", "error": sentence})
        else:
            self._answer({"state": "done"})

    def _predict(self, job: Told) -> None:
        from geomtp.inference.outputs.vector_files import write_geojson
        from geomtp.inference.predict import predict_scenes
        from geomtp.inference.predict_config import Predict

        settings = job["settings"]
        config = Predict(
            **{
                **settings,
                "out": Path(job["out"]),
                "checkpoint": Path(settings["checkpoint"]),
                "images": tuple(settings["images"]),
                "bands": settings["bands"] and tuple(settings["bands"]),
            }
        )
        predict_scenes(
            config,
            lambda text: None,
            model=self._opened(config),
            on_windows=self._progress,
            plain_only=True,
        )
        self._answer({"says": "writes GeoJSON"})
        for path in sorted(config.out.glob("*.gpkg")):
            with contextlib.suppress(ValueError):  # a plan that is tied to no place on Earth
                write_geojson(path, path.with_suffix(".geojson"))

    def _opened(self, config: Any) -> Any:
        from geomtp.inference.windows.window_model import open_model

        key = (config.checkpoint, config.classes_of, config.device, config.precision)
        if self._model is None or self._model[0] != key:
            self._model = None  # two large models at a time may be too many
            self._model = (key, open_model(config))
        return self._model[1]

    def _progress(self, windows: int, of: int) -> None:
        if windows == of or time.monotonic() - self._said_s > _SAID_EVERY_S:
            self._said_s = time.monotonic()
            self._answer({"windows": [windows, of]})


if __name__ == "__main__":
    main()
