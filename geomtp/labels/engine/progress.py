"""How far a labelling run is, in plain lines that also read well in a log file."""

from __future__ import annotations

import time
from collections.abc import Callable

_EVERY_S = 5.0


class LabelProgress:
    """Says now and then how many images are done, how fast, and how long it will take.

    ``add`` is called after each image. The first line comes after five seconds.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        images: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``images``: how many there are to do; ``clock``: gives seconds."""
        self._say, self._images, self._clock = say, images, clock
        self._began = self._said = clock()
        self.done = self.instances = 0

    def add(self, instances: int) -> None:
        """One more image with so many instances is labelled."""
        self.done += 1
        self.instances += instances
        if self._clock() - self._said >= _EVERY_S:
            self._said = self._clock()
            self._say(self.line())

    def line(self) -> str:
        """Counts, speeds and the time that is left."""
        seconds = max(self._clock() - self._began, 1e-9)
        speed = self.done / seconds
        left = (self._images - self.done) / speed if speed else 0.0
        return (
            f"labels  {self.done} of {self._images} images, {speed:.1f} images/s, "
            f"{self.instances / seconds:.0f} instances/s, {clock_text(left)} left"
        )


def clock_text(seconds: float) -> str:
    """Seconds as h:mm:ss, or m:ss below an hour."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
