"""How far long work is, in plain lines that also read well in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

_EVERY_S = 5.0


class Progress:
    """Says now and then how many things are done, how fast, and how long the rest will take.

    ``add`` is called after each thing or several of them. The first line comes after five seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        work: str,
        total: int,
        things: str,
        parts: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What to call the work, the ``total`` things that are to be done, and parts of them.

        The speed of parts is told where they have a name. ``clock`` gives seconds.
        """
        self._say, self._work, self._total = say, work, total
        self._things, self._parts, self._clock = things, parts, clock
        self._began = self._said = clock()
        self._told = -1
        self.done = self.skipped = self.parts = 0

    def add(self, done: int = 1, *, parts: int = 0, skipped: int = 0) -> None:
        """So many more are done, with so many parts; ``skipped`` of them were not looked at."""
        self.done += done
        self.parts += parts
        self.skipped += skipped
        if self._clock() - self._said >= _EVERY_S:
            self.tell()

    def tell(self) -> None:
        """Say how far it is, unless that was the last thing said."""
        if self._told != self.done:
            self._told, self._said = self.done, self._clock()
            self._say(self._line())

    def _line(self) -> str:
        """Counts, speeds of what was looked at, and the time that is left."""
        seconds = max(self._clock() - self._began, 1e-9)
        left = (self._total - self.done) * seconds / max(self.done, 1)
        parts = f", {self.parts / seconds:.0f} {self._parts}/s" if self._parts else ""
        return (
            f"{self._work}  {self.done} of {self._total} {self._things}, "
            f"{(self.done - self.skipped) / seconds:.1f} {self._things}/s{parts}, "
            f"{clock_text(left)} left"
        )


def clock_text(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
