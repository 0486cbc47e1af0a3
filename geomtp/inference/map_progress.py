"""How far a prediction is, in plain lines that also read well in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

from geomtp.labels.engine.progress import clock_text

_EVERY_S = 5.0


class MapProgress:
    """Says now and then how many windows are done, how fast, and how long it will take."""

    def __init__(
        self,
        say: Callable[[str], None],
        windows: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``windows``: how many there are, those without data among them."""
        self._say, self._windows, self._clock = say, windows, clock
        self._began = self._said = clock()
        self.seen = self.skipped = 0
        self._told = -1

    def add(self, seen: int, skipped: int) -> None:
        """So many more windows were looked at, and left out."""
        self.seen += seen
        self.skipped += skipped
        if self._clock() - self._said >= _EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Say how far it is, unless that was the last thing said."""
        if self._told != self.seen + self.skipped:
            self._told, self._said = self.seen + self.skipped, self._clock()
            self._say(self.line())

    def line(self) -> str:
        """Counts, speed and the time that is left."""
        seconds = max(self._clock() - self._began, 1e-9)
        done = self.seen + self.skipped
        left = (self._windows - done) * seconds / max(done, 1)
        return (
            f"maps  {done} of {self._windows} windows, {self.seen / seconds:.1f} windows/s, "
            f"{clock_text(left)} left"
        )
