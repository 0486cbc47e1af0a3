"""Reading ahead and writing behind, a thread each, so that the model in between never waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Full, Queue
from types import TracebackType
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

_LOOK_UP_S = 0.2
"""How often a waiting thread looks whether the other side has gone."""


def read_ahead(items: Iterator[Item], depth: int) -> Iterator[Item]:
    """The same items, taken from ``items`` in a thread, at most ``depth`` before they are needed.

    What ``items`` raises is raised here, in its turn.
    """
    queue: Queue[tuple[str, Item | BaseException | None]] = Queue(depth)
    stopped = threading.Event()

    def hand_over(kind: str, value: Item | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                queue.put((kind, value), timeout=_LOOK_UP_S)
                return
            except Full:
                continue

    def work() -> None:
        try:
            for item in items:
                hand_over("item", item)
                if stopped.is_set():
                    return
            hand_over("end", None)
        except BaseException as error:
            hand_over("error", error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            kind, value = queue.get()
            if kind == "item":
                yield value  # type: ignore[misc]
            elif kind == "end":
                return
            else:
                assert isinstance(value, BaseException)
                raise value
    finally:
        stopped.set()
        thread.join()


class Behind(Generic[Item]):
    """Calls ``function`` with each item that is put, in order, in a thread.

    Used in a ``with``, which ends when all is done; after an error it is left at once, and what
    waits is dropped. What ``function`` raises is raised by the next ``put``, or at the end.
    """

    def __init__(self, function: Callable[[Item], None], depth: int) -> None:
        self._function = function
        self._queue: Queue[Item | None] = Queue(depth)
        self._error: BaseException | None = None
        self._dropping = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def put(self, item: Item) -> None:
        """Hand over an item; waits while ``depth`` others do."""
        if self._error is not None:
            raise self._error
        self._queue.put(item)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            if self._dropping.is_set() or self._error is not None:
                continue
            try:
                self._function(item)
            except BaseException as error:
                self._error = error

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._dropping.set()
        self._queue.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error
