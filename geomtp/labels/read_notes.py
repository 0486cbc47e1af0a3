"""What was left out while reading annotations: counted, with examples, never silently."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

DAMAGED = "damaged image"
"""The reason that an image cannot be read."""

_EXAMPLES_PER_KIND = 3
_LONGEST_SENTENCE = 500


@dataclass(frozen=True)
class ReadReport:
    """How many images and objects were kept, and what was left out and why; prints as a few lines.

    - images: images in the store; empty_images: those of them without any object
    - objects: (class name, number of objects kept), most frequent first
    - left_out: (reason, number of lines, objects or images left out)
    - examples: sentences naming the first of each reason
    """

    images: int
    empty_images: int
    objects: tuple[tuple[str, int], ...]
    left_out: tuple[tuple[str, int], ...]
    examples: tuple[str, ...]

    def count(self, reason: str) -> int:
        """How many were left out for ``reason`` (0 for a reason that did not occur)."""
        return dict(self.left_out).get(reason, 0)

    def __str__(self) -> str:
        total = sum(number for _, number in self.objects)
        lines = [f"{self.images} images ({self.empty_images} without objects), {total} objects"]
        if self.objects:
            lines.append("  " + ", ".join(f"{name} {number}" for name, number in self.objects))
        if self.left_out:
            counts = ", ".join(f"{reason} {number}" for reason, number in self.left_out)
            lines.append(f"left out: {counts}")
        lines += [f"  {sentence}" for sentence in self.examples]
        return "\n".join(lines)


class ReadNotes:
    """Collects what is left out while annotations are read; ``report`` sums it up.

    With ``strict`` the first malformed entry stops the reading with a ValueError. ``damaged`` lists
    every image that cannot be read, with the reason.
    """

    def __init__(self, strict: bool = False) -> None:
        self._strict = strict
        self._left_out: Counter[str] = Counter()
        self._examples: list[tuple[str, str]] = []  # reason, sentence
        self.damaged: list[tuple[str, str]] = []

    def malformed(self, where: str, what: str) -> None:
        """Count an entry that cannot be understood. Raises ValueError when strict."""
        if self._strict:
            raise ValueError(_sentence(where, what))
        self.left_out("malformed", where, what)

    def left_out(self, reason: str, where: str, what: str) -> None:
        """Count one entry left out for ``reason``; the first few are remembered as sentences."""
        self._left_out[reason] += 1
        if reason == DAMAGED:
            self.damaged.append((where, what))
        if self._left_out[reason] <= _EXAMPLES_PER_KIND:
            self._examples.append((reason, _sentence(where, what)))

    def content(self) -> dict[str, Any]:
        """All that was noted, as JSON holds it; ``add_content`` is the inverse."""
        return {
            "left_out": dict(self._left_out),
            "examples": [list(example) for example in self._examples],
            "damaged": [list(entry) for entry in self.damaged],
        }

    def add_content(self, content: dict[str, Any]) -> None:
        """Add what other notes held; of each reason the first few examples are kept.

        Raises KeyError or TypeError for what ``content`` did not make.
        """
        self._left_out.update(content["left_out"])
        for reason, sentence in content["examples"]:
            if sum(known == reason for known, _ in self._examples) < _EXAMPLES_PER_KIND:
                self._examples.append((reason, sentence))
        self.damaged += [(image, reason) for image, reason in content["damaged"]]

    def report(self, images: int, empty_images: int, objects: Counter[str]) -> ReadReport:
        """The counts so far, beside what was kept."""
        return ReadReport(
            images=images,
            empty_images=empty_images,
            objects=tuple(objects.most_common()),
            left_out=tuple(self._left_out.most_common()),
            examples=tuple(sentence for _, sentence in self._examples),
        )


def _sentence(where: str, what: str) -> str:
    """One line of bearable length, whatever an annotation file puts into it."""
    text = "".join(sign if sign.isprintable() else " " for sign in f"{where}: {what}")
    if len(text) <= _LONGEST_SENTENCE:
        return text
    half = _LONGEST_SENTENCE // 2
    return f"{text[:half]} … {text[-half:]}"
