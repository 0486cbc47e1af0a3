"""What the server does not do, and why, in a sentence for the one who asked."""

from __future__ import annotations


class Refused(Exception):  # noqa: N818 - an answer rather than an error
    """A request is refused with an HTTP ``status`` and one ``sentence``."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
